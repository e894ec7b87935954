package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

const (
	badCredentials = `{"non_field_errors":["Unable to log in with provided credentials."]}`
	elsewhere      = "Change it at school."
)

// withDirectory starts a server whose people are those of a directory.
func withDirectory(t *testing.T, address string, d *directory.Directory, limits server.Throttle) *testserver.Server {
	t.Helper()
	return throttled(t, address, limits, func(c *server.Config) { c.Directory, c.PasswordElsewhere = d, elsewhere })
}

// comeIn logs in and returns the profile.
func comeIn(t *testing.T, s *testserver.Server, username string) map[string]any {
	t.Helper()
	_, profile := tokenAndProfile(t, s, username)
	return profile
}

func tokenAndProfile(t *testing.T, s *testserver.Server, username string) (token string, profile map[string]any) {
	t.Helper()
	a := try(s, "", username, testserver.Password)
	token, _ = a.JSON["token"].(string)
	me := s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token})
	if a.Status != http.StatusOK || me.Status != http.StatusOK {
		t.Fatalf("%s: %d %s, %d %s", username, a.Status, a.Text, me.Status, me.Text)
	}
	return token, me.JSON
}

// wantEvents fails the test where the log has not as many lines of an event as it should.
func wantEvents(t *testing.T, s *testserver.Server, want map[server.Event]int) {
	t.Helper()
	for event, times := range want {
		if got := strings.Count(s.Log.String(), fmt.Sprintf("event=%q", string(event))) + strings.Count(s.Log.String(), "event="+string(event)+" "); got != times {
			t.Errorf("%q is %d times in the log, want %d: %s", event, got, times, s.Log)
		}
	}
}

// The first login makes the account, and later ones make it what the directory says, also under another name.
func TestDirectoryMakesAccounts(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		d := testldap.Start(t)
		d.Add(t, testserver.Password, "anna")
		s := withDirectory(t, address, d.Open(t), server.Throttle{})
		first := comeIn(t, s, "anna")
		if first["username"] != "anna" || first["first_name"] != "Given anna" || first["last_name"] != "Family" || first["email"] != "someone@example.org" {
			t.Errorf("made %v", first)
		}
		token, again := tokenAndProfile(t, s, "ANNA")
		if fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("the second login: %v", again)
		}
		changed := s.Do(testserver.Request{Method: "PATCH", Path: "/api/v1/users/" + first["id"].(string) + "/", Token: token, Body: map[string]string{"first_name": "Own"}})
		want(t, changed, http.StatusOK, "")
		d.Set(t, "anna", "sn", "Other")
		d.Set(t, "anna", "mail", "no address")
		d.Set(t, "anna", "givenName", strings.Repeat("x", 500))
		d.Rename(t, "anna", "anna.other")
		renamed := comeIn(t, s, "anna.other")
		if renamed["id"] != first["id"] || renamed["username"] != "anna.other" || renamed["first_name"] != "" || renamed["last_name"] != "Other" || renamed["email"] != "" {
			t.Errorf("renamed: %v", renamed)
		}
		want(t, try(s, "", "anna", testserver.Password), 400, badCredentials)
		wantEvents(t, s, map[server.Event]int{server.EventRegistered: 1, server.EventSignedIn: 3, server.EventRefused: 1,
			server.EventProfileChanged: 1, server.EventEmailChanged: 1}) // by PATCH, and by the directory
		for _, field := range []string{"email", "first_name"} {
			if !strings.Contains(s.Log.String(), `msg="not taken over from the directory" field=`+field) {
				t.Errorf("the log has nothing about %s: %s", field, s.Log)
			}
		}
		user, err := s.DB.Users().ByUsername(t.Context(), "anna.other")
		if err != nil || user.Password != "" {
			t.Errorf("the directory's password is kept: %v", err)
		}
	})
}

