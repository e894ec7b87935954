package leavers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/directory/leavers"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// school is a directory, and the accounts of those who have signed in.
type school struct {
	*testing.T
	directory *testldap.Directory
	db        *repository.DB
	server    *testserver.Server

	mu          sync.Mutex
	shown, done []string
}

// newSchool has people, who are signed in, and a local account.
func newSchool(t *testing.T, address string, names ...string) *school {
	t.Helper()
	s := &school{T: t, directory: testldap.Start(t)}
	s.directory.Add(t, testserver.Password, names...)
	s.server = testserver.Start(t, address, func(c *server.Config) { c.Directory = s.directory.Open(t) })
	s.db = s.server.DB
	s.server.Register("local")
	for _, name := range names {
		s.signIn(name)
	}
	return s
}

func (s *school) signIn(name string) (token string) {
	s.Helper()
	return s.signInWith(name, testserver.Password)
}

func (s *school) signInWith(name, password string) (token string) {
	s.Helper()
	a := s.server.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": name, "password": password}})
	token, _ = a.JSON["token"].(string)
	if token == "" {
		s.Errorf("%s: %d %s", name, a.Status, a.Text)
	}
	return token
}

func (s *school) options(d *directory.Directory) leavers.Options {
	return leavers.Options{
		DB: s.db, Directory: d, Most: 0.1,
		Show: func(event server.Event, user repository.User) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.shown = append(s.shown, string(event)+" "+user.Username)
			return nil
		},
		Audit: func(event server.Event, id uuid.UUID, _ ...slog.Attr) {
			s.mu.Lock()
			defer s.mu.Unlock()
			user, err := s.db.Users().ByID(context.Background(), id)
			if err != nil {
				s.Error(err)
			}
			s.done = append(s.done, string(event)+" "+user.Username)
		},
	}
}

// inactive are the usernames of the accounts that are.
func (s *school) inactive() (names []string) {
	s.Helper()
	users, err := s.db.Users().After(s.Context(), "", 1000)
	if err != nil {
		s.Fatal(err)
	}
	for _, user := range users {
		if !user.IsActive {
			names = append(names, user.Username)
		}
	}
	return names
}

func (s *school) want(what string, got, want []string) {
	s.Helper()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// class is of twenty.
func class() (names []string) {
	for i := range 20 {
		names = append(names, fmt.Sprintf("student%02d", i))
	}
	return names
}

// Who has left loses the account and its tokens, and gets the account back with the place in the directory.
func TestLeavers(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := newSchool(t, address, class()...)
		token := s.signIn("student03")
		s.directory.Rename(t, "student07", "renamed")
		s.directory.Remove(t, "student03", "student11")
		dry := s.options(s.directory.Open(t))
		dry.DryRun = true
		counts, err := leavers.Sync(t.Context(), dry)
		if err != nil || counts != (leavers.Counts{Active: 20, Left: 2}) {
			t.Errorf("dry: %+v, %v", counts, err)
		}
		s.want("shown", s.shown, []string{"deactivated student03", "deactivated student11"})
		s.want("inactive", s.inactive(), nil)
		me := testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token}
		if got := s.server.Do(me); got.Status != 200 {
			t.Errorf("before: %d", got.Status)
		}
		counts, err = leavers.Sync(t.Context(), s.options(s.directory.Open(t)))
		if err != nil || counts != (leavers.Counts{Active: 20, Left: 2}) {
			t.Errorf("%+v, %v", counts, err)
		}
		s.want("done", s.done, []string{"deactivated student03", "deactivated student11"})
		s.want("inactive", s.inactive(), []string{"student03", "student11"})
		if got := s.server.Do(me); got.Status != 401 {
			t.Errorf("the token of who has left: %d", got.Status)
		}
		if counts, err = leavers.Sync(t.Context(), s.options(s.directory.Open(t))); err != nil || counts != (leavers.Counts{Active: 18}) {
			t.Errorf("again: %+v, %v", counts, err)
		}
	})
}

// Whom the filter leaves out since they are disabled cannot sign in, and have left.
func TestDisabledHaveLeft(t *testing.T) {
	t.Parallel()
	s := newSchool(t, testdb.SQLite(t), class()...)
	d := s.directory.Open(t, func(s *directory.Settings) {
		s.Filter = "(&(objectClass=inetOrgPerson)(uid={username})(!(employeeType=former)))"
	})
	s.directory.Set(t, "student05", "employeeType", "former")
	if _, err := d.Authenticate(t.Context(), "student05", testserver.Password, nil); !errors.Is(err, directory.ErrCredentials) {
		t.Errorf("who is disabled: got %v", err)
	}
	if counts, err := leavers.Sync(t.Context(), s.options(d)); err != nil || counts.Left != 1 {
		t.Errorf("%+v, %v", counts, err)
	}
	locked := s.directory.Open(t, func(s *directory.Settings) {
		s.Filter = "(&(objectClass=inetOrgPerson)(uid={username})(!(pwdAccountLockedTime=000001010000Z)))"
	})
	s.directory.Set(t, "student06", "pwdAccountLockedTime", "000001010000Z")
	s.directory.Set(t, "student07", "pwdAccountLockedTime", "20261127051700Z") // by wrong guesses
	if counts, err := leavers.Sync(t.Context(), s.options(locked)); err != nil || counts.Left != 1 {
		t.Errorf("locked: %+v, %v", counts, err)
	}
	s.want("inactive", s.inactive(), []string{"student05", "student06"})
}

