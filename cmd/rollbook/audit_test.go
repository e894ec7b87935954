package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// auditedCommands are the commands that change accounts or hand out hashes. TestCommandsAreAudited runs each.
var auditedCommands = []string{
	"user create", "user set-password", "user invite", "user activate", "user deactivate", "user delete", "token revoke",
	"throttle clear", "roster import", "roster export", "import django", "copy", "directory sync",
}

// otherCommands change no account, or do so through a server, which audits it.
var otherCommands = []string{"serve", "migrate", "user list", "user show", "token list", "throttle list", "compare", "version"}

// A command that is added later must be in one of the lists.
func TestEveryCommandIsListed(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, leaf := range parser.Model.Leaves(true) {
		names = append(names, strings.TrimPrefix(leaf.Path(), "rollbook "))
	}
	for i, name := range names {
		name, _, _ = strings.Cut(name, " <")
		names[i], _, _ = strings.Cut(strings.TrimPrefix(name, parser.Model.Name+" "), " [")
	}
	want := slices.Sorted(slices.Values(slices.Concat(auditedCommands, otherCommands)))
	if got := slices.Sorted(slices.Values(names)); !slices.Equal(got, want) {
		t.Errorf("there are the commands %q, want %q", got, want)
	}
}

// events returns the audit lines of a log in JSON, as "event KEY=VALUE …" for the keys that say what was done.
func events(t *testing.T, log string, operator string) (events []string) {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["msg"] != "audit" {
			continue
		}
		event := fmt.Sprint(entry["event"])
		if entry["account"] != "unknown" {
			event += " ACCOUNT"
		}
		for _, key := range []string{"source", "result", "fields", "added", "changed", "deactivated", "users"} {
			if value, ok := entry[key]; ok {
				event += fmt.Sprintf(" %s=%v", key, value)
			}
		}
		if entry["actor"] != operator || entry["address"] != commandLine {
			t.Errorf("it does not name the operator %q: %s", operator, line)
		}
		events = append(events, event)
	}
	return events
}

func currentOperator(t *testing.T) string {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return me.Username
}

// djangoDatabase makes a database of Django's with some users, and returns what runs statements on it.
func djangoDatabase(t *testing.T) (address string, run func(statements ...string)) {
	t.Helper()
	address = "sqlite:" + filepath.Join(t.TempDir(), "django.db")
	db := testdb.SQL(t, address)
	run = func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	run(`CREATE TABLE auth_user (id integer primary key, username text, password text, first_name text, last_name text, email text, is_active bool, date_joined datetime)`,
		`CREATE TABLE authtoken_token ("key" text primary key, created datetime, user_id integer references auth_user (id))`)
	for i := range 20 {
		run(fmt.Sprintf(`INSERT INTO auth_user VALUES (%d, 'pupil%d', '!', '', '', 'old%d@school.example', 1, '2024-01-02 03:04:05')`, i, i, i))
	}
	run(`INSERT INTO authtoken_token VALUES ('token-of-pupil-1', '2024-01-02 03:04:05', 1), ('token-of-pupil-2', '2024-01-02 03:04:05', 2)`)
	return address, run
}

