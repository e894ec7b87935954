// Package leavers deactivates accounts whose owners left the directory, and ends sessions that began before the
// password changed there.
package leavers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// ErrBusy means that another process looks for leavers at the moment.
var ErrBusy = errors.New("another process looks for leavers at the moment")

const (
	job     = "directory sync"
	longest = 10 * time.Minute // it takes at most
)

// Options are how leavers are looked for.
type Options struct {
	DB        *repository.DB
	Directory *directory.Directory
	Most      float64 // the share of the active accounts of the directory that may be made inactive at once, from 0 to 1
	DryRun    bool    // nothing is done
	// Show is called before anything is done, for each account that is to be deactivated (EventDeactivated) or whose
	// sessions are to end (EventTokenRevoked).
	Show func(server.Event, repository.User) error
	// Audit is called for each account that was deactivated and each token that was revoked.
	Audit func(server.Event, uuid.UUID, ...slog.Attr)
}

// Counts count active accounts of the directory.
type Counts struct {
	Active    int // all of them
	Left      int // not in the directory any more
	Changed   int // with sessions that began before the password changed
	Unstamped int // in the directory, but without a value that changes with the password: their sessions do not end
}

// Warn logs that sessions do not end when the password changes, if there are such accounts.
func (c Counts) Warn(ctx context.Context, log *slog.Logger) {
	if c.Unstamped > 0 {
		log.LogAttrs(ctx, slog.LevelWarn, "sessions do not end when the password changes in the directory: it has no value of LDAP_PASSWORD_CHANGED_ATTRIBUTE",
			slog.Int("accounts", c.Unstamped), slog.Int("active", c.Active))
	}
}

// Sync looks for leavers and changed passwords now. Nothing is done unless the directory lists everybody, and nobody is
// deactivated if there are too many leavers.
func Sync(ctx context.Context, o Options) (counts Counts, err error) {
	began, err := o.DB.Begin(ctx, job, true, longest)
	if err == nil && !began {
		err = ErrBusy
	}
	if err != nil {
		return Counts{}, err
	}
	defer func() { err = errors.Join(err, o.DB.End(context.WithoutCancel(ctx), job, 0)) }()
	return o.sync(ctx)
}

// Run looks for leavers and changed passwords at once and then at intervals, until the context ends; one process that
// uses the database does it at a time. Failures are logged, and tried again after the same interval. Accounts without a
// password stamp are logged once.
func Run(ctx context.Context, every time.Duration, o Options, log *slog.Logger) {
	const often = time.Minute // another process may have ended in the middle
	var warn sync.Once
	for ticks := time.NewTicker(min(every, often)); ; {
		counts, err := o.syncIfDue(ctx, every, log)
		if counts.Unstamped > 0 {
			warn.Do(func() { counts.Warn(ctx, log) })
		}
		if err != nil && ctx.Err() == nil {
			log.LogAttrs(ctx, slog.LevelError, "directory sync", slog.Any("error", err))
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			ticks.Stop()
			return
		}
	}
}

func (o Options) syncIfDue(ctx context.Context, every time.Duration, log *slog.Logger) (Counts, error) {
	began, err := o.DB.Begin(ctx, job, false, longest)
	if err != nil || !began {
		return Counts{}, err
	}
	counts, err := o.sync(ctx)
	pause := every
	if ctx.Err() != nil { // another process is to do it
		pause = 0
	}
	err = errors.Join(err, o.DB.End(context.WithoutCancel(ctx), job, pause))
	if err == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "directory sync", slog.Int("active", counts.Active), slog.Int("left", counts.Left), slog.Int("password_changed", counts.Changed))
	}
	return counts, err
}

