package repository_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
)

// eachWay runs a test on every way from one kind of database to another, or the same.
func eachWay(t *testing.T, f func(t *testing.T, from, to string)) {
	t.Helper()
	kinds := map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres}
	for from, source := range kinds {
		for to, target := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				f(t, source(t), target(t))
			})
		}
	}
}

// What is copied is all that there was when the copy began, on every way. Who writes meanwhile neither waits for it nor is
// in it, and no token counts as used by it.
func TestCopy(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, from, to string) {
		source := fill(t, from)
		writer := testdb.Open(t, from) // another process, as it were
		want := dump(t, from)
		var writes int
		var last, all int64
		counts, err := repository.Copy(t.Context(), source, testdb.Open(t, to), func(done, of int64) {
			if done <= last || done > of {
				t.Errorf("%d of %d are stored after %d", done, of, last)
			}
			last, all = done, of
			write(t, writer, writes) // here, so that the copy would wait for a writer that waits for it
			writes++
		})
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, want, dump(t, to))
		if len(counts) != len(want) || last != all || writes < 5 {
			t.Errorf("counted %v and %d of %d, of %d tables; %d times was written", counts, last, all, len(want), writes)
		}
		for _, count := range counts {
			if rows := len(want[count.Table]); rows == 0 || int64(rows) != count.Rows {
				t.Errorf("counted %d rows in %s, which has %d", count.Rows, count.Table, rows)
			}
		}
	})
}

// write makes an account with a token, changes one and removes one with its token, of those that fill has stored.
func write(t *testing.T, db *repository.DB, n int) {
	t.Helper()
	create(t, db, newUser(fmt.Sprint("during", n)))
	name := "changed"
	for i, change := range []func(repository.User) error{
		func(u repository.User) error { return db.Users().Delete(t.Context(), u.ID) },
		func(u repository.User) error {
			_, err := db.Users().Update(t.Context(), u.ID, repository.UserChanges{FirstName: &name})
			return err
		},
	} {
		user, err := db.Users().ByUsername(t.Context(), fmt.Sprint("Zoë.Ω", 2*n+i))
		if err := errors.Join(err, change(user)); err != nil {
			t.Error(err)
		}
	}
}

// wantSame fails the test where a copy is not what was there.
func wantSame(t *testing.T, want, got map[string][]string) {
	t.Helper()
	for table, rows := range want {
		for _, row := range rows {
			if at, found := slices.BinarySearch(got[table], row); !found {
				t.Errorf("%s has %d rows, of %d, not with\n%s\nbut with\n%s", table, len(got[table]), len(rows), row, slices.Concat(got[table], []string{"-"})[at])
				break
			}
		}
	}
	if !t.Failed() && !maps.EqualFunc(want, got, slices.Equal) {
		t.Error("there is more than there was")
	}
}

// A migration that adds a table or a column must add it to what is copied.
func TestCopyCarriesEveryColumn(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		carried, err := repository.CopiedColumns()
		if err != nil {
			t.Fatal(err)
		}
		there := columnsOf(t, address)
		for table, columns := range there {
			slices.Sort(carried[table])
			if !slices.Equal(carried[table], columns) {
				t.Errorf("%s has the columns %v, of which %v are copied", table, columns, carried[table])
			}
		}
		if len(there) != len(carried) || len(there) == 0 {
			t.Errorf("there are %d tables, of which %d are copied", len(there), len(carried))
		}
	})
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	for name, fresh := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			full, other, started, empty, newer := fresh(t), fresh(t), fresh(t), fresh(t), fresh(t)
			for _, address := range []string{full, other} {
				create(t, testdb.Open(t, address), newUser("richard"))
			}
			if _, err := testdb.Open(t, started).Limits(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := testdb.SQL(t, newer).ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)"); err != nil {
				t.Fatal(err)
			}
			for why, test := range map[string]struct{ from, to, want string }{
				"one database":       {full, full, "is the database to copy from: name another one"},
				"one, spelled twice": {full, spelledOtherwise(t, full), "is the database to copy from: name another one"},
				"it has accounts":    {full, other, "it is not empty, but has 1 users, 1 tokens: name a fresh database; it was left as it was"},
				"it has a secret":    {full, started, "it is not empty, but has 1 secrets: name a fresh database; it was left as it was"},
				"nothing to copy":    {empty, fresh(t), "is empty: there is nothing to copy"},
				"a newer source":     {newer, fresh(t), "copy with the release that migrated it"},
				"a newer target":     {full, newer, "name a fresh database"},
			} {
				before := dump(t, test.to)
				_, err := repository.Copy(t.Context(), testdb.Open(t, test.from), testdb.Open(t, test.to), nil)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: got %v, want %s", why, err, test.want)
				}
				if !maps.EqualFunc(before, dump(t, test.to), slices.Equal) {
					t.Errorf("%s: it was changed", why)
				}
			}
		})
	}
}

