package repository_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
)

// countMigrations is how many migrations SQLite has, and so has PostgreSQL.
func countMigrations(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("migrations/sqlite/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	return len(files)
}

func TestReadyOnceMigrated(t *testing.T) {
	t.Parallel()
	for name, fresh := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + t.TempDir() + "/a b?c%20#d.db" },
		"postgres": testdb.EmptyPostgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.Open(t, fresh(t))
			if err := db.Ready(t.Context()); err == nil {
				t.Error("ready before it is migrated")
			}
			for _, want := range []int{countMigrations(t), 0} { // the second time nothing is left to do
				applied, err := db.Migrate(t.Context())
				if err != nil || len(applied) != want {
					t.Fatalf("applied %v, %v; want %d", applied, err, want)
				}
				if err := db.Ready(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestSimultaneousMigrations(t *testing.T) {
	t.Parallel()
	for name, fresh := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + t.TempDir() + "/rollbook.db" },
		"postgres": testdb.EmptyPostgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := fresh(t)
			var total atomic.Int32
			var opened, wg sync.WaitGroup
			const instances = 8
			opened.Add(instances)
			for range instances {
				db := testdb.Open(t, address)
				wg.Go(func() {
					opened.Done()
					opened.Wait() // so that they all start at once
					applied, err := db.Migrate(t.Context())
					total.Add(int32(len(applied)))
					if err := errors.Join(err, db.Ready(t.Context())); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if want := countMigrations(t); int(total.Load()) != want {
				t.Errorf("%d migrations were applied, want %d", total.Load(), want)
			}
		})
	}
}

func TestBadAddressesAreExplained(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"":                               "must begin with postgres://",
		"mysql://u:hunter2@h/d":          "must begin with postgres://",
		"sqlite:":                        "needs a file",
		"sqlite::memory:":                "needs a file",
		"sqlite:/no/such/folder/x.db":    "no such file or directory",
		"postgres://u:hunter2@h:port/d":  "read the database address",
		"postgres://u:hunter2@h:1/%zz":   "read the database address",
		"postgres://u:hunter2%zz@h:1/db": "read the database address",
		"postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable": "cannot reach the database",
		"postgres:password=hunter2 host=h":                   "must begin with postgres://",
		"postgres://u:x@hunter2@h/d":                         "write @ / ? # in a name or password as",
		"postgres://u:1/hunter2@h/d":                         "write @ / ? # in a name or password as",
		"postgres://u:1?hunter2@h/d":                         "write @ / ? # in a name or password as",
		"postgres://u:1#hunter2@h/d":                         "write @ / ? # in a name or password as",
		"sqlite://tmp/x.db":                                  "needs a file",
	} {
		_, err := repository.Open(t.Context(), address, repository.Settings{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", address, err)
		}
	}
}
