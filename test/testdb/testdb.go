// Package testdb gives tests databases of their own: fresh, migrated, and gone when the test ends.
package testdb

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/peterldowns/pgtestdb"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/need"
)

// Each runs a test on every kind of database, in parallel. Each run gets the address of a fresh, migrated database.
func Each(t *testing.T, f func(t *testing.T, address string)) {
	t.Helper()
	for name, fresh := range map[string]func(testing.TB) string{"sqlite": SQLite, "postgres": Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, fresh(t))
		})
	}
}

// Patient are settings for a machine that is busy with other tests: no call ends before it is answered.
var Patient = repository.Settings{Timeout: time.Minute}

// Open opens the database at an address until the test ends.
func Open(t testing.TB, address string) *repository.DB {
	t.Helper()
	db, err := repository.Open(t.Context(), address, Patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// SQL opens the database at an address, past the program, until the test ends.
func SQL(t testing.TB, address string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if path, isFile := strings.CutPrefix(address, "sqlite:"); isFile {
		driver, address = "sqlite", "file:"+path+"?_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// SQLite returns the address of a fresh, migrated SQLite file.
func SQLite(t testing.TB) string {
	t.Helper()
	address := "sqlite:" + filepath.Join(t.TempDir(), "rollbook.db")
	if err := migrate(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	return address
}

// Postgres returns the address of a fresh, migrated PostgreSQL database. It is on the server of TEST_DATABASE_URL, else
// on a private one made from the PostgreSQL found on the machine. Where there is none, Postgres skips the test, or
// fails it under CI=true.
func Postgres(t testing.TB) string {
	t.Helper()
	return pgtestdb.Custom(t, postgresConfig(t), migrator{}).URL()
}

// EmptyPostgres is Postgres without the migrations.
func EmptyPostgres(t testing.TB) string {
	t.Helper()
	return pgtestdb.Custom(t, postgresConfig(t), pgtestdb.NoopMigrator{}).URL()
}

// PostgresAdmin returns the address of the server on which Postgres makes databases, for who may create and drop them.
func PostgresAdmin(t testing.TB) string {
	t.Helper()
	return postgresConfig(t).URL()
}

// PostgresPrograms returns the folder of PostgreSQL's programs for clients. Where there is none, the test is skipped.
func PostgresPrograms(t testing.TB) string {
	t.Helper()
	folder, err := findPrograms("pg_dump", "pg_restore", "createdb", "dropdb", "psql")
	if err != nil {
		need.Skip(t, "programs of PostgreSQL for clients")
	}
	return folder
}

func postgresConfig(t testing.TB) pgtestdb.Config {
	t.Helper()
	address := os.Getenv("TEST_DATABASE_URL")
	if address == "" {
		server, err := privateServer()
		if err != nil {
			need.Skip(t, err.Error())
		}
		address = server
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("TEST_DATABASE_URL is not a URL")
	}
	password, _ := u.User.Password()
	return pgtestdb.Config{
		DriverName:                "pgx",
		Host:                      u.Hostname(),
		Port:                      u.Port(),
		User:                      u.User.Username(),
		Password:                  password,
		Database:                  filepath.Base(u.Path),
		Options:                   u.RawQuery,
		ForceTerminateConnections: true,
	}
}

// migrator lets pgtestdb migrate one template database and copy it for each test.
type migrator struct{}

// Hash names the template. The server is private or the template is made anew whenever the migrations change.
func (migrator) Hash() (string, error) { return repository.MigrationsHash() }

func (migrator) Migrate(ctx context.Context, _ *sql.DB, config pgtestdb.Config) error {
	return migrate(ctx, config.URL())
}

func migrate(ctx context.Context, address string) (err error) {
	db, err := repository.Open(ctx, address, repository.Settings{})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := db.Close(); err == nil {
			err = closeErr
		}
	}()
	if _, err := db.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", address, err)
	}
	return nil
}
