package repository_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
)

// signIn stores another token of an account and returns it with its key.
func signIn(t *testing.T, db *repository.DB, user uuid.UUID, client string) (repository.Token, string) {
	t.Helper()
	token, key := repository.NewToken(user, client)
	if err := db.Tokens(repository.Lifetimes{}).Create(t.Context(), token); err != nil {
		t.Error(err)
	}
	return token, key
}

// wantAlive fails the test where keys are not alive, or not dead, as it should be.
func wantAlive(t *testing.T, tokens *repository.Tokens, alive map[string]bool) {
	t.Helper()
	for key, want := range alive {
		_, _, err := tokens.Owner(t.Context(), key)
		if want && err != nil || !want && !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("a token that should be alive (%v): %v", want, err)
		}
	}
}

func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		tokens := db.Tokens(repository.Lifetimes{})
		user, first := create(t, db, newUser("richard"))
		other, third := create(t, db, newUser("other"))
		token, second := signIn(t, db, user.ID, "curl/8")
		for _, key := range []string{first, second} {
			if len(key) != 40 || strings.Trim(key, "0123456789abcdef") != "" {
				t.Errorf("the key %q is not 40 hexadecimal digits", key)
			}
			owner, _, err := tokens.Owner(t.Context(), key)
			if err != nil || owner != user.Profile {
				t.Errorf("owner: %+v, %v", owner, err)
			}
		}
		if _, id, err := tokens.Owner(t.Context(), second); err != nil || id != token.ID {
			t.Fatalf("got token %s and %v, want %s", id, err, token.ID)
		}
		if err := tokens.Delete(t.Context(), other.ID, token.ID); !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("deleting another's token: got %v, want ErrNotFound", err)
		}
		if err := tokens.Delete(t.Context(), user.ID, token.ID); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, tokens, map[string]bool{first: true, second: false, third: true})
		if err := tokens.DeleteAll(t.Context(), user.ID); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, tokens, map[string]bool{first: false, third: true})
	})
}

// Look-ups at once each get their own answer, and a token is dead from the moment that its revocation is answered.
func TestOwnersAtOnce(t *testing.T) {
	const readers, rounds = 24, 20
	each(t, func(t *testing.T, db *repository.DB) {
		tokens := db.Tokens(repository.Lifetimes{})
		var reading sync.WaitGroup
		for n := range readers {
			user, _ := create(t, db, newUser(fmt.Sprint("user", n)))
			_, unknown := repository.NewToken(user.ID, "")
			reading.Go(func() {
				for range rounds {
					token, key := signIn(t, db, user.ID, "")
					for range rounds {
						if owner, id, err := tokens.Owner(t.Context(), key); err != nil || owner != user.Profile || id != token.ID {
							t.Errorf("got %+v, %s, %v; want %+v, %s", owner, id, err, user.Profile, token.ID)
							return
						}
					}
					if err := tokens.Delete(t.Context(), user.ID, token.ID); err != nil {
						t.Error(err)
						return
					}
					wantAlive(t, tokens, map[string]bool{key: false, unknown: false})
				}
			})
		}
		reading.Wait()
	})
}

func TestListOfTokens(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		tokens := db.Tokens(repository.Lifetimes{})
		user, _ := create(t, db, newUser("richard"))
		create(t, db, newUser("other"))
		long := strings.Repeat("é", 300)
		for i := range 101 {
			signIn(t, db, user.ID, fmt.Sprint(i, long))
		}
		list, err := tokens.Of(t.Context(), user.ID)
		if err != nil || len(list) != 100 {
			t.Fatalf("got %d tokens, %v; want 100", len(list), err)
		}
		if !slices.IsSortedFunc(list, func(a, b repository.Token) int { return b.CreatedAt.Compare(a.CreatedAt) }) {
			t.Error("the latest is not first")
		}
		for _, token := range list {
			if token.UserID != user.ID || token.LastUsedAt != token.CreatedAt || len([]rune(token.Client)) != repository.MaxClient {
				t.Fatalf("got %+v", token)
			}
		}
	})
}

func TestLifetimes(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		user, key := create(t, db, newUser("richard"))
		const idle = 1200 * time.Millisecond
		for name, test := range map[string]struct {
			limits repository.Lifetimes
			alive  bool
		}{
			"for ever":      {repository.Lifetimes{}, true},
			"long":          {repository.Lifetimes{Idle: time.Hour, Absolute: time.Hour}, true},
			"too long idle": {repository.Lifetimes{Idle: time.Microsecond}, false},
			"too old":       {repository.Lifetimes{Absolute: time.Microsecond}, false},
		} {
			tokens := db.Tokens(test.limits)
			wantAlive(t, tokens, map[string]bool{key: test.alive})
			if list, err := tokens.Of(t.Context(), user.ID); err != nil || len(list) == 1 != test.alive {
				t.Errorf("%s: the list has %d tokens, %v", name, len(list), err)
			}
		}
		// Use keeps it alive beyond the idle limit, and not beyond the absolute one.
		tokens := db.Tokens(repository.Lifetimes{Idle: idle})
		for end := time.Now().Add(2 * idle); time.Now().Before(end); time.Sleep(idle / 6) {
			wantAlive(t, tokens, map[string]bool{key: true})
		}
		wantAlive(t, db.Tokens(repository.Lifetimes{Absolute: idle}), map[string]bool{key: false})
		time.Sleep(idle + idle/10)
		wantAlive(t, tokens, map[string]bool{key: false})
	})
}

func TestPasswordChangeEndsOtherSignIns(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		tokens := db.Tokens(repository.Lifetimes{})
		user, first := create(t, db, newUser("richard"))
		_, third := create(t, db, newUser("other"))
		kept, second := signIn(t, db, user.ID, "")
		if err := db.Users().SetPassword(t.Context(), user.ID, "another", kept.ID); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, tokens, map[string]bool{first: false, second: true, third: true})
		for _, old := range []string{"stale", "another"} { // only what is still there is replaced
			if err := db.Users().ReplacePassword(t.Context(), user.ID, old, old+"+"); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := db.Users().ByID(t.Context(), user.ID); err != nil || got.Password != "another+" {
			t.Errorf("got %q, %v", got.Password, err)
		}
		wantAlive(t, tokens, map[string]bool{second: true})
	})
}

func TestInactiveAccountHasNoTokens(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		tokens := db.Tokens(repository.Lifetimes{})
		user, key := create(t, db, newUser("richard"))
		_, other := create(t, db, newUser("other"))
		if err := db.Users().SetActive(t.Context(), user.ID, false); err != nil {
			t.Fatal(err)
		}
		_, made := signIn(t, db, user.ID, "") // as a login that was under way might
		wantAlive(t, tokens, map[string]bool{key: false, made: false, other: true})
		if err := db.Users().SetActive(t.Context(), user.ID, true); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, tokens, map[string]bool{key: false})
		if got, err := db.Users().ByID(t.Context(), user.ID); err != nil || !got.IsActive {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
