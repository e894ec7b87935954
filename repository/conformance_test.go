package repository_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
)

// each runs a test on every kind of database.
func each(t *testing.T, f func(t *testing.T, db *repository.DB)) {
	t.Helper()
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) { f(t, testdb.Open(t, address)) })
}

func newUser(name string) repository.User {
	return repository.User{
		Profile:  repository.Profile{ID: uuid.New(), Username: name, FirstName: "Richard", LastName: "Hendriks", Email: "richard@piedpiper.com"},
		Password: "encoded", IsActive: true,
	}
}

// create stores an account and returns it with the key of its first token.
func create(t *testing.T, db *repository.DB, user repository.User) (repository.User, string) {
	t.Helper()
	token, key := repository.NewToken(user.ID, "test")
	if err := db.Users().CreateSignedIn(t.Context(), user, token); err != nil {
		t.Fatal(err)
	}
	return user, key
}

func TestCreatedUserIsFound(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		before := time.Now().Add(-time.Second)
		want, _ := create(t, db, newUser("Zoë.Ω@x+1-2_3"))
		byID, err := db.Users().ByID(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		byName, err := db.Users().ByUsername(t.Context(), want.Username)
		if err != nil {
			t.Fatal(err)
		}
		for what, got := range map[string]repository.User{"by id": byID, "by username": byName} {
			if got.CreatedAt.Before(before) || got.CreatedAt.After(time.Now()) || !got.UpdatedAt.Equal(got.CreatedAt) {
				t.Errorf("%s: created at %s, updated at %s", what, got.CreatedAt, got.UpdatedAt)
			}
			got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
			if got != want {
				t.Errorf("%s: got %+v, want %+v", what, got, want)
			}
		}
	})
}

func TestAbsenceIsAnError(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		create(t, db, newUser("richard"))
		name := "x"
		for what, call := range map[string]func(context.Context) error{
			"by id":       func(ctx context.Context) error { _, err := db.Users().ByID(ctx, uuid.New()); return err },
			"by username": func(ctx context.Context) error { _, err := db.Users().ByUsername(ctx, "Richard"); return err },
			"update": func(ctx context.Context) error {
				_, err := db.Users().Update(ctx, uuid.New(), repository.UserChanges{FirstName: &name})
				return err
			},
			"empty update": func(ctx context.Context) error {
				_, err := db.Users().Update(ctx, uuid.New(), repository.UserChanges{})
				return err
			},
			"owner": func(ctx context.Context) error {
				_, _, err := db.Tokens(repository.Lifetimes{}).Owner(ctx, "no such key")
				return err
			},
			"delete token": func(ctx context.Context) error {
				return db.Tokens(repository.Lifetimes{}).Delete(ctx, uuid.New(), uuid.New())
			},
			"set password": func(ctx context.Context) error {
				return db.Users().SetPassword(ctx, uuid.New(), "x", uuid.New())
			},
			"set active": func(ctx context.Context) error { return db.Users().SetActive(ctx, uuid.New(), false) },
		} {
			if err := call(t.Context()); !errors.Is(err, repository.ErrNotFound) {
				t.Errorf("%s: got %v, want ErrNotFound", what, err)
			}
		}
	})
}

func TestUsernameIsUniqueByIndex(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		const callers = 100
		var created, taken atomic.Int32
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				user := newUser("richard")
				token, _ := repository.NewToken(user.ID, "test")
				switch err := db.Users().CreateSignedIn(t.Context(), user, token); {
				case err == nil:
					created.Add(1)
				case errors.Is(err, repository.ErrUsernameTaken):
					taken.Add(1)
				default:
					t.Errorf("unexpected: %v", err)
				}
			})
		}
		wg.Wait()
		if created.Load() != 1 || taken.Load() != callers-1 {
			t.Errorf("%d created and %d refused, want 1 and %d", created.Load(), taken.Load(), callers-1)
		}
		create(t, db, newUser("Richard")) // another name: they are told apart by case
	})
}

func TestCreateStoresBothOrNeither(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		first := newUser("first")
		token, _ := repository.NewToken(first.ID, "test")
		if err := db.Users().CreateSignedIn(t.Context(), first, token); err != nil {
			t.Fatal(err)
		}
		second := newUser("second")
		token.UserID = second.ID // the same digest again
		err := db.Users().CreateSignedIn(t.Context(), second, token)
		if err == nil || errors.Is(err, repository.ErrUsernameTaken) {
			t.Fatalf("a second token with the same digest: got %v", err)
		}
		if _, err := db.Users().ByID(t.Context(), second.ID); !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("the account without its token: got %v, want ErrNotFound", err)
		}
	})
}

func TestUpdate(t *testing.T) {
	text := func(s string) *string { return &s }
	for name, test := range map[string]struct {
		changes repository.UserChanges
		want    [3]string // first name, last name, email
	}{
		"nothing": {repository.UserChanges{}, [3]string{"Richard", "Hendriks", "richard@piedpiper.com"}},
		"one":     {repository.UserChanges{LastName: text("H")}, [3]string{"Richard", "H", "richard@piedpiper.com"}},
		"empty":   {repository.UserChanges{Email: text("")}, [3]string{"Richard", "Hendriks", ""}},
		"all": {
			repository.UserChanges{FirstName: text("Ann"), LastName: text(""), Email: text("a@b.org")},
			[3]string{"Ann", "", "a@b.org"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, db *repository.DB) {
				user, _ := create(t, db, newUser("richard"))
				other, _ := create(t, db, newUser("other"))
				got, err := db.Users().Update(t.Context(), user.ID, test.changes)
				if err != nil {
					t.Fatal(err)
				}
				stored, err := db.Users().ByID(t.Context(), user.ID)
				if err != nil {
					t.Fatal(err)
				}
				if got != stored.Profile {
					t.Errorf("returned %+v, stored %+v", got, stored)
				}
				if fields := [3]string{got.FirstName, got.LastName, got.Email}; fields != test.want {
					t.Errorf("got %q, want %q", fields, test.want)
				}
				if got.ID != user.ID || got.Username != "richard" || stored.Password != "encoded" || !stored.IsActive {
					t.Errorf("something else changed: %+v", stored)
				}
				if untouched, err := db.Users().ByID(t.Context(), other.ID); err != nil || untouched.FirstName != "Richard" {
					t.Errorf("another account: %+v, %v", untouched, err)
				}
			})
		})
	}
}

func TestConcurrentWriters(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		const writers, writes = 16, 10
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				user := newUser(fmt.Sprint("user", w))
				token, _ := repository.NewToken(user.ID, "test")
				if err := db.Users().CreateSignedIn(t.Context(), user, token); err != nil {
					t.Error(err)
					return
				}
				for i := range writes {
					name := fmt.Sprint(i)
					if _, err := db.Users().Update(t.Context(), user.ID, repository.UserChanges{LastName: &name}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestCallsEndWithTheirContext(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := db.Users().ByID(ctx, uuid.New()); !errors.Is(err, repository.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	})
}

func TestPool(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		if _, err := db.Users().ByID(t.Context(), uuid.New()); !errors.Is(err, repository.ErrNotFound) {
			t.Fatal(err)
		}
		const ofSQLite = 4
		if p := db.Pool(); p.Most != repository.DefaultSettings.Connections && p.Most != ofSQLite || p.InUse != 0 || p.Idle < 1 {
			t.Errorf("got %+v", p)
		}
	})
}