func (o Options) sync(ctx context.Context) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	accounts, err := o.accounts(ctx) // before the directory is asked: people and sessions that are new since then are not touched
	if err != nil {
		return Counts{}, err
	}
	there, err := o.Directory.PasswordStamps(ctx)
	if err != nil {
		return Counts{}, err
	}
	if len(there) == 0 && len(accounts) > 0 { // who may not read the directory is told so, too
		return Counts{}, fmt.Errorf("%w: the directory says that there is nobody in it, and nothing was changed", directory.ErrUnusable)
	}
	found, err := o.compare(accounts, there)
	if err != nil || o.DryRun {
		return found.Counts, errors.Join(err, found.tooMany(o.Most))
	}
	err = found.tooMany(o.Most)
	if err == nil {
		var left []uuid.UUID
		left, err = o.DB.Users().Leave(ctx, found.left)
		for _, id := range left {
			o.Audit(server.EventDeactivated, id)
		}
		found.Left = len(left)
	}
	return found.Counts, errors.Join(err, o.endOutdated(ctx, found))
}

// account is an active account of the directory, with the password stamps of its tokens.
type account struct {
	repository.User
	stamps []*string
}

// accounts are the active ones of the directory.
func (o Options) accounts(ctx context.Context) (all []account, err error) {
	for last := ""; ; {
		some, err := o.DB.Users().OfDirectory(ctx, last, repository.MostAtOnce)
		if err != nil || len(some) == 0 {
			return all, err
		}
		ids := make([]uuid.UUID, len(some))
		for i, user := range some {
			ids[i] = user.ID
		}
		stamps, err := o.tokens().Stamps(ctx, ids)
		if err != nil {
			return nil, err
		}
		for _, user := range some {
			all = append(all, account{user, stamps[user.ID]})
		}
		last = *some[len(some)-1].DirectoryID
	}
}

// tokens are those of the database. Their lifetimes do not matter here.
func (o Options) tokens() *repository.Tokens { return o.DB.Tokens(repository.Lifetimes{}) }

// differences are those between the accounts and the directory.
type differences struct {
	Counts
	left     []uuid.UUID
	outdated []repository.Stamp // of tokens that were created before the password changed
	missing  []repository.Stamp // for tokens that have none
}

// compare finds the differences, and shows the accounts that are to be changed.
func (o Options) compare(accounts []account, there map[string]string) (found differences, err error) {
	found.Active = len(accounts)
	for _, a := range accounts {
		current, present := there[*a.DirectoryID]
		switch {
		case !present:
			found.left = append(found.left, a.ID)
			err = o.Show(server.EventDeactivated, a.User)
		case current == "":
			found.Unstamped++
		case found.compare(a, current):
			err = o.Show(server.EventTokenRevoked, a.User)
		}
		if err != nil {
			return found, err
		}
	}
	found.Left = len(found.left)
	return found, nil
}

// compare notes which tokens of an account have another stamp than the current one or none, and reports whether there
// are any with another one.
func (d *differences) compare(a account, current string) (changed bool) {
	for _, stamp := range a.stamps {
		switch {
		case stamp == nil:
			d.missing = append(d.missing, repository.Stamp{UserID: a.ID, PasswordStamp: &current})
		case *stamp != current:
			d.outdated = append(d.outdated, repository.Stamp{UserID: a.ID, PasswordStamp: stamp})
			changed = true
		}
	}
	if changed {
		d.Changed++
	}
	return changed
}

// tooMany is an error if more than a share of the accounts left.
func (d *differences) tooMany(most float64) error {
	if share := float64(d.Left) / float64(max(d.Active, 1)); share > most {
		return fmt.Errorf("%d of %d active accounts of the directory are not in it any more: making more than %.0f %% of them inactive at once must be allowed first, and none was deactivated",
			d.Left, d.Active, 100*most)
	}
	return nil
}

// endOutdated ends the sessions that began before the password changed. Tokens without a stamp get the current one, so
// that they end with the next change.
func (o Options) endOutdated(ctx context.Context, found differences) error {
	for _, s := range found.outdated {
		ids, err := o.tokens().DeleteStamped(ctx, s.UserID, *s.PasswordStamp)
		for _, id := range ids {
			o.Audit(server.EventTokenRevoked, s.UserID, server.TokenAttr(id))
		}
		if err != nil {
			return err
		}
	}
	return o.tokens().AddStamps(ctx, found.missing)
}
