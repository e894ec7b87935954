package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

type throttleCmd struct {
	List  throttleList  `cmd:"" help:"List the rate limits that are in use, and how long each makes the next attempt wait."`
	Clear throttleClear `cmd:"" help:"Clear rate limits, so that they count from 0."`
}

// limitSelection selects rate limits by what they are about.
type limitSelection struct {
	Account string     `placeholder:"NAME" help:"The limits of an account, by its username or id. A name without an account works, too."`
	Address netip.Addr `placeholder:"ADDRESS" help:"The limits of an IP address, and of the /56 and /48 that it is in."`
}

type throttleList struct {
	database
	formatted
	limitSelection
}

type throttleClear struct {
	database
	limitSelection
	All bool `help:"All rate limits."`
}

// Run lists rate limits.
func (c throttleList) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(db *repository.DB) error {
		limits, filter, _, err := c.find(ctx, db)
		if err != nil {
			return err
		}
		var all []repository.LimitStatus
		for after, more := []byte(nil), true; more; more = after != nil {
			var page []repository.LimitStatus
			if page, after, err = limits.List(ctx, filter, after); err != nil {
				return err
			}
			all = append(all, page...)
		}
		names, err := accountsOf(ctx, db, limits, all)
		if err != nil {
			return err
		}
		return o.limits(c.formatted, all, names)
	})
}

// Run clears rate limits.
func (c throttleClear) Run(ctx context.Context, o output) error {
	if c.All == (c.Account != "" || c.Address.IsValid()) {
		return errors.New("say which limits by --account or --address, or --all")
	}
	return c.with(ctx, func(db *repository.DB) error {
		limits, filter, account, err := c.find(ctx, db)
		if err != nil {
			return err
		}
		cleared, err := limits.Clear(ctx, filter)
		if err != nil {
			return err
		}
		o.audit(ctx, server.EventLimitsCleared, account, slog.Int64("limits", cleared), slog.String("of", c.of()))
		_, err = fmt.Fprintf(o.out, "cleared: %s\n", counted(cleared, "limit"))
		return err
	})
}

// of says which limits are selected, without a name that somebody typed.
func (c throttleClear) of() string {
	var of []string
	if c.Account != "" {
		of = append(of, "account")
	}
	if c.Address.IsValid() {
		of = append(of, "address "+c.Address.String())
	}
	if c.All {
		of = append(of, "all")
	}
	return strings.Join(of, ", ")
}

// counted is a number of things.
func counted(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// find returns the rate limits of a database, what selects some of them, and the account that they are about, if any.
func (c limitSelection) find(ctx context.Context, db *repository.DB) (
	limits *repository.Limits, filter repository.LimitFilter, account uuid.UUID, err error,
) {
	if limits, err = db.Limits(ctx); err != nil {
		return nil, filter, account, err
	}
	if c.Account != "" {
		user, err := find(ctx, db.Users(), c.Account)
		if errors.Is(err, repository.ErrNotFound) { // guessers try such names, too
			user = repository.User{Profile: repository.Profile{Username: norm.NFKC.String(strings.TrimSpace(c.Account))}}
		} else if err != nil {
			return nil, filter, account, err
		}
		account, filter.Accounts = user.ID, limitAccounts(limits, user)
	}
	if c.Address.IsValid() {
		address := c.Address.Unmap().WithZone("")
		filter.Networks = []string{server.NetworkOf(address), server.SiteOf(address)}
	}
	return limits, filter, account, nil
}

// limitAccounts returns the keys of the rate limits that are about an account.
func limitAccounts(limits *repository.Limits, user repository.User) (keys [][]byte) {
	for _, name := range server.AccountNames(user) {
		keys = append(keys, server.LimitAccount(limits, name))
	}
	return keys
}

// clearLimits removes the rate limits of an account, whose owner an operator vouches for.
func clearLimits(ctx context.Context, db *repository.DB, user repository.User) error {
	limits, err := db.Limits(ctx)
	if err != nil {
		return err
	}
	_, err = limits.Clear(ctx, repository.LimitFilter{Accounts: limitAccounts(limits, user)})
	return err
}

// accountsOf returns the usernames of the accounts that rate limits are about, by their keys. The database has no names of
// accounts beside the limits: those of all accounts are compared.
func accountsOf(ctx context.Context, db *repository.DB, limits *repository.Limits, all []repository.LimitStatus) (map[string]string, error) {
	wanted, names := map[string]bool{}, map[string]string{}
	for _, s := range all {
		if s.Account != nil {
			wanted[string(s.Account)] = true
		}
	}
	for last := ""; len(names) < len(wanted); {
		users, err := db.Users().After(ctx, last, repository.MostAtOnce)
		if err != nil {
			return nil, err
		}
		for _, user := range users {
			for _, key := range limitAccounts(limits, user) {
				if wanted[string(key)] {
					names[string(key)] = user.Username
				}
			}
		}
		if len(users) < repository.MostAtOnce {
			break
		}
		last = users[len(users)-1].Username
	}
	return names, nil
}

// shownLimit is a rate limit as it is printed.
type shownLimit struct {
	Limit      string `json:"limit"`
	Account    string `json:"account,omitempty"` // its username; "unknown" if no account has the name that was typed
	Network    string `json:"network,omitempty"`
	Count      int    `json:"count"`
	Max        int    `json:"max"`
	InProgress int    `json:"in_progress"`
	Wait       int    `json:"wait_seconds"`
	Expires    int    `json:"expires_in_seconds"`
}

func (o output) limits(f formatted, all []repository.LimitStatus, names map[string]string) error {
	shown := make([]shownLimit, len(all))
	for i, s := range all {
		seconds := func(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
		shown[i] = shownLimit{s.Name, "", s.Network, s.Count, s.Max, s.InProgress, seconds(s.Wait), seconds(s.ExpiresIn)}
		if s.Account == nil {
			continue
		}
		shown[i].Account = "unknown"
		if name, ok := names[string(s.Account)]; ok {
			shown[i].Account = name
		}
	}
	header := []string{"LIMIT", "ACCOUNT", "NETWORK", "COUNT", "MAX", "IN PROGRESS", "WAIT", "EXPIRES IN"}
	return printRows(o.out, f, header, shown, func(s shownLimit) []string {
		in := func(seconds int) string { return (time.Duration(seconds) * time.Second).String() }
		return []string{
			s.Limit, s.Account, s.Network, fmt.Sprint(s.Count), fmt.Sprint(s.Max), fmt.Sprint(s.InProgress), in(s.Wait), in(s.Expires),
		}
	})
}