// What is wrong is refused as it is for local accounts, and makes no account.
func TestDirectoryRefuses(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna", "bela", "no name", "Richard")
	s := withDirectory(t, testdb.SQLite(t), d.Open(t), server.Throttle{})
	richard, _ := s.Register("richard")
	d.Add(t, "Another-Horse-9", "richard.2")
	for username, typed := range map[string]string{
		"anna": "wrong", "nobody": testserver.Password, "*": testserver.Password, "anna)(uid=*": testserver.Password,
		"no name": testserver.Password, "richard": "Another-Horse-9",
	} {
		want(t, try(s, "", username, typed), 400, badCredentials)
	}
	want(t, try(s, "", "anna", ""), 400, `{"password":["This field may not be blank."]}`)
	users, err := s.DB.Users().After(t.Context(), "", 10)
	if err != nil || len(users) != 1 {
		t.Errorf("accounts %v, %v", users, err)
	}
	// Names are told apart by case here, and not there: what the directory calls somebody counts.
	if got := comeIn(t, s, "RICHARD"); got["username"] != "Richard" || got["id"] == richard {
		t.Errorf("signed in %v", got)
	}
	if got := comeIn(t, s, "richard"); got["id"] != richard {
		t.Errorf("the local account is %v", got)
	}
	d.Rename(t, "Richard", "gone")
	d.Rename(t, "bela", "richard")
	want(t, try(s, "", "RIchard", testserver.Password), 400, badCredentials)
	wantEvents(t, s, map[server.Event]int{server.EventNameTaken: 1})
	if !strings.Contains(s.Log.String(), `event="name taken" account=`+richard) {
		t.Errorf("the log does not say whose name it is: %s", s.Log)
	}
}

// While the directory is away, local accounts sign in and others cannot. Which names are local is not shown: a wrong password is
// answered as any other name is.
func TestDirectoryIsAway(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	s := withDirectory(t, testdb.SQLite(t), d.Open(t), patient)
	s.Register("richard")
	token, anna := tokenAndProfile(t, s, "anna")
	d.End(t)
	for range 2 * patient.Failures {
		for username, status := range map[string]int{"anna": 503, "nobody": 503, "richard": 200} {
			if got := try(s, "", username, testserver.Password); got.Status != status {
				t.Errorf("%s: got %d %s", username, got.Status, got.Text)
			}
		}
	}
	if wrong, other := try(s, "", "richard", "wrong"), try(s, "", "anna", "wrong"); wrong.Status != 503 || wrong.Text != other.Text {
		t.Errorf("a wrong password: got %d %s; for a name of the directory %d %s", wrong.Status, wrong.Text, other.Status, other.Text)
	}
	wantEvents(t, s, map[server.Event]int{server.EventRefused: 1}) // the guess at the local account is counted
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token}), 200, "")
	d.Begin(t)
	if got := comeIn(t, s, "anna"); got["id"] != anna["id"] {
		t.Errorf("afterwards anna is %v", got)
	}
	off := testserver.Start(t, s.DB.Name()) // the same database, without a directory
	want(t, try(off, "", "anna", testserver.Password), 400, badCredentials)
	want(t, try(off, "", "anna", ""), 400, "")
}

// The password of who is in the directory is changed there, and nowhere else.
func TestDirectoryPasswords(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	s := withDirectory(t, testdb.SQLite(t), d.Open(t), patient)
	token, anna := tokenAndProfile(t, s, "anna")
	id := anna["id"].(string)
	change := testserver.Request{
		Method: "POST", Path: "/api/v1/users/" + id + "/password/", Token: token,
		Body: map[string]string{"current_password": testserver.Password, "new_password": "staple-battery-9"},
	}
	for range patient.Failures + 1 {
		want(t, s.Do(change), 403, `{"detail":"`+elsewhere+`"}`)
	}
	code := invite(t, s, id, time.Now().Add(time.Hour))
	want(t, setPassword(s, "", "anna", code, "staple-battery-9"), 400, badCode)
	// Even a password that somebody has stored is not the account's.
	encoded, err := password.New(testserver.CheapHashing).Encode(t.Context(), "staple-battery-9")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DB.Users().SetPassword(t.Context(), uuid.MustParse(id), encoded, uuid.Nil); err != nil {
		t.Fatal(err)
	}
	want(t, try(s, "", "anna", "staple-battery-9"), 400, badCredentials)
	off := testserver.Start(t, s.DB.Name())
	want(t, try(off, "", "anna", "staple-battery-9"), 400, badCredentials)
}

