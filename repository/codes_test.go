package repository_test

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
)

// invite gives an account a code for an hour.
func invite(t *testing.T, db *repository.DB, user uuid.UUID) string {
	t.Helper()
	code := repository.NewCode()
	if err := db.Codes().Put(t.Context(), repository.CodeFor(user, code, time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	return code
}

func TestCodes(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		codes := db.Codes()
		user, key := create(t, db, newUser("richard"))
		other, another := create(t, db, newUser("other"))
		code := invite(t, db, user.ID)
		if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code) {
			t.Errorf("the code is %q", code)
		}
		if of, err := codes.Of(t.Context(), user.ID, other.ID); err != nil || len(of) != 1 || !of[user.ID].Is(code) || of[user.ID].Is(repository.NewCode()) {
			t.Errorf("codes %v, %v", of, err)
		}
		refused := func(why string, id uuid.UUID, code string) {
			t.Helper()
			if err := codes.Redeem(t.Context(), id, code, "a thief's"); !errors.Is(err, repository.ErrNotFound) {
				t.Errorf("%s: %v", why, err)
			}
			if got, err := db.Users().ByID(t.Context(), id); err != nil || got.Password == "a thief's" {
				t.Errorf("%s: the password is %q, %v", why, got.Password, err)
			}
		}
		refused("another's code", other.ID, code)
		refused("a wrong code", user.ID, repository.NewCode())
		wantAlive(t, db.Tokens(repository.Lifetimes{}), map[string]bool{key: true, another: true})
		if err := codes.Redeem(t.Context(), user.ID, strings.ToLower(strings.NewReplacer("0", "o", "1", "l", "-", " ").Replace(code)), "mine"); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Users().ByID(t.Context(), user.ID); err != nil || got.Password != "mine" {
			t.Errorf("the password is %q, %v", got.Password, err)
		}
		wantAlive(t, db.Tokens(repository.Lifetimes{}), map[string]bool{key: false, another: true})
		refused("a used code", user.ID, code)

		first := invite(t, db, user.ID)
		second := invite(t, db, user.ID)
		refused("a replaced code", user.ID, first)
		if err := db.Users().SetPassword(t.Context(), user.ID, "another", uuid.Nil); err != nil {
			t.Fatal(err)
		}
		refused("a code from before another password", user.ID, second)
		late := repository.CodeFor(user.ID, first, db.Now().Add(-time.Second))
		if err := codes.Put(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		refused("a late code", user.ID, first)
		if of, err := codes.Of(t.Context(), user.ID); err != nil || len(of) != 0 {
			t.Errorf("a late code is there: %v, %v", of, err)
		}
		third := invite(t, db, user.ID)
		for _, active := range []bool{false, true} {
			if err := db.Users().SetActive(t.Context(), user.ID, active); err != nil {
				t.Fatal(err)
			}
			refused("a code from before a deactivation", user.ID, third)
		}
		fourth := invite(t, db, user.ID)
		if err := db.Users().Delete(t.Context(), user.ID); err != nil {
			t.Fatal(err)
		}
		if err := codes.Redeem(t.Context(), user.ID, fourth, "x"); !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("a deleted account's code: %v", err)
		}
	})
}

func TestInactiveAccountRedeemsNoCode(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		user, _ := create(t, db, newUser("richard"))
		if err := db.Users().SetActive(t.Context(), user.ID, false); err != nil {
			t.Fatal(err)
		}
		code := invite(t, db, user.ID)
		if err := db.Codes().Redeem(t.Context(), user.ID, code, "x"); !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// Of many who use a code at once, one succeeds.
func TestCodeWorksOnce(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		user, _ := create(t, db, newUser("richard"))
		code := invite(t, db, user.ID)
		var succeeded atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				err := db.Codes().Redeem(t.Context(), user.ID, code, "x")
				if err == nil {
					succeeded.Add(1)
				} else if !errors.Is(err, repository.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if succeeded.Load() != 1 {
			t.Errorf("%d have succeeded", succeeded.Load())
		}
	})
}
