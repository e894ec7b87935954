package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
)

func TestHashWait(t *testing.T) {
	t.Parallel()
	for wait, busy := range map[string]bool{"1ms": true, "1m": false} {
		p := start(t, testdb.SQLite(t), "HASH_WAIT="+wait)
		const callers = 16
		statuses := make(chan int, callers)
		for i := range callers {
			go func() {
				status, _ := p.send(t, "POST", "/api/v1/users/", "", fmt.Sprintf(`{"username":"u%d","password":"Correct-Horse-9"}`, i))
				statuses <- status
			}()
		}
		count := map[int]int{}
		for range callers {
			count[<-statuses]++
		}
		if (count[503] > 0) != busy || count[201]+count[503] != callers {
			t.Errorf("HASH_WAIT=%s: %v", wait, count)
		}
	}
}

func TestTokenLifetimes(t *testing.T) {
	t.Parallel()
	for env, want := range map[string]int{"TOKEN_TTL=1us": 401, "TOKEN_IDLE_TTL=1us": 401, "TOKEN_TTL=1h": 200} {
		p := start(t, testdb.SQLite(t), env)
		_, members := p.send(t, "POST", "/api/v1/users/", "", `{"username":"u","password":"Correct-Horse-9"}`)
		token, _ := members["auth_token"].(string)
		if status, _ := p.send(t, "GET", "/api/v1/users/me/", token, ""); status != want {
			t.Errorf("%s: %d, want %d", env, status, want)
		}
	}
}

// What the flags and variables say reaches the server. Throttling is on unless it is turned off.
func TestSettingsReachTheServer(t *testing.T) {
	t.Parallel()
	const credentials = `{"username":"u","password":"Correct-Horse-9"}`
	const forged = `{"username":"u","password":"wrong"}`
	for name, test := range map[string]struct {
		env    []string
		status int // of the last of seven wrong logins
	}{
		"by default":       {nil, http.StatusTooManyRequests},
		"throttled later":  {[]string{"LOGIN_THROTTLE=8"}, http.StatusBadRequest},
		"by the account":   {[]string{"LOGIN_THROTTLE=8", "LOGIN_PER_ACCOUNT=6"}, http.StatusTooManyRequests},
		"by the address":   {[]string{"LOGIN_THROTTLE=8", "LOGIN_PER_ADDRESS=6"}, http.StatusTooManyRequests},
		"with a short one": {[]string{"LOGIN_BACKOFF=1ns", "LOGIN_BACKOFF_MAX=1ns"}, http.StatusBadRequest},
		"turned off":       {[]string{"LOGIN_THROTTLE=0", "LOGIN_PER_ACCOUNT=1"}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, testdb.SQLite(t), append(test.env, "LOGIN_REFUSE_AFTER=0")...)
			status := 0
			for range 7 {
				status, _ = p.send(t, "POST", "/api-token-auth/", "", forged)
			}
			if status != test.status {
				t.Errorf("got %d, want %d", status, test.status)
			}
		})
	}
	p := start(t, testdb.SQLite(t), "REGISTER_THROTTLE=1", "PROFILES=own", "LOGIN_REFUSE_AFTER=500ms", "CORS_ORIGINS=https://a.org,https://b.org")
	for _, want := range []int{http.StatusCreated, http.StatusTooManyRequests} {
		if status, _ := p.send(t, "POST", "/api/v1/users/", "", credentials); status != want {
			t.Errorf("register: %d, want %d", status, want)
		}
	}
	began := time.Now()
	if p.send(t, "POST", "/api-token-auth/", "", forged); time.Since(began) < 500*time.Millisecond {
		t.Errorf("a login was refused after %s", time.Since(began))
	}
	closed := start(t, testdb.SQLite(t), "REGISTRATION=closed", "REGISTRATION_CLOSED=Ask the office.")
	if status, members := closed.send(t, "POST", "/api/v1/users/", "", credentials); status != 403 || members["detail"] != "Ask the office." {
		t.Errorf("register where it is closed: %d %v", status, members)
	}
}

