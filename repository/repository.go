// Package repository keeps accounts and tokens, in PostgreSQL or in an SQLite file.
package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// queryTimeout bounds every call, whatever its context allows.
const queryTimeout = 5 * time.Second

// DB is an open database. Its methods may be called by several goroutines at once.
type DB struct {
	gorm    *gorm.DB
	sql     *sql.DB
	dialect dialect
	goose   *goose.Provider
	newest  int64 // the version of the newest migration
}

// dialect is what differs between the databases.
type dialect struct {
	name       string // the address, as far as it may be shown
	gorm       gorm.Dialector
	sql        *sql.DB
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
func Open(ctx context.Context, address string) (*DB, error) {
	open, err := opener(address)
	if err != nil {
		return nil, err
	}
	d, err := open(address)
	if err != nil {
		return nil, err
	}
	db, err := newDB(ctx, d)
	if err != nil {
		_ = d.sql.Close() // the error that counts is the one before
		return nil, err
	}
	return db, nil
}

func opener(address string) (func(string) (dialect, error), error) {
	switch {
	case strings.HasPrefix(address, "postgres://"), strings.HasPrefix(address, "postgresql://"):
		return openPostgres, nil
	case strings.HasPrefix(address, "sqlite:"):
		return openSQLite, nil
	}
	return nil, errors.New("the database address must begin with postgres://, or with sqlite: and a file")
}

func newDB(ctx context.Context, d dialect) (*DB, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
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
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	})
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	provider, err := goose.NewProvider(d.goose, d.sql, d.migrations, d.options...)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	sources := provider.ListSources()
	return &DB{gorm: g, sql: d.sql, dialect: d, goose: provider, newest: sources[len(sources)-1].Version}, nil
}

// Name is the address without the user's name and password.
func (db *DB) Name() string { return db.dialect.name }

// Close closes the connections; calls under way are waited for.
func (db *DB) Close() error { return db.sql.Close() }

// Users are the accounts of the database.
func (db *DB) Users() *Users { return &Users{db} }

// Tokens are the tokens of the database, which live as long as is said here.
func (db *DB) Tokens(l Lifetimes) *Tokens { return &Tokens{db, l} }

// The pause before a transaction is run again is random, up to firstPause at first and to twice as much each time.
const firstPause, longestPause = 10 * time.Millisecond, 200 * time.Millisecond

// do runs f within the context and queryTimeout, and names the errors that callers tell apart. Where the database has
// given f up in favour of another transaction, nothing of it has happened, and it is run again.
func (db *DB) do(ctx context.Context, what string, f func(*gorm.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := f(db.gorm.WithContext(ctx))
	for most := firstPause; err != nil && db.dialect.gaveUp(err) && ctx.Err() == nil; most = min(2*most, longestPause) {
		select {
		case <-time.After(rand.N(most)): //nolint:gosec // when is no secret
		case <-ctx.Done():
		}
		err = f(db.gorm.WithContext(ctx))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, db.named(err))
	}
	return nil
}
