package leavers_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/directory/leavers"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

const newPassword = "Another-Horse-9"

// withoutStamps has the directory searched for an attribute that nobody has.
func withoutStamps(s *directory.Settings) { s.Attributes.PasswordChanged = "carLicense" }

// wantTokens fails the test unless tokens are accepted or not, as is wanted.
func (s *school) wantTokens(when string, want map[string]bool) {
	s.Helper()
	for token, accepted := range want {
		got := s.server.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token})
		if wanted := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[accepted]; got.Status != wanted {
			s.Errorf("%s: %d %s, want %d", when, got.Status, got.Text, wanted)
		}
	}
}

func (s *school) sync(want leavers.Counts, changes ...func(*directory.Settings)) {
	s.Helper()
	if counts, err := leavers.Sync(s.Context(), s.options(s.directory.Open(s.T, changes...))); err != nil || counts != want {
		s.Errorf("got %+v, %v, want %+v", counts, err, want)
	}
}

// Sessions that began before the password changed end with the next sync, and no others.
func TestChangedPasswordEndsSessions(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := newSchool(t, address, "anna", "bela")
		anna, stolen, bela, local := s.signIn("anna"), s.signIn("anna"), s.signIn("bela"), s.signIn("local")
		all := map[string]bool{anna: true, stolen: true, bela: true, local: true}
		s.sync(leavers.Counts{Active: 2})
		s.wantTokens("unchanged", all)
		s.directory.ChangePassword(t, "anna", newPassword)
		s.directory.Set(t, "bela", "sn", "Other")
		fresh := s.signInWith("anna", newPassword)
		dry := s.options(s.directory.Open(t))
		dry.DryRun = true
		if counts, err := leavers.Sync(t.Context(), dry); err != nil || counts != (leavers.Counts{Active: 2, Changed: 1}) {
			t.Errorf("dry: %+v, %v", counts, err)
		}
		s.want("shown", s.shown, []string{"token revoked anna"})
		s.wantTokens("after a dry run", all)
		s.want("done", s.done, nil)
		s.sync(leavers.Counts{Active: 2, Changed: 1})
		s.wantTokens("changed", map[string]bool{anna: false, stolen: false, fresh: true, bela: true, local: true})
		s.want("done", s.done, []string{"token revoked anna", "token revoked anna", "token revoked anna"})
		s.sync(leavers.Counts{Active: 2})
		s.directory.Set(t, "anna", "pwdAccountLockedTime", "000001010000Z") // an attacker's wrong guesses can do this
		s.sync(leavers.Counts{Active: 2})
		s.wantTokens("again", map[string]bool{fresh: true, bela: true, local: true})
		s.want("inactive", s.inactive(), nil)
	})
}

// Values that are missing end no session, and are logged once. Sessions that began without a value get the one of the
// next sync.
func TestMissingStampsEndNothing(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := newSchool(t, address, "anna", "bela")
		anna := s.signIn("anna")
		s.directory.ChangePassword(t, "anna", newPassword)
		s.sync(leavers.Counts{Active: 2, Unstamped: 2}, withoutStamps)
		var log testserver.Log
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		o := s.options(s.directory.Open(t, withoutStamps))
		running.Go(func() { leavers.Run(ctx, time.Millisecond, o, slog.New(slog.NewTextHandler(&log, nil))) })
		for strings.Count(log.String(), `msg="directory sync"`) < 3 {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		running.Wait()
		if strings.Count(log.String(), "LDAP_PASSWORD_CHANGED_ATTRIBUTE") != 1 || !strings.Contains(log.String(), "accounts=2 active=2") {
			t.Errorf("the log says %s", &log)
		}
		s.wantTokens("missing", map[string]bool{anna: true})
		s.want("done", s.done, nil)
		s.sync(leavers.Counts{Active: 2, Changed: 1}) // the values are there again
		s.wantTokens("there again", map[string]bool{anna: false})
	})
}

func TestSessionsWithoutStamps(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := newSchool(t, address, "anna", "bela")
		if _, err := testdb.SQL(t, address).ExecContext(t.Context(), "UPDATE tokens SET password_stamp = NULL"); err != nil { // the release before
			t.Fatal(err)
		}
		anna, local := s.signIn("anna"), s.signIn("local")
		if _, err := testdb.SQL(t, address).ExecContext(t.Context(), "UPDATE tokens SET password_stamp = NULL"); err != nil {
			t.Fatal(err)
		}
		s.sync(leavers.Counts{Active: 2})
		s.wantTokens("without stamps", map[string]bool{anna: true, local: true})
		s.directory.ChangePassword(t, "anna", newPassword)
		s.sync(leavers.Counts{Active: 2, Changed: 1})
		s.wantTokens("changed", map[string]bool{anna: false, local: true})
	})
}

// A session that begins while a sync runs is left to the next one, which knows its value.
func TestSessionsThatBeginDuringASync(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := newSchool(t, address, "anna", "bela")
		old := s.signIn("anna")
		s.directory.ChangePassword(t, "anna", newPassword)
		var fresh string
		o := s.options(s.directory.Open(t))
		o.Show = func(server.Event, repository.User) error { // when the directory has been asked
			s.directory.ChangePassword(t, "anna", newPassword+"9")
			fresh = s.signInWith("anna", newPassword+"9")
			return nil
		}
		if _, err := leavers.Sync(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		s.wantTokens("during", map[string]bool{old: false, fresh: true})
		s.sync(leavers.Counts{Active: 2})
		s.wantTokens("afterwards", map[string]bool{fresh: true})
	})
}
