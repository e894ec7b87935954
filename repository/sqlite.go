package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"
	gormsqlite "gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	sqliteConnections = 4
	sqliteLockPoll    = 50 * time.Millisecond // how often a process that waits for another's migration looks again
)

// sqliteOptions make the file durable (FULL) and let several writers wait for each other, for as long as a call may take: a transaction
// that starts as a reader and then writes would fail at once instead, hence immediate.
func sqliteOptions(timeout time.Duration) url.Values {
	return url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", timeout.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
		// Times are text, and always UTC: those of PostgreSQL are of the machine's zone.
		"_time_format": {"sqlite"},
		"_timezone":    {"UTC"},
	}
}

const sqliteScheme = "sqlite:"

// Files returns the paths at which the database of an address may have files. There are none for PostgreSQL.
func Files(address string) []string {
	path, ok := strings.CutPrefix(address, sqliteScheme)
	if !ok {
		return nil
	}
	return []string{path, path + "-wal", path + "-shm", path + "-journal"}
}

func openSQLite(address string, s Settings) (dialect, error) {
	path := strings.TrimPrefix(address, sqliteScheme)
	if path == "" || strings.HasPrefix(path, ":memory:") || strings.HasPrefix(path, "//") {
		return dialect{}, errors.New("the database address needs a file, as in sqlite:rollbook.db or sqlite:/var/lib/rollbook.db")
	}
	// SQLite would create the file too, but readable by all, and its error would not say what is wrong with the path.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return dialect{}, fmt.Errorf("open the database file: %w", err)
	}
	if err := file.Close(); err != nil {
		return dialect{}, fmt.Errorf("open the database file: %w", err)
	}
	identity, err := realPath(path)
	if err != nil {
		return dialect{}, fmt.Errorf("open the database file: %w", err)
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + sqliteOptions(s.Timeout).Encode()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return dialect{}, fmt.Errorf("open the database file: %w", err)
	}
	db.SetMaxOpenConns(sqliteConnections)
	db.SetMaxIdleConns(sqliteConnections)
	return dialect{
		name:     address,
		identity: identity,
		gorm:     sqliteDialector{gormsqlite.New(gormsqlite.Config{Conn: db})},
		sql:      db,
		clock:    &clock{local: s.Now},
		now:      "NULL",
		rows:     sqlRows(db),
		both:     sqlPair(db),
		pool: func() Pool {
			stat := db.Stats()
			return Pool{stat.MaxOpenConnections, stat.InUse, stat.Idle, stat.WaitCount, stat.WaitDuration}
		},
		close:         db.Close,
		goose:         goose.DialectSQLite3,
		migrations:    migrationsOf("sqlite"),
		exclusively:   fileLock(path + ".lock"),
		away:          sqliteAway,
		gaveUp:        func(error) bool { return false }, // writers wait for each other
		usernameTaken: sqliteUsernameTaken,
	}, nil
}

// realPath is the path of a file that is there, without links on the way.
func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(absolute)
}

// fileLock lets one process at a time migrate. The file stays: to remove it would let two processes hold the lock.
func fileLock(path string) func(context.Context, func() error) error {
	return func(ctx context.Context, migrate func() error) (err error) {
		lock := flock.New(path, flock.SetPermissions(0o600))
		if _, err := lock.TryLockContext(ctx, sqliteLockPoll); err != nil {
			return fmt.Errorf("lock %s: %w", path, err)
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
		return migrate()
	}
}

// sqliteDialector translates the errors of modernc.org/sqlite and keeps them, since they name the column.
type sqliteDialector struct{ gorm.Dialector }

func (d sqliteDialector) Translate(err error) error {
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%w: %w", gorm.ErrDuplicatedKey, err)
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fmt.Errorf("%w: %w", gorm.ErrForeignKeyViolated, err)
	}
	return err
}

// sqliteCode is the extended result code of an error of SQLite, and 0 for other errors.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

func sqliteAway(err error) bool {
	switch sqliteCode(err) & 0xff { // the primary result code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM:
		return true
	}
	return false
}

func sqliteUsernameTaken(err error) bool {
	return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE && strings.Contains(err.Error(), "users.username")
}