// Too many at once are none, and so is a directory of which not all is known.
func TestNobodyIsDeactivated(t *testing.T) {
	t.Parallel()
	s := newSchool(t, testdb.SQLite(t), class()...)
	proxy := s.directory.Proxy(t)
	through := func(s *directory.Settings) { s.URLs, s.Cleartext = []string{"ldap://" + proxy.Address}, true }
	other := testldap.Start(t)
	other.Add(t, testserver.Password, class()...) // of other ids
	s.directory.Remove(t, "student00", "student01")
	s.directory.ChangePassword(t, "student05", newPassword)
	nobody := s.directory.Open(t, func(s *directory.Settings) { s.Filter = "(&(uid={username})(employeeType=teacher))" })
	for name, test := range map[string]struct {
		directory *directory.Directory
		passes    int64
		want      string
	}{
		"a filter that finds nobody": {nobody, -1, "there is nobody in it"},
		"another directory":          {other.Open(t), -1, "20 of 20 active accounts of the directory are not in it any more"},
		"cut off":                    {s.directory.Open(t, through), 1500, "directory unavailable"},
		"cut off at once":            {s.directory.Open(t, through), 0, "directory unavailable"},
		"no such base":               {s.directory.Open(t, func(s *directory.Settings) { s.Base = "dc=example,dc=com" }), -1, "directory unavailable"},
	} {
		proxy.Passes.Store(test.passes)
		if _, err := leavers.Sync(t.Context(), s.options(test.directory)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	proxy.Passes.Store(1500)
	proxy.Stalls.Store(true)
	if _, err := leavers.Sync(ctx, s.options(s.directory.Open(t, through))); !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("a stall: got %v", err)
	}
	s.directory.Refer(t, "ldap://elsewhere.example.org/")
	all := s.options(s.directory.Open(t))
	all.Most = 1
	if _, err := leavers.Sync(t.Context(), all); !errors.Is(err, directory.ErrUnusable) {
		t.Errorf("a referral: got %v", err)
	}
	s.want("done", s.done, nil)
	s.want("inactive", s.inactive(), nil)
}

// Too many leavers keep their accounts, which does not keep other sessions from ending.
func TestTooManyLeavers(t *testing.T) {
	t.Parallel()
	s := newSchool(t, testdb.SQLite(t), class()...)
	s.directory.Remove(t, "student00", "student01", "student02")
	s.directory.ChangePassword(t, "student05", newPassword)
	if _, err := leavers.Sync(t.Context(), s.options(s.directory.Open(t))); err == nil || !strings.Contains(err.Error(), "3 of 20") {
		t.Errorf("15 %%: got %v", err)
	}
	s.want("done", s.done, []string{"token revoked student05"})
	s.want("inactive", s.inactive(), nil)
}

// A directory that is gone for an hour costs nobody the account; those who left meanwhile lose theirs when it is back.
func TestDirectoryIsGoneForAnHour(t *testing.T) {
	t.Parallel()
	s := newSchool(t, testdb.SQLite(t), class()...)
	s.directory.Remove(t, "student05")
	s.directory.End(t)
	var now time.Time
	db, err := repository.Open(t.Context(), s.db.Name(), repository.Settings{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // nothing is under way
	s.db = db
	failures := 0
	began := time.Now()
	for now = began; now.Before(began.Add(time.Hour)); now = now.Add(5 * time.Minute) {
		if _, err := leavers.Sync(t.Context(), s.options(s.directory.Open(t))); errors.Is(err, directory.ErrUnavailable) {
			failures++
		} else {
			t.Errorf("got %v", err)
		}
	}
	s.want("inactive", s.inactive(), nil)
	s.directory.Begin(t)
	if counts, err := leavers.Sync(t.Context(), s.options(s.directory.Open(t))); err != nil || counts.Left != 1 || failures != 12 {
		t.Errorf("afterwards: %+v, %v, %d failures", counts, err, failures)
	}
	s.want("inactive", s.inactive(), []string{"student05"})
}

// Of several processes one looks for leavers at a time, and again when the time has come.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := newSchool(t, address, class()...)
		began, err := s.db.Begin(t.Context(), "directory sync", true, time.Minute)
		if err != nil || !began {
			t.Fatalf("%v, %v", began, err)
		}
		if _, err := leavers.Sync(t.Context(), s.options(s.directory.Open(t))); !errors.Is(err, leavers.ErrBusy) {
			t.Errorf("while another does: got %v", err)
		}
		if err := s.db.End(t.Context(), "directory sync", 0); err != nil {
			t.Fatal(err)
		}
		if err := s.db.End(t.Context(), "directory sync", time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := leavers.Sync(t.Context(), s.options(s.directory.Open(t))); err != nil { // which changes nothing of when it is due
			t.Fatal(err)
		}
		if began, err := s.db.Begin(t.Context(), "directory sync", false, time.Minute); began || err != nil {
			t.Errorf("it is due again after one by hand: %v", err)
		}
		if err := s.db.End(t.Context(), "directory sync", time.Nanosecond); err != nil {
			t.Fatal(err)
		}
		s.directory.Remove(t, "student09")
		var log testserver.Log
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		const every = 300 * time.Millisecond
		for range 4 {
			time.Sleep(every / 4) // so that they do not ask at the same time
			o := s.options(s.directory.Open(t))
			running.Go(func() { leavers.Run(ctx, every, o, slog.New(slog.NewTextHandler(&log, nil))) })
		}
		const lasts = 2 * time.Second // after the last has begun
		time.Sleep(lasts)
		cancel()
		running.Wait()
		ran := strings.Count(log.String(), `msg="directory sync"`)
		if ran < 3 || ran > int(lasts/every)+2 || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("it ran %d times: %s", ran, log.String())
		}
		s.want("inactive", s.inactive(), []string{"student09"})
		s.want("done", s.done, []string{"deactivated student09"})
	})
}
