package repository_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
)

// A network from which an account has signed in has limits of its own, until the account's sessions end.
func TestKnownNetworks(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		l := limitsOf(t, db)
		limit := window(l, "account", repository.CountFailures, 1)
		limit.UnknownOnly = true
		home, away := [][]byte{l.Key("home")}, [][]byte{l.Key("away")}
		from := func(networks [][]byte) repository.Admission {
			t.Helper()
			a, err := l.Take(t.Context(), networks, limit)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		user, _ := create(t, db, newUser("richard"))
		signIn := func() {
			t.Helper()
			a := from(home)
			settle(t, l, a, repository.Succeeded)
			if err := l.Remember(t.Context(), home, user.ID, user.Password); err != nil {
				t.Fatal(err)
			}
			if a := admitted(t, "a known network", from(home)); !a.Remembered {
				t.Error("a network that was remembered just now is to be remembered again")
			}
		}
		signIn()
		settle(t, l, admitted(t, "an unknown network", from(away)), repository.Failed)
		for range 3 {
			admitted(t, "a known network while others guess", from(home))
		}
		refused(t, "another network", from(away), "account", 0, time.Hour)
		admitted(t, "a network that is known by another name", from([][]byte{away[0], home[0]}))
		for name, end := range map[string]func() error{
			"a change of the password": func() error {
				was := user.Password
				user.Password = "another"
				return db.Users().ChangePassword(t.Context(), user.ID, was, user.Password, uuid.Nil)
			},
			"an operator who sets the password": func() error {
				user.Password = "a third"
				return db.Users().SetPassword(t.Context(), user.ID, user.Password, uuid.Nil)
			},
			"an operator who ends the sessions":       func() error { return db.Tokens(repository.Lifetimes{}).EndSessions(t.Context(), user.ID) },
			"an operator who deactivates the account": func() error { return db.Users().SetActive(t.Context(), user.ID, false) },
			"a sign-in with a password that was changed": func() error {
				if err := db.Tokens(repository.Lifetimes{}).EndSessions(t.Context(), user.ID); err != nil {
					return err
				}
				return l.Remember(t.Context(), home, user.ID, "the old password")
			},
		} {
			if _, err := l.Clear(t.Context(), repository.LimitFilter{}); err != nil {
				t.Fatal(err)
			}
			signIn()
			settle(t, l, admitted(t, name, from(away)), repository.Failed)
			if err := end(); err != nil {
				t.Fatal(err)
			}
			refused(t, name, from(home), "account", 0, time.Hour)
		}
	})
}

func TestKnownNetworksExpire(t *testing.T) {
	t.Parallel()
	var passed atomic.Int64
	settings := testdb.Patient
	settings.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	db, err := repository.Open(t.Context(), testdb.SQLite(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	l := limitsOf(t, db)
	user, _ := create(t, db, newUser("richard"))
	home := [][]byte{l.Key("home")}
	limit := window(l, "account", repository.CountFailures, 1)
	limit.UnknownOnly = true
	if err := l.Remember(t.Context(), home, user.ID, user.Password); err != nil {
		t.Fatal(err)
	}
	for days, known := range map[int]bool{0: true, 29: true, 30: false} {
		passed.Store(int64(days) * int64(24*time.Hour))
		a, err := l.Take(t.Context(), home, limit)
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Take(t.Context(), home, limit)
		if err != nil || b.Refused() == known {
			t.Errorf("after %d days: %+v, %+v, %v", days, a, b, err)
		}
		if a.Remembered != (days == 0) {
			t.Errorf("after %d days, a network is remembered: %t", days, a.Remembered)
		}
	}
}

func TestListAndClearLimits(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		l := limitsOf(t, db)
		for _, name := range []string{"anna", "bela"} {
			for _, network := range []string{"192.0.2.1", "192.0.2.2"} {
				limit := backoff(l, name+network, 1)
				limit.Account, limit.Network = l.Key(name), network
				settle(t, l, take(t, l, limit), repository.Failed)
			}
		}
		settle(t, l, take(t, l, window(l, "of nobody", repository.CountFailures, 2)), repository.Succeeded) // counts nothing
		take(t, l, window(l, "in progress", repository.CountFailures, 2))
		list := func(f repository.LimitFilter) []repository.LimitStatus {
			t.Helper()
			all, next, err := l.List(t.Context(), f, nil)
			if err != nil || next != nil {
				t.Fatalf("next %x, %v", next, err)
			}
			return all
		}
		if all := list(repository.LimitFilter{}); len(all) != 5 {
			t.Errorf("all: %+v", all)
		}
		anna := repository.LimitFilter{Accounts: [][]byte{l.Key("anna")}}
		for _, s := range list(anna) {
			if s.Count != 1 || s.Max != 1 || s.InProgress != 0 || s.Wait <= 0 || s.Wait > time.Minute || s.ExpiresIn <= time.Hour {
				t.Errorf("%+v", s)
			}
		}
		for _, filter := range []repository.LimitFilter{anna, {Networks: []string{"192.0.2.2", "192.0.2.3"}}} {
			before, matching := len(list(repository.LimitFilter{})), len(list(filter))
			removed, err := l.Clear(t.Context(), filter)
			after := len(list(repository.LimitFilter{}))
			if err != nil || matching == 0 || int(removed) != matching || after != before-matching {
				t.Errorf("%d listed, %d removed, %d of %d left: %v", matching, removed, after, before, err)
			}
		}
		if removed, err := l.Clear(t.Context(), repository.LimitFilter{}); err != nil || removed != 3 {
			t.Errorf("all: %d removed, %v", removed, err)
		}
	})
}