// Each command leaves a line for each account that it changes, with the operator, and for the whole of what it does.
func TestCommandsAreAudited(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		ldap, folder := testldap.Start(t), t.TempDir()
		ldap.Add(t, testserver.Password, "lena", "leo")
		p := start(t, address, ldapEnv(ldap)...)
		for _, name := range []string{"lena", "leo"} {
			p.send(t, "POST", "/api-token-auth/", "", `{"username":"`+name+`","password":"`+testserver.Password+`"}`)
		}
		ldap.Remove(t, "leo")
		old, django := djangoDatabase(t)
		first, second := filepath.Join(folder, "first.csv"), filepath.Join(folder, "second.csv")
		const hash = "pbkdf2_sha256$20000$salt$fjBOEZCJo0jWJIv1ZqtOJ/1VCYBJQYdG3VDO9VNt6gM="
		for path, text := range map[string]string{
			first:  "username,first_name,email\nanna,Anna,anna@school.example\nbela,Bela,\n",
			second: "username,first_name,email,password_hash,active\nanna,Anna,new@school.example,,\nbela,Belinda,,,false\ncarl,,," + hash + ",\n",
		} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		operator, tried := currentOperator(t), map[string]bool{}
		for _, step := range []struct {
			args, stdin string
			want        []string
		}{
			{"user create richard", "Correct-Horse-9", []string{"registered ACCOUNT"}},
			{"user set-password richard", "staple-battery-7", []string{"password changed ACCOUNT"}},
			{"user invite richard", "", []string{"invited ACCOUNT"}},
			{"user deactivate richard", "", []string{"deactivated ACCOUNT"}},
			{"user activate richard", "", []string{"activated ACCOUNT"}},
			{"token revoke richard --all", "", []string{"all tokens revoked ACCOUNT"}},
			{"throttle clear --account richard", "", []string{"limits cleared ACCOUNT"}},
			{"user delete richard --yes", "", []string{"deleted ACCOUNT"}},
			{"roster import --dry-run " + first, "", nil},
			{"roster import " + first, "", []string{"import started source=roster", "registered ACCOUNT", "invited ACCOUNT", "registered ACCOUNT", "invited ACCOUNT",
				"import ended source=roster result=done added=2 changed=0 deactivated=0"}},
			{"roster import " + second, "", []string{"import started source=roster", "email changed ACCOUNT fields=email", "profile changed ACCOUNT fields=first_name",
				"deactivated ACCOUNT", "registered ACCOUNT", "import ended source=roster result=done added=1 changed=2 deactivated=0"}},
			{"roster import --deactivate-missing " + first, "", []string{"import started source=roster", "email changed ACCOUNT fields=email",
				"profile changed ACCOUNT fields=first_name", "deactivated ACCOUNT", "import ended source=roster result=done added=0 changed=2 deactivated=1"}},
			{"roster export", "", nil},
			{"roster export --with-hashes", "", []string{"hashes exported"}},
			{"import django --dry-run", "", nil},
			{"import django", "", slices.Concat([]string{"import started source=django"}, slices.Repeat([]string{"registered ACCOUNT"}, 20),
				slices.Repeat([]string{"token imported ACCOUNT"}, 2), []string{"import ended source=django result=done"})},
			{"import django", "CHANGE", []string{"import started source=django", "deleted ACCOUNT", "email changed ACCOUNT fields=username,email", "password changed ACCOUNT",
				"deactivated ACCOUNT", "token revoked ACCOUNT", "import ended source=django result=done"}},
			{"copy --to sqlite:" + filepath.Join(folder, "copy.db"), "", []string{"copy started", "copy ended result=done users=24"}},
			{"copy --to sqlite:" + filepath.Join(folder, "copy.db"), "FAIL", nil}, // refused before anything is read
			{"directory sync --dry-run --ldap-deactivate-at-most=50", "", nil},
			{"directory sync --ldap-deactivate-at-most=50", "", []string{"deactivated ACCOUNT"}},
		} {
			if step.stdin == "CHANGE" {
				django(`DELETE FROM auth_user WHERE id = 0`, `UPDATE auth_user SET username = 'renamed', email = 'new@school.example' WHERE id = 3`,
					`UPDATE auth_user SET password = '`+hash+`', is_active = 0 WHERE id = 4`, `DELETE FROM authtoken_token WHERE user_id = 1`)
			}
			env := append(ldapEnv(ldap), "DATABASE_URL="+address, "DJANGO_DATABASE_URL="+old, "LOG_FORMAT=json")
			args := strings.Fields(step.args)
			tried[strings.Join(args[:min(2, len(args))], " ")], tried[args[0]] = true, true
			if args[0] == "import" {
				args = append(args, "--report", filepath.Join(folder, "report.csv"), "--ids", filepath.Join(folder, "ids.csv"))
			}
			if step.args == "roster import --deactivate-missing "+first {
				args = append(args, "--deactivate-at-most=100")
			}
			_, stderr, code := invokeWith(t, env, step.stdin, args...)
			if got := events(t, stderr, operator); !slices.Equal(got, step.want) || (code != 0) != (step.stdin == "FAIL") {
				t.Errorf("%s: exit code %d\n%s\nwant\n%s\n%s", step.args, code, strings.Join(got, "\n"), strings.Join(step.want, "\n"), stderr)
			}
			if strings.Contains(stderr, "school.example") && !strings.Contains(stderr, "rollbook: ") {
				t.Errorf("%s: the log holds an email address: %s", step.args, stderr)
			}
		}
		for _, command := range auditedCommands {
			if !tried[command] {
				t.Errorf("%s was not tried", command)
			}
		}
	})
}

