// Package leavers makes the accounts of those inactive who have left the directory.
package leavers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	Most      float64                       // the share of the active accounts of the directory that may be made inactive at once, from 0 to 1
	DryRun    bool                          // nothing is done
	Show      func(repository.User) error   // is told of each leaver, before anything is done
	Audit     func(server.Event, uuid.UUID) // is told of what was done
}

// Counts are how many active accounts of the directory there were, and how many of these have left.
type Counts struct{ Active, Left int }

// Sync looks for leavers now. Nothing is done where the directory has not told of everybody, or where they would be too many.
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

// Run looks for leavers time and again, until the context ends; of all processes that use the database one does each time. What
// fails is logged, and tried again after the same time.
func Run(ctx context.Context, every time.Duration, o Options, log *slog.Logger) {
	const often = time.Minute // another process may have ended in the middle
	for ticks := time.NewTicker(min(every, often)); ; {
		if err := o.syncIfDue(ctx, every, log); err != nil && ctx.Err() == nil {
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

func (o Options) syncIfDue(ctx context.Context, every time.Duration, log *slog.Logger) error {
	began, err := o.DB.Begin(ctx, job, false, longest)
	if err != nil || !began {
		return err
	}
	counts, err := o.sync(ctx)
	pause := every
	if ctx.Err() != nil { // another process is to do it
		pause = 0
	}
	err = errors.Join(err, o.DB.End(context.WithoutCancel(ctx), job, pause))
	if err == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "directory sync", slog.Int("active", counts.Active), slog.Int("left", counts.Left))
	}
	return err
}

func (o Options) sync(ctx context.Context) (Counts, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	accounts, err := o.accounts(ctx) // before the directory is asked: who is new in both meanwhile has not left
	if err != nil {
		return Counts{}, err
	}
	there, err := o.Directory.IDs(ctx)
	if err != nil {
		return Counts{}, err
	}
	if len(there) == 0 && len(accounts) > 0 { // who may not read the directory is told so, too
		return Counts{}, fmt.Errorf("%w: the directory says that there is nobody in it, and nothing was changed", directory.ErrUnusable)
	}
	var ids []uuid.UUID
	for _, user := range accounts {
		if there[*user.DirectoryID] {
			continue
		}
		ids = append(ids, user.ID)
		if err := o.Show(user); err != nil {
			return Counts{}, err
		}
	}
	counts := Counts{len(accounts), len(ids)}
	if share := float64(len(ids)) / float64(max(len(accounts), 1)); share > o.Most {
		return counts, fmt.Errorf("%d of %d active accounts of the directory are not in it any more: making more than %.0f %% of them inactive at once must be allowed first, and nothing was changed",
			counts.Left, counts.Active, 100*o.Most)
	}
	if o.DryRun {
		return counts, nil
	}
	left, err := o.DB.Users().Leave(ctx, ids)
	for _, id := range left {
		o.Audit(server.EventDeactivated, id)
	}
	counts.Left = len(left)
	return counts, err
}

// accounts are the active ones of the directory.
func (o Options) accounts(ctx context.Context) (all []repository.User, err error) {
	for last := ""; ; {
		some, err := o.DB.Users().OfDirectory(ctx, last, repository.MostAtOnce)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < repository.MostAtOnce {
			return all, nil
		}
		last = *some[len(some)-1].DirectoryID
	}
}
