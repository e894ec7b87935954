package server_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// usual are the limits as shipped, with backoffs that last for a test.
var usual = server.Throttle{
	Failures: 5, Backoff: time.Hour, BackoffMax: 2 * time.Hour, PerAccount: 100, Successes: 100, PerAddress: 300, Registrations: 100,
	DirectoryFailures: 8,
}

// lockOut guesses an account's password from many networks, until all unknown networks are refused.
func lockOut(t *testing.T, s *testserver.Server, username, plain string) {
	t.Helper()
	for n := 0; ; n++ {
		switch a := try(s, fmt.Sprintf("198.51.100.%d", n), username, "wrong"); {
		case a.Status == 429:
			wantThrottled(t, try(s, "198.51.100.255", username, plain), 3600)
			return
		case n == 250:
			t.Fatalf("250 networks may guess: %d %s", a.Status, a.Text)
		}
	}
}

// Nobody who knows a name can keep its owner from signing in.
func TestOwnerIsNotLockedOut(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		const home = "192.0.2.7"
		limits := usual
		limits.PerAccount = 20
		s := throttled(t, address, limits)
		id, _ := s.Register("richard")
		a := try(s, home, "richard", testserver.Password)
		want(t, a, 200, "")
		code := invite(t, s, id, time.Now().Add(time.Hour))
		lockOut(t, s, "richard", testserver.Password)
		// The owner's own mistakes have their own allowance, with its own backoff.
		for range limits.Failures - 1 {
			want(t, try(s, home, "richard", "mistyped"), 400, "")
		}
		want(t, try(s, home, "richard", testserver.Password), 200, "")
		change := testserver.Request{
			Method: "POST", Path: "/api/v1/users/" + id + "/password/", Token: a.JSON["token"].(string),
			Header: map[string]string{"X-Forwarded-For": "198.51.100.1"}, // from a guesser's network
			Body:   map[string]string{"current_password": testserver.Password, "new_password": "staple-battery-9"},
		}
		want(t, s.Do(change), 204, "")
		// The change of the password has ended the known network.
		wantThrottled(t, try(s, home, "richard", "staple-battery-9"), 3600)
		code = invite(t, s, id, time.Now().Add(time.Hour))
		want(t, setPassword(s, home, "richard", code, "staple-battery-7"), 204, "") // which makes it known
		want(t, try(s, home, "richard", "staple-battery-7"), 200, "")
	})
}

// The network is what counts: no header that clients choose makes one known.
func TestKnownNetworksAreNotClaimed(t *testing.T) {
	t.Parallel()
	limits := usual
	limits.PerAccount = 10
	s := throttled(t, testdb.SQLite(t), limits)
	s.Register("richard")
	const agent = "The owner's browser"
	a := s.Do(testserver.Request{
		Method: "POST", Path: "/api-token-auth/", Header: map[string]string{"X-Forwarded-For": "192.0.2.7", "User-Agent": agent},
		Body: map[string]string{"username": "richard", "password": testserver.Password},
	})
	want(t, a, 200, "")
	lockOut(t, s, "richard", testserver.Password)
	forged := s.Do(testserver.Request{
		Method: "POST", Path: "/api-token-auth/",
		Header: map[string]string{"X-Forwarded-For": "192.0.2.7, 198.51.100.254", "User-Agent": agent, "Cookie": "known=1"},
		Body:   map[string]string{"username": "richard", "password": testserver.Password},
	})
	wantThrottled(t, forged, 3600)
	wantThrottled(t, try(s, "2001:db8::1", "richard", testserver.Password), 3600)
	want(t, try(s, "192.0.2.7", "richard", testserver.Password), 200, "")
}

// One /48 may not use up what all unknown networks have for an account.
func TestOneSiteDoesNotLockAnAccount(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := throttled(t, address, usual)
		s.Register("richard")
		count := map[int]int{}
		for n := range 200 {
			count[try(s, fmt.Sprintf("2001:db8:0:%x00::1", n%20), "richard", "wrong").Status]++
		}
		if count[400] != usual.PerAccount/5 {
			t.Errorf("one /48: got %v, want %d times 400", count, usual.PerAccount/5)
		}
		want(t, try(s, "2001:db8:1::1", "richard", testserver.Password), 200, "")
	})
}

// Invented names from an address do not lock those behind it who signed in from there before.
func TestInventedNamesDoNotLockANetwork(t *testing.T) {
	t.Parallel()
	limits := usual
	limits.PerAddress = 30
	s := throttled(t, testdb.SQLite(t), limits)
	s.Register("richard")
	s.Register("stranger")
	want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "")
	for n := range limits.PerAddress {
		want(t, try(s, "192.0.2.1", fmt.Sprint("invented", n), "wrong"), 400, "")
	}
	wantThrottled(t, try(s, "192.0.2.1", "invented", "wrong"), 600)
	wantThrottled(t, try(s, "192.0.2.1", "stranger", testserver.Password), 600)
	want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "")
	want(t, try(s, "192.0.2.2", "stranger", testserver.Password), 200, "")
}

// A success returns its own place of each limit, and no other's.
func TestSuccessReturnsItsOwnPlace(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		limits := usual
		limits.PerAddress, limits.PerAccount = 10, 10
		s := throttled(t, address, limits)
		s.Register("richard")
		for n := range 9 {
			want(t, try(s, "192.0.2.1", fmt.Sprint("u", n), "wrong"), 400, "")
		}
		for range 3 {
			want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "")
		}
		want(t, try(s, "192.0.2.1", "u9", "wrong"), 400, "") // the tenth failure
		wantThrottled(t, try(s, "192.0.2.1", "u10", "wrong"), 600)
	})
}

