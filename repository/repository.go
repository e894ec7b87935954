// Package repository keeps accounts and tokens, in PostgreSQL or in an SQLite file.
package repository

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Settings are how a database is used. What is 0 is as DefaultSettings has it.
type Settings struct {
	// Connections is how many connections there are to PostgreSQL at most, from this process.
	Connections int
	// Lifetime is how old a connection to PostgreSQL gets, so that they move to another server behind the same name.
	Lifetime time.Duration
	// Timeout bounds every call, transactions and waiting for a connection included, whatever its context allows.
	Timeout time.Duration
	// Now is the clock of this process, time.Now by default. What counts is PostgreSQL's own, where that is the database.
	Now func() time.Time
}

// DefaultSettings are those of a small server. Between 8 and 16 connections were measured best on two cores.
var DefaultSettings = Settings{Connections: 16, Lifetime: 30 * time.Minute, Timeout: 5 * time.Second}

func (s Settings) withDefaults() Settings {
	if s.Now == nil {
		s.Now = time.Now
	}
	return Settings{
		cmp.Or(s.Connections, DefaultSettings.Connections), cmp.Or(s.Lifetime, DefaultSettings.Lifetime), cmp.Or(s.Timeout, DefaultSettings.Timeout), s.Now,
	}
}

// DB is an open database. Its methods may be called by several goroutines at once.
type DB struct {
	gorm    *gorm.DB
	sql     *sql.DB
	dialect dialect
	timeout time.Duration // of every call
	goose   *goose.Provider
	newest  int64 // the version of the newest migration
}

// dialect is what differs between the databases.
type dialect struct {
	name       string // the address, as far as it may be shown
	identity   string // the same for two addresses of one database, as far as they tell
	gorm       gorm.Dialector
	sql        *sql.DB
	clock      *clock
	now        string // the time by a clock that all processes share, in SQL; NULL where it is theirs
	forShare   string // keeps others from changing the rows that a SELECT found, until its transaction ends, in SQL
	forUpdate  string // the same, for rows that are about to be changed
	micros     string // the time as now has it, in microseconds since 1970; empty if it is the process's own
	rows       rowsReader
	both       pair
	pool       func() Pool
	close      func() error
	goose      goose.Dialect
	migrations fs.FS
	options    []goose.ProviderOption
	// exclusively runs a migration that no other process may run at the same time.
	exclusively func(context.Context, func() error) error
	// away tells whether an error means that the database cannot be used for now.
	away func(error) bool
	// gaveUp tells whether a transaction was undone in favour of another.
	gaveUp func(error) bool
	// usernameTaken tells whether a violated uniqueness is that of the username.
	usernameTaken func(error) bool
}

// Open opens the database at an address of the form postgres://… or sqlite:PATH; an SQLite file is created where there
// is none. It does not migrate. The error never holds the address's password.
func Open(ctx context.Context, address string, s Settings) (*DB, error) {
	s = s.withDefaults()
	open, err := opener(address)
	if err != nil {
		return nil, err
	}
	d, err := open(address, s)
	if err != nil {
		return nil, err
	}
	db, err := newDB(ctx, d, s.Timeout)
	if err != nil {
		_ = d.close() // the error that counts is the one before
		return nil, err
	}
	return db, nil
}

func opener(address string) (func(string, Settings) (dialect, error), error) {
	switch {
	case strings.HasPrefix(address, "postgres://"), strings.HasPrefix(address, "postgresql://"):
		return openPostgres, nil
	case strings.HasPrefix(address, "sqlite:"):
		return openSQLite, nil
	}
	return nil, errors.New("the database address must begin with postgres://, or with sqlite: and a file")
}

func newDB(ctx context.Context, d dialect, timeout time.Duration) (*DB, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := d.sql.PingContext(ctx); err != nil {
		return nil, fmt.Errorf("cannot reach the database: %w", err)
	}
	g, err := gorm.Open(d.gorm, &gorm.Config{
		SkipDefaultTransaction: true,
		QueryFields:            true,
		TranslateError:         true,
		DisableAutomaticPing:   true,
		Logger:                 logger.Discard, // errors are returned, and GORM's own lines would hold values
		NowFunc:                d.clock.now,
	})
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	provider, err := goose.NewProvider(d.goose, d.sql, d.migrations, d.options...)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	sources := provider.ListSources()
	return &DB{gorm: g, sql: d.sql, dialect: d, timeout: timeout, goose: provider, newest: sources[len(sources)-1].Version}, nil
}

// Name is the address without the user's name and password.
func (db *DB) Name() string { return db.dialect.name }

// Close closes the connections; calls under way are waited for.
func (db *DB) Close() error { return db.dialect.close() }

// Pool is how many connections there are, and how often and how long calls have waited for one.
type Pool struct {
	Most, InUse, Idle int
	Waits             int64
	Waited            time.Duration
}

// Pool tells how the connections are used at this moment.
func (db *DB) Pool() Pool { return db.dialect.pool() }

// Users are the accounts of the database.
func (db *DB) Users() *Users { return &Users{db} }

// Tokens are the tokens of the database, which live as long as is said here.
func (db *DB) Tokens(l Lifetimes) *Tokens { return newTokens(db, l) }

// The pause before a transaction is run again is random, up to firstPause at first and to twice as much each time.
const firstPause, longestPause = 10 * time.Millisecond, 200 * time.Millisecond

// endSpan ends the span of a call, and says whether it failed, but not of what: an error may hold values.
func endSpan(span trace.Span, err error) {
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUsernameTaken) {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// tracerName names the spans of calls, which are made where the caller has one.
const tracerName = "github.com/rollbook/rollbook/repository"

// do is run with what GORM needs.
func (db *DB) do(ctx context.Context, what string, f func(*gorm.DB) error) error {
	return db.run(ctx, what, func(ctx context.Context) error { return f(db.gorm.WithContext(ctx)) })
}

// row runs a statement that is asked for often, with ? for its values, and reads the one row that it returns.
func (db *DB) row(ctx context.Context, what, statement string, values, into []any) error {
	return db.run(ctx, what, func(ctx context.Context) error {
		found := false
		err := db.dialect.rows(ctx, statement, values, func(read scan) error {
			found = true
			return read(into...)
		})
		if err == nil && !found {
			return sql.ErrNoRows
		}
		return err
	})
}

// run runs f within the context and the timeout, and names the errors that callers tell apart. Where the database has
// given f up in favour of another transaction, nothing of it has happened, and it is run again.
func (db *DB) run(ctx context.Context, what string, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	if caller := trace.SpanFromContext(ctx); caller.IsRecording() {
		var span trace.Span
		ctx, span = caller.TracerProvider().Tracer(tracerName).Start(ctx, what, trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("db.system.name", db.dialect.gorm.Name())))
		defer func() { endSpan(span, err) }()
	}
	err = f(ctx)
	for most := firstPause; err != nil && db.dialect.gaveUp(err) && ctx.Err() == nil; most = min(2*most, longestPause) {
		select {
		case <-time.After(rand.N(most)): //nolint:gosec // when is no secret
		case <-ctx.Done():
		}
		err = f(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, db.named(err))
	}
	return nil
}
