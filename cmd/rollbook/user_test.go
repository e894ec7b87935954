package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// invoke runs a command with a standard input and returns its output, and what it says to people. No secret may be in it.
func invoke(t *testing.T, address, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return invokeWith(t, []string{"DATABASE_URL=" + address}, stdin, args...)
}

// invokeWith is invoke with an environment. Hashes are printed to who asks for them.
func invokeWith(t *testing.T, env []string, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := program(t, env, args...)
	var out, log bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &log
	code = exitCode(cmd.Run())
	var secrets testserver.Secrets
	secrets.Check(t, log.String())
	if !slices.Contains(args, "--with-hashes") {
		secrets.Check(t, out.String())
	}
	for line := range strings.Lines(stdin) {
		if line = strings.TrimSpace(line); line != "" && strings.Contains(out.String()+log.String(), line) {
			t.Errorf("%v prints what it was told: %q", args, line)
		}
	}
	return out.String(), log.String(), code
}

// must is invoke for what has to succeed.
func must(t *testing.T, address, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, code := invoke(t, address, stdin, args...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, stderr)
	}
	return stdout
}

// The operator's commands work on the database of a running server, at once.
func TestOperatorsCommands(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		const first, second = "Correct-Horse-9", "staple-battery-7"
		p := start(t, address, "LOGIN_REFUSE_AFTER=0")
		logIn := func(plain string) (int, string) {
			status, members := p.send(t, "POST", "/api-token-auth/", "", `{"username":"richard","password":"`+plain+`"}`)
			token, _ := members["token"].(string)
			return status, token
		}
		var made []shownUser
		created := must(t, address, first+"\n", "user", "create", " richard ", "--first-name=Richard", "--email=R@Pied.COM", "--json")
		if err := json.Unmarshal([]byte(created), &made); err != nil || len(made) != 1 || made[0].Username != "richard" ||
			time.Since(made[0].CreatedAt) > time.Minute || made[0].Email != "R@pied.com" || !made[0].Active || !made[0].HasPassword {
			t.Fatalf("created %s, %v", created, err)
		}
		id := made[0].ID.String()
		must(t, address, "", "user", "create", "ann\u00e9", "--no-password")
		table := must(t, address, "", "user", "list")
		if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 3 || !strings.Contains(lines[1], "anné") ||
			!strings.Contains(lines[2], id) || strings.Contains(table, "argon2") {
			t.Errorf("the list is\n%s", table)
		}
		if shown := must(t, address, "", "user", "show", id); !strings.Contains(shown, "R@pied.com") {
			t.Errorf("shown %s", shown)
		}

		_, token := logIn(first)
		_, other := logIn(first)
		var tokens []shownToken
		listed := must(t, address, "", "token", "list", "richard", "--json")
		if err := json.Unmarshal([]byte(listed), &tokens); err != nil || len(tokens) != 2 || strings.Contains(listed, token) {
			t.Fatalf("tokens %s, %v", listed, err)
		}
		alive := func(token string) int {
			status, _ := p.send(t, "GET", "/api/v1/users/me/", token, "")
			return status
		}
		must(t, address, "", "token", "revoke", "richard", tokens[0].ID.String()) // the latest
		if alive(token) != http.StatusOK || alive(other) != http.StatusUnauthorized {
			t.Errorf("after one token was revoked: %d, %d", alive(token), alive(other))
		}
		must(t, address, "", "token", "revoke", "richard", "--all")
		if alive(token) != http.StatusUnauthorized {
			t.Errorf("after all were revoked: %d", alive(token))
		}

		_, token = logIn(first)
		must(t, address, second, "user", "set-password", "richard") // without a line's end
		if status, _ := logIn(first); status != http.StatusBadRequest || alive(token) != http.StatusUnauthorized {
			t.Errorf("after the password was set: %d, %d", status, alive(token))
		}
		_, token = logIn(second)
		must(t, address, "", "user", "deactivate", "richard")
		if status, _ := logIn(second); status != http.StatusBadRequest || alive(token) != http.StatusUnauthorized {
			t.Errorf("after it was deactivated: %d, %d", status, alive(token))
		}
		must(t, address, "", "user", "activate", "richard")
		if status, _ := logIn(second); status != http.StatusOK {
			t.Errorf("after it was activated: %d", status)
		}
		// Whoever has registered the id as a name does not come between, and a name may be spelled as at a login.
		must(t, address, "", "user", "create", id, "--no-password")
		must(t, address, "", "user", "deactivate", id)
		if status, _ := logIn(second); status != http.StatusBadRequest {
			t.Errorf("after it was deactivated by its id: %d", status)
		}
		must(t, address, "", "user", "activate", "ｒichard ")
		if status, _ := logIn(second); status != http.StatusOK {
			t.Errorf("after it was activated by another spelling: %d", status)
		}
		must(t, address, "", "user", "delete", "richard", "--yes")
		if status, _ := logIn(second); status != http.StatusBadRequest {
			t.Errorf("after it was deleted: %d", status)
		}
	})
}

