package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// codeLife is how long one-time codes live.
type codeLife struct {
	TTL time.Duration `name:"code-ttl" env:"CODE_TTL" placeholder:"DURATION" default:"168h" help:"How long a one-time code can be used. Default: ${default}."`
}

// Validate refuses what makes no sense.
func (c codeLife) Validate() error {
	if c.TTL <= 0 {
		return errors.New("--code-ttl must be more than 0")
	}
	return nil
}

type userInvite struct {
	account
	formatted
	Code codeLife `embed:""`
}

// Validate refuses what makes no sense.
func (c userInvite) Validate() error { return c.Code.Validate() }

// shownCode is a one-time code as it is printed, this once.
type shownCode struct {
	Username  string    `json:"username"`
	Code      string    `json:"code"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Run makes a one-time code, in the place of the one that the account may have.
func (c userInvite) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(db *repository.DB, user repository.User) error {
		if !user.IsActive {
			return fmt.Errorf("the account %q is not active: activate it first", user.Username)
		}
		if err := isLocal(user); err != nil {
			return err
		}
		plain, expires := repository.NewCode(), db.Now().Add(c.Code.TTL).Truncate(time.Second)
		if err := db.Codes().Put(ctx, repository.CodeFor(user.ID, plain, expires)); err != nil {
			return err
		}
		if err := clearLimits(ctx, db, user); err != nil {
			return err
		}
		o.audit(ctx, server.EventInvited, user.ID)
		codes := []shownCode{{user.Username, plain, expires}}
		return printRows(o.out, c.formatted, []string{"USERNAME", "CODE", "EXPIRES"}, codes, func(s shownCode) []string {
			return []string{s.Username, s.Code, s.ExpiresAt.Format(time.DateTime)}
		})
	})
}