// One valid password does not buy more hashing than the limit on successes.
func TestLimitOfSuccesses(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		limits := usual
		limits.Successes = 10
		s := throttled(t, address, limits)
		id, token := s.Register("richard")
		const callers = 40
		answers := make(chan int, callers)
		for n := range callers { // from several networks
			go func() { answers <- try(s, fmt.Sprintf("192.0.2.%d", n%3), "richard", testserver.Password).Status }()
		}
		count := map[int]int{}
		for range callers {
			count[<-answers]++
		}
		if count[200] != limits.Successes || count[429] != callers-limits.Successes {
			t.Errorf("got %v, want %d times 200 and the rest 429", count, limits.Successes)
		}
		change := s.Do(testserver.Request{
			Method: "POST", Path: "/api/v1/users/" + id + "/password/", Token: token,
			Body: map[string]string{"current_password": testserver.Password, "new_password": "staple-battery-9"},
		})
		wantThrottled(t, change, 3600)
	})
}

// Logins in progress are not failures: of many at once with the right password, none is refused.
func TestLoginsInProgressAreNoFailures(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := throttled(t, address, usual)
		s.Register("richard")
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() { want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "") })
		}
		wg.Wait()
	})
}

// The exemption is from the limits per address, and from no other.
func TestExemptAddresses(t *testing.T) {
	t.Parallel()
	limits := usual
	limits.PerAddress, limits.Registrations, limits.PerAccount = 4, 2, 40
	limits.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	s := throttled(t, testdb.SQLite(t), limits)
	for _, from := range []string{"192.0.2.1", "2001:db8::1"} {
		for n := range 20 {
			want(t, try(s, from, fmt.Sprint("u", n), "wrong"), 400, "")
			want(t, setPassword(s, from, fmt.Sprint("u", n), "wrong", "staple-battery-7"), 400, badCode)
			a := s.Do(testserver.Request{
				Method: "POST", Path: "/api/v1/users/", Header: map[string]string{"X-Forwarded-For": from},
				Body: map[string]string{"username": fmt.Sprint("new", n, from[:3]), "password": testserver.Password},
			})
			want(t, a, 201, "")
		}
		for range limits.Failures - 1 {
			want(t, try(s, from, "u0", "wrong"), 400, "")
		}
		wantThrottled(t, try(s, from, "u0", "wrong"), 7200)
	}
	s.Register("richard")
	for n := range limits.PerAccount {
		want(t, try(s, fmt.Sprintf("192.0.2.%d", n), "richard", "wrong"), 400, "")
	}
	wantThrottled(t, try(s, "192.0.2.250", "richard", testserver.Password), 3600)
	for n := range limits.PerAddress {
		want(t, try(s, "198.51.100.1", fmt.Sprint("x", n), "wrong"), 400, "")
	}
	wantThrottled(t, try(s, "198.51.100.1", "x", "wrong"), 600)
}

// The directory is asked less often for an entry than it takes to lock the account there.
func TestDirectoryDoesNotLock(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		d := testldap.Start(t)
		d.Add(t, testserver.Password, "anna")
		s := withDirectory(t, address, d.Open(t), usual)
		const home = "192.0.2.7"
		want(t, try(s, home, "anna", testserver.Password), 200, "")
		for _, username := range []string{"anna", "nobody"} { // a name that nobody has is no exception
			for n := range 5 {
				want(t, try(s, fmt.Sprintf("198.51.100.%d", n), username, "wrong"), 400, badCredentials)
			}
			for n := range 5 {
				wantThrottled(t, try(s, fmt.Sprintf("203.0.113.%d", n), username, "wrong"), 601)
			}
		}
		for range 3 { // the rest of the eight is kept for the network that signed in
			want(t, try(s, home, "anna", "wrong"), 400, badCredentials)
		}
		wantThrottled(t, try(s, home, "anna", testserver.Password), 600)
	})
}

// A directory's entry has one counter under all the names by which it signs in, and a local account none that reveals it.
func TestDirectoryCountsEntries(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	d.Set(t, "anna", "mail", "anna@school.example")
	open := d.Open(t, func(c *directory.Settings) {
		c.Filter = "(&(objectClass=inetOrgPerson)(|(uid={username})(mail={username})))"
	})
	s := withDirectory(t, testdb.SQLite(t), open, patient)
	s.Register("admin")
	for n := range patient.Failures {
		want(t, try(s, "192.0.2.1", []string{"anna", "anna@school.example", "ANNA"}[n%3], "wrong"), 400, badCredentials)
	}
	for _, name := range []string{"anna", "Anna@School.example"} {
		wantThrottled(t, try(s, "192.0.2.1", name, testserver.Password), 7200)
	}
	want(t, try(s, "192.0.2.2", "anna@school.example", testserver.Password), 200, "")
	for _, name := range []string{"ADMIN", "NOBODY"} {
		for range patient.Failures {
			want(t, try(s, "192.0.2.3", name, "wrong"), 400, badCredentials)
		}
	}
	for _, name := range []string{"admin", "nobody"} {
		wantThrottled(t, try(s, "192.0.2.3", name, testserver.Password), 7200)
	}
}
