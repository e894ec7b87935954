package server_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// withDecoys gives a server the decoys of its database as it is now.
func withDecoys(t *testing.T) func(*server.Config) {
	return func(c *server.Config) {
		decoys, err := server.NewDecoys(t.Context(), c.DB)
		if err != nil {
			t.Fatal(err)
		}
		c.Decoys = decoys
	}
}

// expensive is an encoding that takes costlyMemory to verify, which shows that it, or its decoy, was verified.
const (
	expensive    = "$argon2id$v=19$m=32768,t=1,p=1$c29tZXNhbHQ$MTIzNDU2"
	costlyMemory = 32 << 20
)

// store creates an account with an encoded password.
func store(t *testing.T, db *repository.DB, username, encoded string, directoryID *string) {
	t.Helper()
	user := server.NewUser(username, "", "", "")
	user.Password, user.DirectoryID = encoded, directoryID
	if err := db.Users().Create(t.Context(), user); err != nil {
		t.Fatal(err)
	}
}

// Each refused login verifies one encoding of a cost that the database has. It is not parallel: it counts what is allocated.
func TestRefusedLoginsVerifyTheSame(t *testing.T) {
	for name, fresh := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		t.Run(name, func(t *testing.T) {
			address := fresh(t)
			db := testdb.Open(t, address)
			store(t, db, "local", expensive, nil)
			id := "1"
			store(t, db, "directory", django(t, 1), &id)
			store(t, db, "none", "", nil)
			store(t, db, "unusable", "!unusable", nil)
			store(t, db, "malformed", "md5$salt$d41d8cd98f00b204e9800998ecf8427e", nil)
			for _, test := range []struct {
				changes []func(*server.Config)
				hashes  uint64 // of those whose account has no password
			}{{[]func(*server.Config){withDecoys(t)}, 1}, {nil, 0}} {
				s := testserver.Start(t, address, test.changes...)
				for username, hashes := range map[string]uint64{
					"local": 1, "directory": test.hashes, "none": test.hashes, "unusable": test.hashes, "malformed": test.hashes, "unknown": test.hashes,
				} {
					before, after := runtime.MemStats{}, runtime.MemStats{}
					runtime.ReadMemStats(&before)
					want(t, try(s, "", username, "wrong"), 400, badCredentials)
					runtime.ReadMemStats(&after)
					if got := (after.TotalAlloc - before.TotalAlloc) / costlyMemory; got != hashes {
						t.Errorf("%s, with decoys %t: %d costly hashes, want %d", username, test.changes != nil, got, hashes)
					}
				}
			}
		})
	}
}

// Every local account with a password is counted once, however many pages there are, and what a start begins Refresh brings up
// to date. Another server of the same database chooses the same.
func TestDecoysCountAccounts(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		db := testdb.Open(t, address)
		const old, today = 700, 500
		var users []repository.User
		for n := range old + today {
			user := server.NewUser(fmt.Sprint("user", n), "", "", "")
			user.Password = map[bool]string{true: django(t, 1000), false: expensive}[n < old]
			users = append(users, user)
		}
		for range 3 {
			user, id := server.NewUser(uuid.NewString(), "", "", ""), uuid.NewString()
			user.Password, user.DirectoryID = django(t, 7), &id
			users = append(users, user, server.NewUser(uuid.NewString(), "", "", ""))
		}
		if _, err := db.Users().CreateMissing(t.Context(), users, nil); err != nil {
			t.Fatal(err)
		}
		decoys, err := server.NewDecoys(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if err := decoys.Refresh(t.Context()); err != nil { // a slow machine may have counted in part
			t.Fatal(err)
		}
		other, err := server.NewDecoys(t.Context(), testdb.Open(t, address))
		if err != nil || other.Refresh(t.Context()) != nil {
			t.Fatal(err)
		}
		key, err := db.Secret(t.Context(), "decoys")
		if err != nil {
			t.Fatal(err)
		}
		want := password.NewMix(key)
		want.Set(map[string]int{decoyOf(t, expensive): today, decoyOf(t, django(t, 1000)): old})
		counts := map[string]int{}
		for n := range 1000 {
			name := fmt.Sprint("nobody", n)
			if a, b := decoys.For(name), other.For(name); a != want.For(name) || b != a {
				t.Fatalf("two servers choose %s and %s, want %s", a, b, want.For(name))
			}
			counts[decoys.For(name)]++
		}
		if len(counts) != 2 {
			t.Errorf("names got %v", counts)
		}
	})
}

func decoyOf(t *testing.T, encoded string) string {
	t.Helper()
	decoy, err := password.Decoy(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return decoy
}
