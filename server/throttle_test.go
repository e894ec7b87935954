package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// throttled starts a server behind a trusted proxy on this machine, so that tests can come from any address.
func throttled(t *testing.T, address string, limits server.Throttle, changes ...func(*server.Config)) *testserver.Server {
	t.Helper()
	return testserver.Start(t, address, append(changes, func(c *server.Config) {
		queues, err := c.DB.Limits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Throttle, c.Limits = limits, queues
		c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})...)
}

// try logs in from an address.
func try(s *testserver.Server, from, username, plain string) testserver.Answer {
	return s.Do(testserver.Request{
		Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": username, "password": plain},
		Header: map[string]string{"X-Forwarded-For": from},
	})
}

// wantThrottled fails the test where an answer is not a 429 that asks to wait for no longer than so many seconds.
func wantThrottled(t *testing.T, a testserver.Answer, most int) {
	t.Helper()
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || seconds < 1 || seconds > most {
		t.Errorf("Retry-After is %q, want 1 to %d", a.Header.Get("Retry-After"), most)
	}
	unit := "seconds"
	if seconds == 1 {
		unit = "second"
	}
	want(t, a, 429, fmt.Sprintf(`{"detail":"Request was throttled. Expected available in %d %s."}`, seconds, unit))
}

var patient = server.Throttle{Failures: 5, Backoff: time.Hour, BackoffMax: 2 * time.Hour, PerAccount: 1000, PerAddress: 1000}

// Of 200 wrong logins at once, at two instances, exactly as many are looked at as may be; the owner is let in from another
// address meanwhile.
func TestGuessersAreCountedOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		instances := []*testserver.Server{throttled(t, address, patient), throttled(t, address, patient)}
		instances[0].Register("richard")
		const callers = 200
		answers := make(chan testserver.Answer, callers)
		for i := range callers {
			go func() { answers <- try(instances[i%2], "192.0.2.1", "richard", "wrong") }()
		}
		count := map[int]int{}
		for range callers {
			a := <-answers
			count[a.Status]++
			if a.Status == 429 {
				wantThrottled(t, a, 3600)
			}
		}
		if count[400] != patient.Failures || count[429] != callers-patient.Failures {
			t.Errorf("got %v, want %d times 400 and the rest 429", count, patient.Failures)
		}
		for _, s := range instances {
			wantThrottled(t, try(s, "192.0.2.1", "richard", testserver.Password), 3600)
			want(t, try(s, "192.0.2.2", "richard", testserver.Password), 200, "")
			want(t, try(s, "192.0.2.1", "somebody", "wrong"), 400, "")
		}
	})
}

func TestLimitsOfLogins(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits         server.Throttle
		from, username func(i int) string
		allowed        int
	}{
		"an unknown account": {
			patient, func(int) string { return "192.0.2.1" }, func(int) string { return "nobody" }, 5,
		},
		"a network of IPv6": {
			patient, func(i int) string { return fmt.Sprintf("2001:db8:0:a%02x::%x", i, i) }, func(int) string { return "nobody" }, 5,
		},
		"a network of IPv6, for every account": {
			server.Throttle{PerAddress: 9}, func(i int) string { return fmt.Sprintf("2001:db8:0:a%02x::%x", i, i) }, func(i int) string { return fmt.Sprint("u", i) }, 9,
		},
		"an account, from everywhere": {
			server.Throttle{PerAccount: 7}, func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, func(int) string { return "nobody" }, 7,
		},
		"an address, for every account": {
			server.Throttle{PerAddress: 9}, func(int) string { return "192.0.2.1" }, func(i int) string { return fmt.Sprint("u", i) }, 9,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := throttled(t, testdb.SQLite(t), test.limits)
			for i := range test.allowed + 3 {
				a := try(s, test.from(i), test.username(i), "wrong")
				if i < test.allowed {
					want(t, a, 400, "")
				} else {
					wantThrottled(t, a, 3600)
				}
			}
		})
	}
}

func TestSuccessForgetsFailures(t *testing.T) {
	t.Parallel()
	s := throttled(t, testdb.SQLite(t), patient)
	s.Register("richard")
	for range 3 {
		for range patient.Failures - 1 {
			want(t, try(s, "192.0.2.1", "richard", "wrong"), 400, "")
		}
		want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "")
	}
}

