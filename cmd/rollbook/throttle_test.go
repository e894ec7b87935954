package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// listed are the rate limits that a command lists, as "LIMIT of ACCOUNT": COUNT.
func listed(t *testing.T, address string, args ...string) map[string]int {
	t.Helper()
	var shown []shownLimit
	if err := json.Unmarshal([]byte(must(t, address, "", append([]string{"throttle", "list", "--json"}, args...)...)), &shown); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, s := range shown {
		counts[s.Limit+" of "+s.Account+s.Network] = s.Count
		if s.Count == s.Max && s.Wait == 0 || s.Expires == 0 {
			t.Errorf("%+v", s)
		}
	}
	return counts
}

// Operators see which limits count, and clear those of an account or an address. To give an account a code or a password
// clears its own.
func TestThrottleCommands(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		p := start(t, address, "LOGIN_REFUSE_AFTER=0", "LOGIN_BACKOFF=15m", "TRUSTED_PROXIES=127.0.0.1/32", "LOGIN_PER_ADDRESS=1000")
		must(t, address, "Correct-Horse-9\n", "user", "create", "richard")
		guess := func(username, from string) int {
			return p.Do(testserver.Request{
				Method: http.MethodPost, Path: "/api-token-auth/", Header: map[string]string{"X-Forwarded-For": from},
				Body: map[string]string{"username": username, "password": "wrong"},
			}).Status
		}
		lock := func() {
			t.Helper()
			for range 5 {
				guess("richard", "192.0.2.1")
				guess("nobody", "2001:db8::1")
			}
			if status := guess("richard", "192.0.2.1"); status != http.StatusTooManyRequests {
				t.Fatalf("the limit does not hold: %d", status)
			}
		}
		lock()
		if counts := listed(t, address); counts["account and network of richard192.0.2.1"] != 5 || counts["account of richard"] != 5 ||
			counts["account of unknown"] != 5 || counts["address of 192.0.2.1"] != 5 || counts["site of 2001:db8::/48"] != 5 {
			t.Errorf("all: %v", counts)
		}
		if counts := listed(t, address, "--account", "nobody"); len(counts) != 3 {
			t.Errorf("a name that no account has: %v", counts)
		}
		if counts := listed(t, address, "--address", "2001:db8:0:ff::2"); len(counts) != 4 {
			t.Errorf("an address: %v", counts)
		}
		table := must(t, address, "", "throttle", "list", "--account", "richard")
		if lines := strings.Split(table, "\n"); !strings.HasPrefix(lines[0], "LIMIT ") || !strings.Contains(table, "account and network  richard  192.0.2.1") {
			t.Errorf("the table:\n%s", table)
		}
		for name, clear := range map[string]func(){
			"by account":    func() { must(t, address, "", "throttle", "clear", "--account", "richard") },
			"by address":    func() { must(t, address, "", "throttle", "clear", "--address", "192.0.2.1") },
			"all":           func() { must(t, address, "", "throttle", "clear", "--all") },
			"an invitation": func() { must(t, address, "", "user", "invite", "richard") },
			"a password":    func() { must(t, address, "Correct-Horse-9\n", "user", "set-password", "richard") },
			"a roster": func() {
				file := filepath.Join(t.TempDir(), "roster.csv")
				if err := os.WriteFile(file, []byte("username\nrichard\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := testdb.SQL(t, address).ExecContext(t.Context(), "UPDATE users SET password = ''"); err != nil {
					t.Fatal(err)
				}
				if _, err := testdb.SQL(t, address).ExecContext(t.Context(), "DELETE FROM codes"); err != nil {
					t.Fatal(err)
				}
				must(t, address, "", "roster", "import", file)
			},
		} {
			lock()
			clear()
			if status := guess("richard", "192.0.2.1"); status != http.StatusBadRequest {
				t.Errorf("%s: afterwards %d", name, status)
			}
		}
		_, log, code := invoke(t, address, "", "throttle", "clear", "--account", "richard")
		if code != 0 || !strings.Contains(log, `event="limits cleared" account=`) {
			t.Errorf("the audit: %s", log)
		}
		for of, args := range map[string][]string{"of=all": {"--all"}, `of="address 192.0.2.1"`: {"--address", "192.0.2.1"}} {
			if _, log, _ := invoke(t, address, "", append([]string{"throttle", "clear"}, args...)...); !strings.Contains(log, of) {
				t.Errorf("%v: the audit does not say %s: %s", args, of, log)
			}
		}
		for _, args := range [][]string{{}, {"--all", "--account", "richard"}, {"--address", "nonsense"}} {
			if _, said, code := invoke(t, address, "", append([]string{"throttle", "clear"}, args...)...); code == 0 {
				t.Errorf("%v is accepted: %s", args, said)
			}
		}
	})
}

// The 500 of a school come from one address, 32 at once: each sets a password with a code from the roster and signs in.
// With the settings as shipped, nobody is refused.
func TestSchoolSignsInOnDayOne(t *testing.T) {
	t.Parallel()
	asked, _, _, err := read([]string{"serve"}, &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	const pupils, atOnce = 500, 32
	testdb.Each(t, func(t *testing.T, address string) {
		s := testserver.Start(t, address, func(c *server.Config) {
			limits, err := c.DB.Limits(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.Throttle, c.Limits = asked.(serve).Throttle.limits(), limits
			c.Hasher = password.New(password.Options{Params: testserver.CheapHashing.Params})
		})
		queue := make(chan string)
		var pupilsDone sync.WaitGroup
		for range atOnce {
			pupilsDone.Go(func() {
				for username := range queue {
					firstSignIn(t, s, username)
				}
			})
		}
		for n := range pupils {
			queue <- fmt.Sprintf("pupil%03d", n)
		}
		close(queue)
		pupilsDone.Wait()
	})
}

// firstSignIn does what a pupil of a roster does on day one.
func firstSignIn(t *testing.T, s *testserver.Server, username string) {
	t.Helper()
	user, code := server.NewUser(username, "", "", ""), repository.NewCode()
	if err := s.DB.Users().Create(t.Context(), user); err != nil {
		t.Error(err)
	}
	if err := s.DB.Codes().Put(t.Context(), repository.CodeFor(user.ID, code, s.DB.Now().Add(time.Hour))); err != nil {
		t.Error(err)
	}
	plain := "Horse-" + uuid.NewString()
	a := s.Do(testserver.Request{Method: http.MethodPost, Path: "/api/v1/users/password/", Body: map[string]string{
		"username": username, "code": code, "new_password": plain,
	}})
	if a.Status != http.StatusNoContent {
		t.Errorf("%s sets a password: %d %s", username, a.Status, a.Text)
	}
	a = s.Do(testserver.Request{Method: http.MethodPost, Path: "/api-token-auth/", Body: map[string]string{"username": username, "password": plain}})
	if a.Status != http.StatusOK {
		t.Errorf("%s: %d %s", username, a.Status, a.Text)
	}
}

// A network that no address is in is refused, with how to write it.
func TestMappedNetworksAreRefused(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"TRUSTED_PROXIES", "THROTTLE_EXEMPT"} {
		_, said, code := invokeWith(t, []string{setting + "=192.0.2.0/24,::ffff:10.0.0.0/104", "ADDR=127.0.0.1:0"}, "", "serve")
		if code == 0 || !strings.Contains(said, "write ::ffff:10.0.0.0/104 as a network of IPv4") {
			t.Errorf("%s: exit code %d, %s", setting, code, said)
		}
	}
}
