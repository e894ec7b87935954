package main

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// kinds are the kinds of database, each with the address of a fresh one that is not migrated.
var kinds = map[string]func(testing.TB) string{
	"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "rollbook.db") },
	"postgres": testdb.EmptyPostgres,
}

// migrated opens a database and brings it to a version with the migrations in a folder.
func migrated(t *testing.T, kind, address, folder string, version int64) *sql.DB {
	t.Helper()
	driver, source, dialect := "pgx", address, goose.DialectPostgres
	if kind == "sqlite" {
		driver, source, dialect = "sqlite", strings.TrimPrefix(address, "sqlite:")+"?_time_format=sqlite&_pragma=busy_timeout(5000)", goose.DialectSQLite3
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	migrations, err := goose.NewProvider(dialect, db, os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrations.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
	return db
}

func ours(kind string) string { return "../../repository/migrations/" + kind }

// An account of the first version of the tables, and its token, are kept by the server that migrates them.
func TestUpgradeFromTheFirstVersion(t *testing.T) {
	t.Parallel()
	for kind, fresh := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			address := fresh(t)
			db := migrated(t, kind, address, ours(kind), 1)
			encoded, err := password.New(testserver.CheapHashing).Encode(t.Context(), "Correct-Horse-9")
			if err != nil {
				t.Fatal(err)
			}
			key := strings.Repeat("0123456789", 4)
			digest, id, now := sha256.Sum256([]byte(key)), uuid.NewString(), time.Now().UTC()
			if _, err := db.ExecContext(t.Context(), `INSERT INTO users (id, username, first_name, last_name, email, password, is_active, created_at, updated_at)
				VALUES ($1, 'u', 'Uma', '', '', $2, true, $3, $3)`, id, encoded, now); err != nil {
				t.Fatal(err)
			}
			if _, err := db.ExecContext(t.Context(), `INSERT INTO tokens (id, user_id, digest, created_at) VALUES ($1, $2, $3, $4)`,
				uuid.NewString(), id, digest[:], now); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}

			p := start(t, address)
			status, members := p.send(t, "GET", "/api/v1/users/me/", key, "")
			if status != http.StatusOK || members["id"] != id || members["first_name"] != "Uma" {
				t.Errorf("the token of before: %d %v", status, members)
			}
			if status, members := p.send(t, "POST", "/api-token-auth/", "", credentials); status != http.StatusOK {
				t.Errorf("the password of before: %d %v", status, members)
			}
			p.stop(t)
		})
	}
}

// A migration that builds indexes outside of a transaction, and was ended in the middle, is made good by the next start.
func TestMigrationIsMadeGood(t *testing.T) {
	t.Parallel()
	address := testdb.EmptyPostgres(t)
	db := migrated(t, "postgres", address, ours("postgres"), 6)
	const partly = "CREATE INDEX tokens_user_id_created_at_idx ON tokens (user_id, created_at); CREATE INDEX tokens_expiring_idx ON tokens (id)"
	if _, err := db.ExecContext(t.Context(), partly); err != nil {
		t.Fatal(err)
	}
	start(t, address).stop(t)
	var definition string
	err := db.QueryRowContext(t.Context(), "SELECT pg_get_indexdef('tokens_expiring_idx'::regclass)").Scan(&definition)
	if err != nil || !strings.HasSuffix(definition, "(user_id, expires_at) WHERE (expires_at IS NOT NULL)") {
		t.Errorf("the index is %q, %v", definition, err)
	}
}

// future is a migration as a later release may have it: it only adds.
const future = `-- +goose Up
ALTER TABLE users ADD COLUMN nickname text NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN scope text;
CREATE TABLE groups (name text PRIMARY KEY NOT NULL);
`

// A server goes on serving while and after a newer release migrates the database, and starts again, saying so.
func TestNewerDatabaseIsServed(t *testing.T) {
	t.Parallel()
	for kind, fresh := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			address, newer := fresh(t), t.TempDir()
			if err := os.CopyFS(newer, os.DirFS(ours(kind))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(newer, "9999_future.sql"), []byte(future), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, address)
			tokens := live(t, p)
			db := migrated(t, kind, address, newer, 9999)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			p.serves(t, tokens, "meanwhile")
			if strings.Contains(p.Log.String(), newerDatabase) {
				t.Error("it says that the database is newer, before it is")
			}
			p.stop(t)
			p = start(t, address)
			p.serves(t, tokens, "afterwards")
			if !strings.Contains(p.Log.String(), newerDatabase) {
				t.Errorf("it does not say that the database is newer: %s", p.Log.String())
			}
			p.stop(t)
			out, err := program(t, []string{"DATABASE_URL=" + address}, "migrate").Output()
			if err != nil || !strings.HasPrefix(string(out), "the database is at version 9999, newer than ") {
				t.Errorf("migrate says %q, %v", out, err)
			}
		})
	}
}

// serves fails the test where something does not work that writes or reads the tables.
func (p process) serves(t *testing.T, tokens signedIn, name string) {
	t.Helper()
	p.livesOn(t, tokens)
	p.accepts(t, "a new account", register(t, p, name), http.StatusOK)
	_, profile := p.send(t, "GET", "/api/v1/users/me/", tokens.kept, "")
	if status, members := p.send(t, "PATCH", fmt.Sprintf("/api/v1/users/%v/", profile["id"]), tokens.kept, `{"first_name":"Uma"}`); status != http.StatusOK {
		t.Errorf("a change: %d %v", status, members)
	}
	if status, members := p.send(t, "GET", "/readyz", "", ""); status != http.StatusOK {
		t.Errorf("%s it is not ready: %d %v", name, status, members)
	}
}

const newerDatabase = "the database is newer than this release"
