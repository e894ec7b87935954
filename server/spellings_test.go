package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// byMail lets people of a directory sign in with their address, too.
func byMail(s *directory.Settings) {
	s.Filter = "(&(objectClass=inetOrgPerson)(|(uid={username})(mail={username})))"
}

// With a directory, spellings share their failures. An account of another spelling can neither use up the successes of one
// nor forget its failures.
func TestSpellingsOfLocalAccounts(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		limits := usual
		limits.Successes = 10
		s := withDirectory(t, address, testldap.Start(t).Open(t), limits)
		s.Register("admin")
		s.Register("ADMIN") // the attacker's own
		want(t, try(s, "192.0.2.7", "admin", testserver.Password), 200, "")
		guesses := 0
		for range limits.Successes / 2 {
			for range limits.Failures - 1 {
				if try(s, "198.51.100.2", "admin", "wrong").Status == 400 {
					guesses++
				}
			}
			try(s, "198.51.100.2", "ADMIN", testserver.Password)
		}
		if guesses > limits.Failures {
			t.Errorf("%d guesses from one network, want %d at most", guesses, limits.Failures)
		}
		for range limits.Successes {
			try(s, "198.51.100.1", "ADMIN", testserver.Password)
		}
		wantThrottled(t, try(s, "198.51.100.1", "ADMIN", testserver.Password), 3600)
		want(t, try(s, "192.0.2.7", "admin", testserver.Password), 200, "")
	})
}

// A network that an entry of the directory signed in from is known under each of its names, in any spelling.
func TestKnownNetworkOfAnEntry(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		d := testldap.Start(t)
		d.Add(t, testserver.Password, "anna")
		d.Set(t, "anna", "mail", "anna@school.example")
		s := withDirectory(t, address, d.Open(t, byMail), usual)
		want(t, try(s, "192.0.2.7", "anna", testserver.Password), 200, "")
		for n := range 10 {
			try(s, fmt.Sprintf("198.51.100.%d", n), []string{"anna@school.example", "ANNA"}[n%2], "wrong")
		}
		wantThrottled(t, try(s, "198.51.100.19", "anna", testserver.Password), 601)
		for _, name := range []string{"anna", "Anna", "anna@school.example", "ANNA@school.example"} {
			want(t, try(s, "192.0.2.7", name, testserver.Password), 200, "")
		}
	})
}

// A password that was sent to the directory counts, also if the answer did not come in time: the directory may have
// counted it.
func TestUnansweredBindsCount(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	proxy := d.Proxy(t)
	const searched = 2 // requests: a bind as the account that searches, and the search
	var binds atomic.Int64
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	silent := func(request int) {
		if request > searched {
			binds.Add(1)
			<-ended
		}
	}
	proxy.BeforeRequest.Store(&silent)
	slow := d.Open(t, func(s *directory.Settings) {
		s.URLs, s.Cleartext, s.Timeout = []string{"ldap://" + proxy.Address}, true, 300*time.Millisecond
	})
	s := withDirectory(t, testdb.SQLite(t), slow, usual)
	for _, name := range []string{"anna", "nobody"} {
		before := binds.Load()
		count := map[int]int{}
		for range 8 {
			count[try(s, "192.0.2.1", name, "wrong").Status]++
		}
		if got := binds.Load() - before; got > 5 || count[503] != int(got) || count[429] == 0 {
			t.Errorf("%s: %d binds, answers %v", name, got, count)
		}
	}
}

// While no password can be hashed, no name loses an attempt, and none is sent to the directory.
func TestBusyHashingBesideADirectory(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	hasher := password.New(password.Options{Params: testserver.CheapHashing.Params, Slots: 1, Wait: 10 * time.Millisecond})
	s := throttled(t, testdb.SQLite(t), patient, func(c *server.Config) { c.Directory, c.Hasher = d.Open(t), hasher })
	s.Register("admin")
	slot, err := hasher.Reserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"admin", "anna", "nobody"} {
		for range patient.Failures + 1 {
			want(t, try(s, "192.0.2.1", name, "wrong"), 503, "")
		}
	}
	slot.Release()
	want(t, try(s, "192.0.2.1", "admin", "wrong"), 400, badCredentials)
	want(t, try(s, "192.0.2.1", "nobody", "wrong"), 400, badCredentials)
	want(t, try(s, "192.0.2.1", "anna", testserver.Password), 200, "")
}

// A new password that cannot be looked up costs no attempt.
func TestUnreadableBreachedListCostsNoAttempt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(strings.Repeat("0", 40)+":1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	breached, err := password.OpenBreached(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := breached.Close(); err != nil { // it cannot be read any more
		t.Fatal(err)
	}
	address := testdb.SQLite(t)
	id, token := throttled(t, address, patient).Register("richard")
	s := throttled(t, address, patient, func(c *server.Config) { c.Policy.Breached = breached })
	for range patient.Failures + 2 {
		want(t, s.Do(testserver.Request{
			Method: "POST", Path: "/api/v1/users/" + id + "/password/", Token: token,
			Body: map[string]string{"current_password": testserver.Password, "new_password": "staple-battery-9"},
		}), 503, "")
	}
}

// What any client can cause while the directory is away fills no log.
func TestDirectoryErrorsAreBounded(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	s := withDirectory(t, testdb.SQLite(t), d.Open(t), patient)
	d.End(t)
	for n := range 30 {
		want(t, try(s, "", fmt.Sprint("u", n), "wrong"), 503, "")
	}
	if lines := strings.Count(s.Log.String(), "msg=directory "); lines == 0 || lines > 10 {
		t.Errorf("%d lines about the directory", lines)
	}
}