func TestErrorsAreOneClearLine(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	taken := busy.Addr().String()
	for name, test := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"a bad address":            {[]string{"ADDR=nonsense"}, []string{"serve"}, "listen on nonsense: "},
		"a port that is none":      {nil, []string{"serve", "--addr", "127.0.0.1:99999"}, "listen on 127.0.0.1:99999: "},
		"a port in use":            {[]string{"ADDR=" + taken}, []string{"serve"}, "listen on " + taken + ": "},
		"an unknown database":      {[]string{"DATABASE_URL=mysql://x"}, []string{"serve"}, "must begin with postgres://"},
		"an unreachable database":  {[]string{"DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/d"}, []string{"serve"}, "cannot reach the database: "},
		"no such folder":           {[]string{"DATABASE_URL=sqlite:/no/such/x.db"}, []string{"migrate"}, "no such file or directory"},
		"an unknown command":       {nil, []string{"fly"}, "unexpected argument fly"},
		"an unknown flag":          {nil, []string{"serve", "--fly"}, "unknown flag --fly"},
		"a duration that is none":  {[]string{"HASH_WAIT=soon"}, []string{"serve"}, "HASH_WAIT"},
		"a policy that is none":    {[]string{"PASSWORD_MIN_LENGTH=7"}, []string{"serve"}, "must be from 8 to 128"},
		"a lifetime without sense": {nil, []string{"serve", "--token-ttl=-1s"}, "must not be less than 0"},
		"an access that is none":   {[]string{"REGISTRATION=maybe"}, []string{"serve"}, "must be one of"},
		"an origin with a path":    {[]string{"CORS_ORIGINS=https://a.org/x"}, []string{"serve"}, "must be as in https://example.org"},
		"a proxy that is none":     {[]string{"TRUSTED_PROXIES=10.0.0.0"}, []string{"serve"}, "TRUSTED_PROXIES"},
		"a throttle without sense": {[]string{"LOGIN_THROTTLE=-1"}, []string{"serve"}, "must not be less than 0"},
		"a backoff without sense":  {[]string{"LOGIN_BACKOFF=1h"}, []string{"serve"}, "--login-backoff-max not less"},
		"a refusal without sense":  {[]string{"LOGIN_REFUSE_AFTER=1m"}, []string{"serve"}, "must be from 0 to 10s"},
		"a directory of no base":   {[]string{"LDAP_URL=ldaps://example.org"}, []string{"serve"}, "the base \"\" is no DN"},
		"half of who searches":     {[]string{"LDAP_BIND_DN=cn=x"}, []string{"serve"}, "belong together"},
		"a share that is none":     {[]string{"LDAP_DEACTIVATE_AT_MOST=101"}, []string{"directory", "sync"}, "must be from 0 to 100"},
		"a duration without sense": {nil, []string{"serve", "--hash-wait=-1s"}, "must be more than 0"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := program(t, test.env, test.args...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			began := time.Now()
			if code := exitCode(cmd.Run()); code != 1 {
				t.Errorf("the exit code is %d, want 1", code)
			}
			text := stderr.String()
			if !strings.HasPrefix(text, "rollbook: ") || !strings.Contains(text, test.want) || strings.Count(text, "\n") != 1 {
				t.Errorf("it says %q, want one line with %q", text, test.want)
			}
			if strings.Contains(text+stdout.String(), "hunter2") {
				t.Error("it tells the password")
			}
			if time.Since(began) > 10*time.Second {
				t.Errorf("it took %s", time.Since(began))
			}
		})
	}
}

func TestHelpExplainsEachFlag(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"serve", "migrate", "version"}},
		{[]string{"--help"}, []string{"serve", "migrate", "version"}},
		{[]string{"serve", "--help"}, []string{
			"--addr", "$ADDR", "127.0.0.1:8000", "--database-url", "$DATABASE_URL", "sqlite:rollbook.db", "--hash-wait", "$HASH_WAIT", "5s",
			"--password-min-length", "$PASSWORD_MIN_LENGTH", "--token-ttl", "$TOKEN_TTL", "--token-idle-ttl", "$TOKEN_IDLE_TTL",
			"$LOGIN_REFUSE_AFTER", "$TRUSTED_PROXIES", "$REGISTRATION", "$REGISTRATION_CLOSED", "$PROFILES", "$CORS_ORIGINS",
			"$LOGIN_THROTTLE", "$LOGIN_BACKOFF", "$LOGIN_BACKOFF_MAX", "$LOGIN_PER_ACCOUNT", "$LOGIN_PER_ADDRESS", "$REGISTER_THROTTLE",
		}},
		{[]string{"migrate", "--help"}, []string{"--database-url", "$DATABASE_URL", "sqlite:rollbook.db"}},
	} {
		out, err := program(t, []string{"DATABASE_URL=postgres://u:hunter2@h/d"}, test.args...).Output()
		if err != nil {
			t.Errorf("%v: %v", test.args, err)
		}
		for _, want := range test.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%v does not mention %s:\n%s", test.args, want, out)
			}
		}
		if strings.Contains(string(out), "hunter2") {
			t.Error("it tells the password")
		}
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	env := []string{"DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "x.db")}
	for _, want := range []string{`^(applied \d{4}_\w+\.sql\n)+the database is up to date\n$`, `^the database is up to date\n$`} {
		out, err := program(t, env, "migrate").Output()
		if err != nil || !regexp.MustCompile(want).Match(out) {
			t.Errorf("got %q, %v; want %s", out, err, want)
		}
	}
}
