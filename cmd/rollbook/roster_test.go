package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/test/testdb"
)

// writeRoster writes a roster of so many students, each tenth of whom has no password, with other lines in between from the
// middle on, and returns its path.
func writeRoster(t *testing.T, students int, others ...string) string {
	t.Helper()
	var text bytes.Buffer
	text.WriteString("username,first_name,last_name,email,password_hash\n")
	for i := range students {
		hash := "pbkdf2_sha256$20000$salt$fjBOEZCJo0jWJIv1ZqtOJ/1VCYBJQYdG3VDO9VNt6gM="
		if i%10 == 0 {
			hash = ""
		}
		if n := i - students/2; n >= 0 && n < len(others) {
			text.WriteString(others[n])
		}
		fmt.Fprintf(&text, "student%06d,First %d,Last,s%d@school.example,%s\n", i, i, i, hash)
	}
	path := filepath.Join(t.TempDir(), "roster.csv")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An import that is killed, again and again, and then run to its end, has made what one clean run makes, and its report
// has every code.
func TestKilledImport(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		const students, kills = 2500, 4
		path := writeRoster(t, students)
		clean := testdb.SQLite(t)
		must(t, clean, "", "roster", "import", path, "--report", filepath.Join(t.TempDir(), "clean.csv"))
		for n := range kills {
			cmd := program(t, []string{"DATABASE_URL=" + address}, "roster", "import", path)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// Somewhere in its nth part, and never so late that it could have ended.
			waitForStudent(t, address, (n*students+rand.N(students))/(kills+1))
			time.Sleep(rand.N(10 * time.Millisecond))
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if cmd.Wait() == nil {
				t.Error("it was not killed before its end")
			}
		}
		must(t, address, "", "roster", "import", path)
		want, got := must(t, clean, "", "roster", "export", "--with-hashes"), must(t, address, "", "roster", "export", "--with-hashes")
		if got != want {
			t.Errorf("the accounts are others, in %d bytes and not %d", len(got), len(want))
		}
		wantCodes(t, address, strings.TrimSuffix(path, ".csv")+".report.csv", students/10)
	})
}

// waitForStudent returns once the student of a roster's line, has an account.
func waitForStudent(t *testing.T, address string, line int) {
	t.Helper()
	db := testdb.Open(t, address)
	name := fmt.Sprintf("student%06d", line)
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		found, err := db.Users().ByUsernames(t.Context(), []string{name})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("there is no %s after a minute", name)
		}
	}
}

// wantCodes fails the test where a report has not so many codes, or one is not that of its account.
func wantCodes(t *testing.T, address, report string, want int) {
	t.Helper()
	db := testdb.Open(t, address)
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	var names []string
	for _, row := range rows[1:] {
		if row[4] != "" {
			codes[row[1]], names = row[4], append(names, row[1])
		}
	}
	if len(codes) != want {
		t.Fatalf("the report has %d codes, want %d", len(codes), want)
	}
	users, err := db.Users().ByUsernames(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	var ids []uuid.UUID
	for _, user := range users {
		ids = append(ids, user.ID)
	}
	stored, err := db.Codes().Of(t.Context(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	for name, code := range codes {
		if !stored[users[name].ID].Is(code) {
			t.Errorf("the code of %s is another", name)
		}
	}
}

// What operators see: a table, counts, where the report is, and what is wrong.
func TestRosterCommands(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	p := start(t, address, "REGISTRATION=closed", "LOGIN_REFUSE_AFTER=0")
	path := filepath.Join(t.TempDir(), "5a.csv")
	if err := os.WriteFile(path, []byte("Username;Email\nanna;a@x.org\nbela;nope\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	report := strings.TrimSuffix(path, ".csv") + ".report.csv"
	stdout, stderr, code := invoke(t, address, "", "roster", "import", path, "--dry-run")
	if want := "LINE  RESULT  USERNAME  REASON\n2     added   anna      \n3     wrong   bela      email: Enter a valid email address.\nto do: 1 added, 0 changed, 0 deactivated; 0 unchanged, 1 wrong\n"; code != 1 || stdout != want {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = invoke(t, address, "", "roster", "import", path)
	if want := "done: 1 added, 0 changed, 0 deactivated; 0 unchanged, 1 wrong\nreport: " + report + "\n"; code != 1 || stdout != want ||
		!strings.Contains(stderr, `event=registered`) || !strings.HasSuffix(stderr, "rollbook: 1 lines are wrong and were left out\n") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][4] == "" {
		t.Fatalf("the report is %s, %v", text, err)
	}
	if strings.Contains(stderr+p.Log.String(), rows[1][4]) {
		t.Error("a log holds the code")
	}
	set := `{"username":"anna","code":"` + rows[1][4] + `","new_password":"staple-battery-7"}`
	if status, answer := p.send(t, "POST", "/api/v1/users/password/", "", set); status != 204 {
		t.Errorf("set the password: %d %v", status, answer)
	}
	if status, answer := p.send(t, "POST", "/api-token-auth/", "", `{"username":"anna","password":"staple-battery-7"}`); status != 200 {
		t.Errorf("log in: %d %v", status, answer)
	}
	for want, args := range map[string][]string{
		"there is no column username":       {"roster", "import", report[:len(report)-len("report.csv")] + "nothing.csv"},
		"must be from 0 to 100":             {"roster", "import", path, "--deactivate-at-most=101"},
		"--code-ttl must be more than 0":    {"roster", "import", path, "--code-ttl=0"},
		"--password-min-length must be":     {"roster", "import", path, "--password-min-length=1"},
		"1 of 1 active accounts are not on": {"roster", "import", path[:len(path)-len("5a.csv")] + "other.csv", "--deactivate-missing"},
		"no such file":                      {"roster", "import", path + "x"},
	} {
		for name, content := range map[string]string{"5a.nothing.csv": "x\n", "other.csv": "username\nbob\n"} {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if stdout, stderr, code := invoke(t, address, "", args...); code != 1 || !strings.Contains(stderr, want) || stdout != "" {
			t.Errorf("%v: exit code %d, %s%s; want %s", args, code, stdout, stderr, want)
		}
	}
}

func TestInvite(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		p := start(t, address, "LOGIN_REFUSE_AFTER=0")
		must(t, address, "Correct-Horse-9", "user", "create", "richard")
		shown := must(t, address, "", "user", "invite", "richard", "--code-ttl=1h")
		lines := strings.Split(strings.TrimSpace(shown), "\n")
		if len(lines) != 2 || len(strings.Fields(lines[1])) != 4 {
			t.Fatalf("shown\n%s", shown)
		}
		first := strings.Fields(lines[1])[1]
		second := strings.Fields(strings.Split(must(t, address, "", "user", "invite", "richard"), "\n")[1])[1]
		for _, try := range []struct {
			code string
			want int
		}{{first, 400}, {second, 204}, {second, 400}} {
			status, answer := p.send(t, "POST", "/api/v1/users/password/", "", `{"username":"richard","code":"`+try.code+`","new_password":"staple-battery-7"}`)
			if status != try.want {
				t.Errorf("got %d %v, want %d", status, answer, try.want)
			}
		}
		must(t, address, "", "user", "deactivate", "richard")
		if _, stderr, code := invoke(t, address, "", "user", "invite", "richard"); code != 1 || !strings.Contains(stderr, "activate it first") {
			t.Errorf("exit code %d, %s", code, stderr)
		}
	})
}
