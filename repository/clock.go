package repository

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// clock is the time that all processes of a database go by, so that one whose own clock is wrong ends nobody's token and locks
// nobody out: PostgreSQL's, asked on each new connection and counted on from there. With SQLite, which has none, it is the
// process's own.
type clock struct {
	local   func() time.Time
	timeout time.Duration // of the question
	asked   atomic.Pointer[reading]
}

// reading is what the two clocks showed at one moment.
type reading struct {
	database, local time.Time
	within          time.Duration // by how much the database's may be off
}

// driftShare is the part of the time that passes by which two clocks may drift apart, at the most: 200 parts in a million.
const driftShare = 5000

// improves tells whether a later reading is to be preferred: it is more exact, or shows that the database's clock is another now.
func (r reading) improves(old reading) bool {
	passed := r.local.Sub(old.local)
	within := old.within + passed/driftShare
	off := r.database.Sub(old.database.Add(passed)).Abs()
	return r.within <= within || off > within+r.within
}

// now is the time in UTC, in microseconds as the databases keep it.
func (c *clock) now() time.Time {
	now := c.local()
	if r := c.asked.Load(); r != nil {
		now = r.database.Add(now.Sub(r.local))
	}
	return now.UTC().Truncate(time.Microsecond)
}

// ask reads the clock of PostgreSQL on a new connection.
func (c *clock) ask(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var now time.Time
	before := c.local()
	// In the protocol that needs one round trip, and works through any pooler.
	if err := conn.QueryRow(ctx, "SELECT clock_timestamp()", pgx.QueryExecModeSimpleProtocol).Scan(&now); err != nil {
		return fmt.Errorf("ask the time: %w", err)
	}
	c.read(now, before, c.local())
	return nil
}

// read takes note of what the database's clock showed halfway between two moments.
func (c *clock) read(database, before, after time.Time) {
	r := reading{database: database}
	r.within = after.Sub(before) / 2 //nolint:mnd // the half
	r.local = before.Add(r.within)
	if old := c.asked.Load(); old == nil || r.improves(*old) {
		c.asked.Store(&r)
	}
}

// Now is the time that all processes of the database go by.
func (db *DB) Now() time.Time { return db.gorm.NowFunc() }