func TestBackoffEnds(t *testing.T) {
	t.Parallel()
	limits := server.Throttle{Failures: 1, Backoff: time.Second, BackoffMax: time.Minute}
	s := throttled(t, testdb.SQLite(t), limits)
	s.Register("richard")
	want(t, try(s, "192.0.2.1", "richard", "wrong"), 400, "")
	wantThrottled(t, try(s, "192.0.2.1", "richard", testserver.Password), 1)
	time.Sleep(limits.Backoff)
	want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "")
}

// Password changes need a valid token and count for it: whoever has none cannot exhaust them, nor does one token exhaust
// those of another, nor logins.
func TestPasswordChangeHasItsOwnLimit(t *testing.T) {
	t.Parallel()
	limits := patient
	limits.PerAccount = 20
	s := throttled(t, testdb.SQLite(t), limits)
	id, stolen := s.Register("richard")
	change := func(token, current string) testserver.Answer {
		return s.Do(testserver.Request{
			Method: "POST", Path: "/api/v1/users/" + id + "/password/", Token: token,
			Body: map[string]string{"current_password": current, "new_password": "staple-battery-9"},
		})
	}
	for range patient.Failures {
		want(t, change(stolen, "wrong"), 400, "")
	}
	wantThrottled(t, change(stolen, testserver.Password), 3600)
	a := try(s, "192.0.2.1", "richard", testserver.Password)
	want(t, a, 200, "")
	lockOut(t, s, "richard", testserver.Password)
	want(t, change(a.JSON["token"].(string), testserver.Password), 204, "")
}

func TestLimitOfRegistrations(t *testing.T) {
	t.Parallel()
	s := throttled(t, testdb.SQLite(t), server.Throttle{Registrations: 2})
	register := func(i int, from string) testserver.Answer {
		return s.Do(testserver.Request{
			Method: "POST", Path: "/api/v1/users/", Header: map[string]string{"X-Forwarded-For": from},
			Body: map[string]string{"username": fmt.Sprint("u", i), "password": testserver.Password},
		})
	}
	want(t, register(1, "192.0.2.1"), 201, "")
	want(t, register(2, "192.0.2.1"), 201, "")
	wantThrottled(t, register(3, "192.0.2.1"), 3600)
	want(t, register(3, "192.0.2.2"), 201, "")
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: `{`}), 400, "") // takes no place
}

// A try that nobody could look at is not counted: whoever comes back as asked is let in.
func TestBusyIsNoFailure(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) {
		queues, err := c.DB.Limits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Throttle, c.Limits = server.Throttle{Failures: 2, Backoff: time.Hour, BackoffMax: time.Hour, PerAccount: 3, PerAddress: 3}, queues
		c.Hasher = password.New(password.Options{
			Params: password.Params{Memory: 64 << 10, Time: 12, Threads: 1}, Slots: 1, Wait: 10 * time.Millisecond,
		})
	})
	s.Register("richard")
	answers := make(chan int, 2)
	for range cap(answers) {
		go func() { answers <- try(s, "", "richard", testserver.Password).Status }()
	}
	if a, b := <-answers, <-answers; max(a, b) != 503 {
		t.Errorf("got %d and %d, want one of them to be 503", a, b)
	}
	want(t, try(s, "", "richard", testserver.Password), 200, "")
	want(t, try(s, "", "richard", "wrong"), 400, "")
}

// The time of refusal counts from when the body is there: to send it late does not shorten it.
func TestLateBodyIsRefusedNoSooner(t *testing.T) {
	t.Parallel()
	const refuseAfter = 200 * time.Millisecond
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.RefuseAfter = refuseAfter })
	body, writer := io.Pipe()
	sent := make(chan time.Time, 1)
	go func() {
		time.Sleep(2 * refuseAfter)
		_, err := io.WriteString(writer, `{"username":"nobody","password":"wrong"}`)
		sent <- time.Now()
		if err := errors.Join(err, writer.Close()); err != nil {
			t.Error(err)
		}
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api-token-auth/", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := testserver.Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(<-sent)
	if err := resp.Body.Close(); err != nil || resp.StatusCode != 400 || took < refuseAfter {
		t.Errorf("got %d after %s, %v; want 400 after %s", resp.StatusCode, took, err, refuseAfter)
	}
}