// spelledOtherwise is another address of the same database.
func spelledOtherwise(t *testing.T, address string) string {
	t.Helper()
	path, isFile := strings.CutPrefix(address, "sqlite:")
	if !isFile {
		return address + "&application_name=other"
	}
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + link
}

// A copy that is ended in the middle, in whichever table, leaves nothing, and can be made again.
func TestInterruptedCopy(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, to string) {
		from := testdb.SQLite(t)
		source, target := fill(t, from), testdb.Open(t, to)
		for _, end := range []int64{1, 3000} { // rows
			ctx, cancel := context.WithCancel(t.Context())
			_, err := repository.Copy(ctx, source, target, func(done, _ int64) {
				if done >= end {
					cancel()
				}
			})
			if cancel(); !errors.Is(err, context.Canceled) || !errors.Is(err, repository.ErrUnavailable) || !strings.HasSuffix(err.Error(), "; it was left as it was") {
				t.Errorf("got %v", err)
			}
			for table, rows := range dump(t, to) {
				if len(rows) > 0 {
					t.Errorf("after %d rows: %s has %d", end, table, len(rows))
				}
			}
		}
		if _, err := repository.Copy(t.Context(), source, target, nil); err != nil {
			t.Error(err)
		}
		wantSame(t, dump(t, from), dump(t, to))
	})
}

// Rows that a database loses without an error are missed.
func TestCopyMissesRows(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fresh func(testing.TB) string
		lose  string
	}{
		"sqlite":   {testdb.SQLite, "CREATE TRIGGER lose BEFORE INSERT ON codes BEGIN SELECT RAISE(IGNORE); END"},
		"postgres": {testdb.Postgres, "CREATE RULE lose AS ON INSERT TO codes DO INSTEAD NOTHING"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := testdb.SQLite(t), test.fresh(t)
			source := testdb.Open(t, from)
			user, _ := create(t, source, newUser("richard"))
			invite(t, source, user.ID)
			if _, err := testdb.SQL(t, to).ExecContext(t.Context(), test.lose); err != nil {
				t.Fatal(err)
			}
			_, err := repository.Copy(t.Context(), source, testdb.Open(t, to), nil)
			if err == nil || !strings.Contains(err.Error(), "it has 1 users, 1 tokens, 0 codes, 0 throttles, 0 secrets, 0 imports, 0 jobs, 0 limits, 0 known_networks, but there are 1 users, 1 tokens, 1 codes") {
				t.Errorf("got %v", err)
			}
			if rows := dump(t, to)["users"]; len(rows) > 0 {
				t.Errorf("it was kept: %v", rows)
			}
		})
	}
}

// A copy takes longer than a call may, but no batch of it does.
func TestLongCopyOutlivesCalls(t *testing.T) {
	need.Long(t)
	t.Parallel()
	from, to := testdb.SQLite(t), testdb.Postgres(t)
	create(t, testdb.Open(t, from), newUser("richard"))
	const timeout = 2 * time.Second
	open := func(address string) *repository.DB {
		db, err := repository.Open(t.Context(), address, repository.Settings{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	source, target := open(from), open(to)
	held, err := testdb.SQL(t, to).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.ExecContext(t.Context(), "LOCK TABLE tokens IN SHARE MODE"); err != nil { // they may be counted
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := repository.Copy(t.Context(), source, target, nil); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, repository.ErrUnavailable) || time.Since(began) > 5*timeout {
		t.Errorf("where it has to wait: %v, after %s", err, time.Since(began))
	}
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	slowly := func(done, _ int64) {
		if done == 1 {
			time.Sleep(timeout + timeout/5)
		}
	}
	if _, err := repository.Copy(t.Context(), source, target, slowly); err != nil {
		t.Error(err)
	}
}
