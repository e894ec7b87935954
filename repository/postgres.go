package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/driver/postgres"
)

const (
	migrationPoll  = 200 * time.Millisecond // how often an instance that waits for another's migration looks again
	migrationPolls = 1500                   // so it waits for at most five minutes
)

// mostStatements is how many statements a connection keeps prepared, those used last: a server has some forty. Each connection has a place
// for as many as it may keep, empty or not, which a collection of garbage looks at.
const mostStatements = 64

func openPostgres(address string, s Settings) (dialect, error) {
	if err := CheckAddress(address); err != nil {
		return dialect{}, err
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return dialect{}, fmt.Errorf("read the database address: %w", err)
	}
	server := config.ConnConfig
	if server.ConnectTimeout == 0 { // so that there is time for the next host where one is silent
		server.ConnectTimeout = s.Timeout / time.Duration(len(server.Fallbacks)+2)
	}
	server.StatementCacheCapacity = min(server.StatementCacheCapacity, mostStatements)
	server.DescriptionCacheCapacity = min(server.DescriptionCacheCapacity, mostStatements)
	// A lock in a table, since locks of a session are not safe through a pooler of transactions.
	locker, err := lock.NewPostgresTableLocker(lock.WithTableLockTimeout(migrationPoll, migrationPolls))
	if err != nil {
		return dialect{}, fmt.Errorf("prepare the migration lock: %w", err)
	}
	clock := &clock{local: s.Now, timeout: s.Timeout}
	config.AfterConnect = clock.ask
	config.MaxConns = int32(min(s.Connections, math.MaxInt32)) //nolint:gosec // it fits
	config.MaxConnLifetime = s.Lifetime
	pool, err := pgxpool.NewWithConfig(context.Background(), config) // which connects when it is first used
	if err != nil {
		return dialect{}, fmt.Errorf("prepare the connections: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	rows := pgxRows(pool)
	name := fmt.Sprintf("postgres://%s/%s", net.JoinHostPort(server.Host, fmt.Sprint(server.Port)), server.Database)
	return dialect{
		name:      name,
		identity:  name,
		gorm:      postgres.New(postgres.Config{Conn: db}),
		sql:       db,
		clock:     clock,
		now:       "clock_timestamp()",
		forShare:  " FOR SHARE",
		forUpdate: " FOR UPDATE",
		micros:    "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
		rows:      rows,
		both:      pgxPair(rows),
		pool: func() Pool {
			stat := pool.Stat()
			return Pool{int(stat.MaxConns()), int(stat.AcquiredConns()), int(stat.IdleConns()), stat.EmptyAcquireCount(), stat.EmptyAcquireWaitTime()}
		},
		close: func() error {
			defer pool.Close()
			return db.Close()
		},
		goose:         goose.DialectPostgres,
		migrations:    migrationsOf("postgres"),
		options:       []goose.ProviderOption{goose.WithLocker(locker)},
		exclusively:   func(_ context.Context, migrate func() error) error { return migrate() }, // goose holds the lock
		away:          postgresAway,
		gaveUp:        postgresGaveUp,
		usernameTaken: postgresUsernameTaken,
	}, nil
}

// CheckAddress refuses an address of PostgreSQL in which a character of the password would be taken for the end of it: what is left of
// the password would then be taken for a host, and shown.
func CheckAddress(address string) error {
	_, rest, _ := strings.Cut(address, "//")
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	if strings.Count(authority, "@") > 1 || strings.ContainsAny(tail, "@#") {
		return errors.New("read the database address: write @ / ? # in a name or password as %40 %2F %3F %23")
	}
	return nil
}

// passing are the classes of SQLSTATE that speak of the server's state and not of the statement: connection, resources,
// operator intervention (PostgreSQL's Appendix A), and the rollbacks after which the same transaction may succeed.
var passing = []string{"08", "40", "53", "57"}

func postgresAway(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true // also where the server refuses: no such database, or a password that was changed
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		ofClass := func(class string) bool { return strings.HasPrefix(pgErr.Code, class) }
		return slices.ContainsFunc(passing, ofClass) || pgErr.Code == "25006" // read-only: a standby
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || pgconn.SafeToRetry(err)
}

// postgresGaveUp tells of serialization failures and deadlocks (SQLSTATE 40001 and 40P01).
func postgresGaveUp(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == "40001" || pgErr.Code == "40P01")
}

// postgresUsernameTaken tells of a unique violation (SQLSTATE 23505).
func postgresUsernameTaken(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "23505" && pgErr.ConstraintName == "users_username_key"
}