func TestOperatorsMistakesAreExplained(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	must(t, address, "Correct-Horse-9\n", "user", "create", "richard", "--last-name=Hendriks")
	for name, test := range map[string]struct {
		stdin string
		args  []string
		want  string
	}{
		"a taken name":     {"Correct-Horse-9", []string{"user", "create", "richard"}, "username: A user with that username already exists."},
		"a bad name":       {"12345678", []string{"user", "create", "a b", "--email=x"}, "email: Enter a valid email address.; password: This password is too common. This password is entirely numeric.; username: Enter a valid username."},
		"no password":      {"", []string{"user", "create", "ann"}, "password: This field may not be blank."},
		"a weak password":  {"hendriks1", []string{"user", "set-password", "richard"}, "password: The password is too similar to the last name."},
		"a longer policy":  {"Correct-Horse-9", []string{"user", "create", "ann", "--password-min-length=20"}, "at least 20 characters"},
		"an unknown name":  {"", []string{"user", "show", "nobody"}, `there is no account "nobody"`},
		"an unknown id":    {"", []string{"user", "deactivate", "00000000-0000-4000-8000-000000000000"}, "there is no account"},
		"no UTF-8":         {"gr\xfc\xdfe-horse-9", []string{"user", "create", "ann"}, "is not UTF-8"},
		"no consent":       {"", []string{"user", "delete", "richard"}, "say --yes"},
		"no token named":   {"", []string{"token", "revoke", "richard"}, "by its id, or --all"},
		"an unknown token": {"", []string{"token", "revoke", "richard", "00000000-0000-4000-8000-000000000000"}, "has no token"},
		"password as flag": {"", []string{"user", "create", "ann", "--password=x"}, "unknown flag --password"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := invoke(t, address, test.stdin, test.args...)
			if code != 1 || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 || stdout != "" {
				t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, test.want)
			}
		})
	}
	if shown := must(t, address, "", "user", "list"); strings.Count(shown, "\n") != 2 {
		t.Errorf("a mistake has made an account:\n%s", shown)
	}
}

// What an operator does is in the log as what clients do, in the format that is asked for.
func TestOperatorsAreAudited(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	p := start(t, address, "LOG_FORMAT=json")
	var id, token string
	for _, step := range []struct{ event, stdin, args string }{
		{"registered", "Correct-Horse-9", "user create richard"},
		{"token revoked", "", "token revoke richard TOKEN"},
		{"all tokens revoked", "", "token revoke richard --all"},
		{"password changed", "staple-battery-7", "user set-password richard"},
		{"deactivated", "", "user deactivate richard"},
		{"activated", "", "user activate richard"},
		{"deleted", "", "user delete richard --yes"},
	} {
		args := strings.Fields(strings.ReplaceAll(step.args, "TOKEN", token))
		_, stderr, code := invokeWith(t, []string{"DATABASE_URL=" + address, "LOG_FORMAT=json"}, step.stdin, args...)
		var line struct{ Msg, Event, Account, Address, Token string }
		if err := json.Unmarshal([]byte(stderr), &line); code != 0 || err != nil {
			t.Fatalf("%v: exit code %d, %q, %v", args, code, stderr, err)
		}
		if line.Msg != "audit" || line.Event != step.event || line.Address != "command line" || len(line.Account) != 36 ||
			id != "" && line.Account != id || (line.Token != "") != (step.event == "token revoked") {
			t.Errorf("%v: %+v", args, line)
		}
		if id == "" {
			id = line.Account
			p.send(t, "POST", "/api-token-auth/", "", `{"username":"richard","password":"Correct-Horse-9"}`)
			var tokens []shownToken
			listed := must(t, address, "", "token", "list", "richard", "--json")
			if err := json.Unmarshal([]byte(listed), &tokens); err != nil || len(tokens) != 1 {
				t.Fatalf("tokens %s, %v", listed, err)
			}
			token = tokens[0].ID.String()
		}
	}
}

// The list of tokens leaves out what the server would refuse, by the same settings.
func TestListedTokensAreAlive(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	p := start(t, address)
	p.send(t, "POST", "/api/v1/users/", "", `{"username":"richard","password":"Correct-Horse-9"}`)
	for env, want := range map[string]int{"A=B": 1, "TOKEN_TTL=1us": 0, "TOKEN_IDLE_TTL=1us": 0, "TOKEN_TTL=1h": 1} {
		stdout, stderr, _ := invokeWith(t, []string{"DATABASE_URL=" + address, env}, "", "token", "list", "richard", "--json")
		var tokens []shownToken
		if err := json.Unmarshal([]byte(stdout), &tokens); err != nil || len(tokens) != want {
			t.Errorf("%s: %q, %q, want %d tokens", env, stdout, stderr, want)
		}
	}
	if _, stderr, code := invoke(t, address, "", "token", "list", "richard", "--token-ttl=-1s"); code != 1 || !strings.Contains(stderr, "--token-ttl must not be less than 0") {
		t.Errorf("a negative one: %d, %q", code, stderr)
	}
}
