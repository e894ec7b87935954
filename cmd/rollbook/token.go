package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

type tokenCmd struct {
	List   tokenList   `cmd:"" help:"List where an account is signed in: its latest 100 tokens, without their keys."`
	Revoke tokenRevoke `cmd:"" help:"End one sign-in of an account, or all."`
}

type tokenList struct {
	account
	formatted
	Lifetimes lifetimes `embed:""`
}

// Validate refuses what makes no sense.
func (c tokenList) Validate() error { return c.Lifetimes.Validate() }

type tokenRevoke struct {
	account
	ID  string `arg:"" optional:"" help:"The token's id, as the list has it."`
	All bool   `help:"End all sign-ins of the account."`
}

// Run lists tokens.
func (c tokenList) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(db *repository.DB, user repository.User) error {
		tokens, err := db.Tokens(repository.Lifetimes(c.Lifetimes)).Of(ctx, user.ID)
		if err != nil {
			return err
		}
		return o.tokens(c.formatted, tokens)
	})
}

// Run revokes tokens.
func (c tokenRevoke) Run(ctx context.Context, o output) error {
	id, err := uuid.Parse(c.ID)
	if (c.ID == "") != c.All || c.ID != "" && err != nil {
		return errors.New("say which token by its id, or --all")
	}
	return c.with(ctx, func(db *repository.DB, user repository.User) error {
		tokens := db.Tokens(repository.Lifetimes{})
		if c.All {
			if err := tokens.EndSessions(ctx, user.ID); err != nil {
				return err
			}
			o.audit(ctx, server.EventTokensRevoked, user.ID)
			return nil
		}
		if err := tokens.Delete(ctx, user.ID, id); errors.Is(err, repository.ErrNotFound) {
			return fmt.Errorf("the account has no token %s", id)
		} else if err != nil {
			return err
		}
		o.audit(ctx, server.EventTokenRevoked, user.ID, server.TokenAttr(id))
		return nil
	})
}

// shownToken is a token as it is printed.
type shownToken struct {
	ID         uuid.UUID `json:"id"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	Client     string    `json:"client"`
}

func (o output) tokens(f formatted, tokens []repository.Token) error {
	shown := make([]shownToken, len(tokens))
	for i, t := range tokens {
		shown[i] = shownToken{t.ID, t.CreatedAt.UTC(), t.LastUsedAt.UTC(), t.Client}
	}
	return printRows(o.out, f, []string{"ID", "CREATED", "LAST USED", "CLIENT"}, shown, func(t shownToken) []string {
		return []string{t.ID.String(), t.CreatedAt.Format(time.DateTime), t.LastUsedAt.Format(time.DateTime), t.Client}
	})
}
