package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

const (
	// decoyPage is how many accounts are counted with one query.
	decoyPage = 500
	// decoyInterval is the time between two counts of a small database.
	decoyInterval = time.Minute
	// decoyShare is the part of the time that counting may take: one in so many.
	decoyShare = 100
	// decoyStart is how long a server that starts waits for the first count.
	decoyStart = time.Second
)

// Decoys count the encodings of the passwords in a database by their cost, so that a login for a name without a password takes
// the time of one with a password. All servers of a database choose the same decoy for a name.
type Decoys struct {
	users *repository.Users
	mix   *password.Mix

	counts   map[string]int // of the count that is under way
	after    uuid.UUID      // the last account that is in it
	complete bool           // there was a count of all accounts
}

// NewDecoys counts for up to a second. Of a database with more accounts than that allows, the decoys follow the counted ones
// until Run has counted all: ids are random, so that they are a random sample.
func NewDecoys(ctx context.Context, db *repository.DB) (*Decoys, error) {
	key, err := db.Secret(ctx, "decoys")
	if err != nil {
		return nil, err
	}
	d := &Decoys{users: db.Users(), mix: password.NewMix(key), counts: map[string]int{}}
	for began, done := time.Now(), false; !done && time.Since(began) < decoyStart; {
		if done, err = d.count(ctx); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Refresh counts all accounts. It must not be called while Run runs.
func (d *Decoys) Refresh(ctx context.Context) error {
	d.counts, d.after = map[string]int{}, uuid.Nil
	for {
		if done, err := d.count(ctx); done || err != nil {
			return err
		}
	}
}

// Run counts again and again until the context ends, for at most a hundredth of the time.
func (d *Decoys) Run(ctx context.Context, log *slog.Logger) {
	for due := time.Now().Add(decoyInterval); ctx.Err() == nil; {
		if d.after == uuid.Nil {
			wait(ctx, due)
			due = time.Now().Add(decoyInterval)
		}
		began := time.Now()
		if _, err := d.count(ctx); err != nil && ctx.Err() == nil {
			log.LogAttrs(ctx, slog.LevelWarn, "passwords not counted", slog.Any("error", err))
			wait(ctx, time.Now().Add(decoyInterval))
			continue
		}
		wait(ctx, time.Now().Add(decoyShare*time.Since(began)))
	}
}

// count counts a page of accounts and reports whether it was the last one.
func (d *Decoys) count(ctx context.Context) (done bool, err error) {
	encoded, last, err := d.users.LocalPasswords(ctx, d.after, decoyPage)
	if err != nil {
		return false, fmt.Errorf("count the encodings of passwords: %w", err)
	}
	for _, one := range encoded {
		if !password.IsSet(one) {
			continue
		}
		if decoy, err := password.Decoy(one); err == nil { // of another nobody can verify the password
			d.counts[decoy]++
		}
	}
	d.after, done = last, len(encoded) < decoyPage
	if done || !d.complete {
		d.mix.Set(d.counts)
	}
	if done {
		d.counts, d.after, d.complete = map[string]int{}, uuid.Nil, true
	}
	return done, nil
}

// mixed returns the mix of encodings, or nil if there are no decoys.
func (d *Decoys) mixed() *password.Mix {
	if d == nil {
		return nil
	}
	return d.mix
}