// The operator is named by the system; sudo's variable is believed of root only, and is bounded.
func TestOperator(t *testing.T) {
	t.Parallel()
	me := currentOperator(t)
	for name, test := range map[string]struct {
		uid, effective int
		env            map[string]string
		want           string
	}{
		"somebody":           {os.Getuid(), 1000, nil, "actor=" + me},
		"who claims sudo":    {os.Getuid(), 1000, map[string]string{"SUDO_USER": "anna"}, "actor=" + me},
		"by sudo":            {os.Getuid(), 0, map[string]string{"SUDO_USER": "anna"}, "actor=" + me + " sudo_user=anna"},
		"by sudo, of AD":     {os.Getuid(), 0, map[string]string{"SUDO_USER": "anna.berg@school.example"}, "actor=" + me + " sudo_user=anna.berg@school.example"},
		"a forged line":      {os.Getuid(), 0, map[string]string{"SUDO_USER": "anna\nactor=x"}, "actor=" + me},
		"too long":           {os.Getuid(), 0, map[string]string{"SUDO_USER": strings.Repeat("a", 65)}, "actor=" + me},
		"a number alone":     {4_000_001, 1000, map[string]string{"USER": "root", "LOGNAME": "root"}, "actor=uid 4000001"},
		"empty, as not sudo": {os.Getuid(), 0, map[string]string{"SUDO_USER": ""}, "actor=" + me},
	} {
		var got []string
		for _, attr := range operatorOf(test.uid, test.effective, func(key string) string { return test.env[key] }) {
			got = append(got, attr.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// At a terminal the audit lines are shown above the progress bar; none is left out.
func TestImportAtATerminalIsAudited(t *testing.T) {
	t.Parallel()
	script := need.Program(t, "script")
	const students = 1200
	path := writeRoster(t, students)
	inner := program(t, []string{"DATABASE_URL=" + testdb.SQLite(t)}, "roster", "import", path)
	cmd := exec.CommandContext(t.Context(), script, "--quiet", "--return", "--command", shellQuoted(inner.Args), os.DevNull)
	cmd.Env = append(inner.Env, "TERM=xterm")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := string(out)
	counts := map[string]int{}
	for _, event := range []server.Event{server.EventRegistered, server.EventInvited, server.EventImportStarted, server.EventImportEnded} {
		name := string(event)
		if strings.Contains(name, " ") {
			name = `"` + name + `"`
		}
		counts[string(event)] = strings.Count(text, "event="+name+" ")
	}
	want := map[string]int{"registered": students, "invited": students / 10, "import started": 1, "import ended": 1}
	if !maps.Equal(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
	if !strings.Contains(text, "importing") {
		t.Error("there was no progress bar")
	}
	for line := range strings.Lines(text) {
		if at := strings.Index(line, "time="); at > 0 && !strings.HasSuffix(line[:at], clearLine) && !strings.HasSuffix(line[:at], "\r") {
			t.Fatalf("a line of the log is behind the bar: %q", line)
		}
	}
}

func shellQuoted(args []string) string {
	var quoted []string
	for _, arg := range args {
		quoted = append(quoted, "'"+strings.ReplaceAll(arg, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}

// The bar is cleared before lines of the log, and only then.
func TestLinesClearTheBar(t *testing.T) {
	t.Parallel()
	var to strings.Builder
	s := &screen{to: &to}
	for _, text := range []string{"first\n", "second\n"} {
		_, _ = io.WriteString(s, text)
	}
	_, _ = io.WriteString(barEnd{s}, "\rbar 10%")
	for _, text := range []string{"third\n", "fourth\n"} {
		_, _ = io.WriteString(s, text)
	}
	if got, want := to.String(), "first\nsecond\n\rbar 10%"+clearLine+"third\nfourth\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A server that ends writes what it has counted.
func TestServerEndsWithItsCounts(t *testing.T) {
	t.Parallel()
	p := start(t, testdb.SQLite(t), "LOG_FORMAT=json", "LOGIN_REFUSE_AFTER=0", "LOGIN_THROTTLE=1", "LOGIN_BACKOFF=1h", "LOGIN_BACKOFF_MAX=1h")
	const throttled = 50
	for range 1 + throttled {
		p.send(t, "POST", "/api-token-auth/", "", `{"username":"richard","password":"wrong"}`)
	}
	p.stop(t)
	lines, sum := 0, 0
	for line := range strings.Lines(p.Log.String()) {
		var entry struct {
			Event, Limit string
			Status       int
			Count        int
		}
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Event != "throttled" && entry.Status != 429 {
			continue
		}
		lines, sum = lines+1, sum+entry.Count
		if entry.Event != "" && entry.Limit == "" {
			t.Errorf("it does not name the limit: %s", line)
		}
	}
	const most = 5 // the first with its request, a line each minute, and the last
	if sum != throttled || lines > most {
		t.Errorf("%d lines count %d events, want %d: %s", lines, sum, throttled, p.Log)
	}
}