// Fifty first logins at once make one account, whatever the spelling.
func TestFirstLoginsAtOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		d := testldap.Start(t)
		d.Add(t, testserver.Password, "anna")
		s := withDirectory(t, address, d.Open(t), server.Throttle{})
		const callers = 50
		var in atomic.Int64
		var wg sync.WaitGroup
		for n := range callers {
			wg.Go(func() {
				if got := try(s, "", []string{"anna", "Anna"}[n%2], testserver.Password); got.Status == http.StatusOK {
					in.Add(1)
				} else {
					t.Errorf("got %d %s", got.Status, got.Text)
				}
			})
		}
		wg.Wait()
		users, err := s.DB.Users().After(t.Context(), "", 10)
		if err != nil || len(users) != 1 || in.Load() != callers {
			t.Errorf("%d accounts, %d let in: %v", len(users), in.Load(), err)
		}
		wantEvents(t, s, map[server.Event]int{server.EventRegistered: 1, server.EventSignedIn: callers})
	})
}

// Who an operator has deactivated is not let in by the directory, whatever it says.
func TestDirectoryDoesNotActivate(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		d := testldap.Start(t)
		d.Add(t, testserver.Password, "anna", "bela")
		s := withDirectory(t, address, d.Open(t), server.Throttle{})
		anna, bela := uuid.MustParse(comeIn(t, s, "anna")["id"].(string)), uuid.MustParse(comeIn(t, s, "bela")["id"].(string))
		if err := s.DB.Users().SetActive(t.Context(), anna, false); err != nil {
			t.Fatal(err)
		}
		left, err := s.DB.Users().Leave(t.Context(), []uuid.UUID{anna, bela})
		if err != nil || len(left) != 1 || left[0] != bela {
			t.Fatalf("left: %v, %v", left, err)
		}
		want(t, try(s, "", "anna", testserver.Password), 400, badCredentials)
		var back sync.WaitGroup
		for range 30 { // who is back
			back.Go(func() { want(t, try(s, "", "bela", testserver.Password), 200, "") })
		}
		back.Wait()
		if left, err = s.DB.Users().Leave(t.Context(), []uuid.UUID{bela}); err != nil || len(left) != 1 {
			t.Fatalf("left: %v, %v", left, err)
		}
		if err := s.DB.Users().SetActive(t.Context(), bela, false); err != nil { // now it is an operator who says so
			t.Fatal(err)
		}
		want(t, try(s, "", "bela", testserver.Password), 400, badCredentials)
		wantEvents(t, s, map[server.Event]int{server.EventActivated: 1})
	})
}

// Spelling a name in another way gives nobody more tries, and the throttle looks first.
func TestDirectoryIsThrottled(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	s := withDirectory(t, testdb.SQLite(t), d.Open(t), patient)
	spellings := []string{"anna", "Anna", "ANNA", "ａnna", "aNNa"}
	for n := range patient.Failures {
		want(t, try(s, "", spellings[n%len(spellings)], "wrong"), 400, badCredentials)
	}
	for _, name := range spellings {
		wantThrottled(t, try(s, "", name, testserver.Password), 7200)
	}
	for n := range patient.Failures {
		want(t, try(s, "", []string{"nobody", "Nobody"}[n%2], "wrong"), 400, badCredentials)
	}
	wantThrottled(t, try(s, "", "NOBODY", "wrong"), 7200)
	// A local account of the same letters shares the failures, so that the limits do not reveal it.
	d.Add(t, testserver.Password, "Bela")
	s.Register("bela")
	for range patient.Failures - 1 {
		want(t, try(s, "", "Bela", "wrong"), 400, badCredentials)
		want(t, try(s, "", "bela", testserver.Password), 200, "")
	}
	want(t, try(s, "", "Bela", "wrong"), 400, badCredentials)
	for _, name := range []string{"Bela", "bela"} {
		wantThrottled(t, try(s, "", name, testserver.Password), 7200)
		want(t, try(s, "192.0.2.9", name, testserver.Password), 200, "")
	}
}
