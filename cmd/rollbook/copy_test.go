package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
)

// people stores so many accounts with a token each in an SQLite file.
func people(t testing.TB, address string, many int) {
	t.Helper()
	db := testdb.SQL(t, address)
	const id = `lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))`
	for _, statement := range []string{
		`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
		 INSERT INTO users (id, username, first_name, last_name, email, password, is_active, created_at, updated_at)
		 SELECT ` + id + `, 'user' || i, 'First', 'Last', 'user' || i || '@school.example', '$argon2id$v=19$m=19456,t=2,p=1$' || hex(randomblob(11)) || '$' || hex(randomblob(21)),
		 i % 10 > 0, '2026-01-02 03:04:05.678901+00:00', '2026-01-02 03:04:05.678901+00:00' FROM n`,
		`INSERT INTO tokens (id, user_id, digest, client, created_at, last_used_at)
		 SELECT ` + id + `, id, randomblob(32), 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0)', created_at, created_at FROM users LIMIT $1`,
	} {
		if _, err := db.ExecContext(t.Context(), statement, many); err != nil {
			t.Fatal(err)
		}
	}
}

// What was made at a server on SQLite works at one on PostgreSQL, and what did not work does not: the clients notice nothing.
func TestCopyMovesEverybody(t *testing.T) {
	t.Parallel()
	from, to := testdb.SQLite(t), testdb.Postgres(t)
	const registration = `{"username":"richard","password":"Correct-Horse-9"}`
	const guess = `{"username":"guessed","password":"wrong"}`
	old := start(t, from, "LOGIN_REFUSE_AFTER=0", "LOGIN_BACKOFF=1h", "LOGIN_BACKOFF_MAX=1h")
	_, made := old.send(t, "POST", "/api/v1/users/", "", registration)
	token, _ := made["auth_token"].(string)
	_, login := old.send(t, "POST", "/api-token-auth/", "", registration)
	revoked, _ := login["token"].(string)
	old.send(t, "POST", "/api-token-logout/", revoked, "")
	must(t, from, "", "user", "create", "invited", "--no-password")
	code := strings.Fields(must(t, from, "", "user", "invite", "invited"))[4]
	for range 6 {
		old.send(t, "POST", "/api-token-auth/", "", guess)
	}

	copied := must(t, from, "", "copy", "--to", to) // while the old server runs
	if !regexp.MustCompile(`^copied 2 users\ncopied 1 tokens\ncopied 1 codes\ncopied \d+ throttles\ncopied 2 secrets\ncopied 0 imports\ncopied 0 jobs\n$`).MatchString(copied) {
		t.Errorf("it says %s", copied)
	}

	fresh := start(t, to, "LOGIN_REFUSE_AFTER=0", "LOGIN_BACKOFF=1h", "LOGIN_BACKOFF_MAX=1h")
	if status, me := fresh.send(t, "GET", "/api/v1/users/me/", token, ""); status != http.StatusOK || me["id"] != made["id"] || made["id"] == nil {
		t.Errorf("the old token: %d %v", status, me)
	}
	for what, test := range map[string]struct {
		method, path, token, body string
		want                      int
	}{
		"the old password":  {"POST", "/api-token-auth/", "", registration, http.StatusOK},
		"a wrong password":  {"POST", "/api-token-auth/", "", `{"username":"richard","password":"wrong"}`, http.StatusBadRequest},
		"a revoked token":   {"GET", "/api/v1/users/me/", revoked, "", http.StatusUnauthorized},
		"a one-time code":   {"POST", "/api/v1/users/password/", "", `{"username":"invited","code":"` + code + `","new_password":"staple-battery-7"}`, http.StatusNoContent},
		"a throttled login": {"POST", "/api-token-auth/", "", guess, http.StatusTooManyRequests},
		"a taken name":      {"POST", "/api/v1/users/", "", registration, http.StatusBadRequest},
	} {
		if status, answer := fresh.send(t, test.method, test.path, test.token, test.body); status != test.want {
			t.Errorf("%s: %d %v, want %d", what, status, answer, test.want)
		}
	}
}

// A copy that is killed, or told to end, in the middle leaves nothing, and the next one is whole.
func TestKilledCopy(t *testing.T) {
	t.Parallel()
	const accounts = 1500
	source := testdb.SQLite(t)
	people(t, source, accounts)
	for name, test := range map[string]struct {
		fresh func(testing.TB) string
		hold  func(t *testing.T, address string) (reached func() bool, release func())
	}{
		"sqlite":   {testdb.SQLite, holdSQLite},
		"postgres": {testdb.Postgres, holdPostgres},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := test.fresh(t)
			for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
				reached, release := test.hold(t, to)
				killed(t, source, to, signal, reached)
				release()
				var left int
				if err := testdb.SQL(t, to).QueryRowContext(t.Context(), "SELECT count(*) FROM users").Scan(&left); err != nil || left != 0 {
					t.Errorf("%s left %d accounts, %v", signal, left, err)
				}
			}
			copied := must(t, source, "", "copy", "--to", to)
			if want := fmt.Sprintf("copied %d users\ncopied %d tokens\n", accounts, accounts); !strings.HasPrefix(copied, want) {
				t.Errorf("it says %s", copied)
			}
		})
	}
}

// killed starts a copy and sends it a signal once it has come so far.
func killed(t *testing.T, from, to string, signal syscall.Signal, reached func() bool) {
	t.Helper()
	cmd := program(t, []string{"DATABASE_URL=" + from, "TO_DATABASE_URL=" + to, "DB_TIMEOUT=1m"}, "copy")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !reached(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come so far in a minute")
		}
	}
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if err == nil || stdout.Len() > 0 {
		t.Errorf("%s came too late: it says %s", signal, stdout.String())
	}
	text := stderr.String()
	if signal == syscall.SIGINT && (exitCode(err) != 1 || !strings.HasSuffix(text, "it was left as it was\n") || strings.Count(text, "\n") != 1) {
		t.Errorf("exit code %d, %q", exitCode(err), text)
	}
}

// holdSQLite keeps a copy from storing its first token, until it is released. It is reached where the file is locked.
func holdSQLite(t *testing.T, address string) (reached func() bool, release func()) {
	t.Helper()
	db := testdb.SQL(t, address)
	db.SetMaxOpenConns(1) // that of the pragma
	do := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	do("CREATE VIEW endless AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
		"CREATE TRIGGER hold BEFORE INSERT ON tokens BEGIN SELECT max(i) FROM endless; END", "PRAGMA busy_timeout = 0")
	reached = func() bool {
		if _, err := db.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
			return strings.Contains(err.Error(), "locked")
		}
		do("ROLLBACK")
		return false
	}
	return reached, func() { do("PRAGMA busy_timeout = 5000", "DROP TRIGGER hold", "DROP VIEW endless") }
}

// holdPostgres keeps a copy from storing its first token, until it is released. It is reached where somebody waits for that.
func holdPostgres(t *testing.T, address string) (reached func() bool, release func()) {
	t.Helper()
	db := testdb.SQL(t, address)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE tokens IN SHARE MODE"); err != nil { // they may be counted
		t.Fatal(err)
	}
	reached = func() (waiting bool) {
		err := db.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'tokens'::regclass)").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		return waiting
	}
	return reached, func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// Times in SQLite are compared as text: they are stored in UTC, wherever the machine is.
func TestCopiedTimesAreUTC(t *testing.T) {
	t.Parallel()
	from, to := testdb.Postgres(t), testdb.SQLite(t)
	must(t, from, "", "user", "create", "richard", "--no-password")
	must(t, from, "", "user", "invite", "richard")
	if _, stderr, code := invokeWith(t, []string{"DATABASE_URL=" + from, "TZ=Asia/Kolkata"}, "", "copy", "--to", to); code != 0 {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	var created, expires string
	err := testdb.SQL(t, to).QueryRowContext(t.Context(), "SELECT created_at || '', expires_at || '' FROM users JOIN codes ON user_id = id").Scan(&created, &expires)
	if err != nil || !strings.HasSuffix(created, "+00:00") || !strings.HasSuffix(expires, "+00:00") {
		t.Errorf("stored %s and %s, %v", created, expires, err)
	}
}

func TestCopyExplainsMistakes(t *testing.T) {
	t.Parallel()
	from, full := testdb.SQLite(t), testdb.SQLite(t)
	for _, address := range []string{from, full} {
		must(t, address, "", "user", "create", "richard", "--no-password")
	}
	for name, test := range map[string]struct{ from, to, want string }{
		"no target":      {from, "", "missing flags: --to=URL"},
		"one database":   {from, from, "is the database to copy from: name another one to copy to"},
		"a full target":  {from, full, "it is not empty, but has 1 users: name a fresh database; it was left as it was"},
		"nobody there":   {from, "postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable", "the database to copy to: cannot reach the database"},
		"bad password":   {from, "postgres://u:hunter2@x@127.0.0.1:1/d", "the database to copy to: read the database address: write @ / ? #"},
		"bad address":    {from, "mysql://u:hunter2@h/d", "the database to copy to: the database address must begin with postgres://"},
		"empty source":   {"sqlite:typo.db", testdb.SQLite(t), "sqlite:typo.db is empty: there is nothing to copy"},
		"closed source":  {"postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable", full, "cannot reach the database"},
		"missing folder": {from, "sqlite:/no/such/x.db", "the database to copy to: open the database file"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"copy"}
			if test.to != "" {
				args = append(args, "--to", test.to)
			}
			stdout, stderr, code := invoke(t, test.from, "", args...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "hunter2") {
				t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, test.want)
			}
		})
	}
}

// How long a copy of a hundred thousand accounts with a token each takes, and how much memory:
// `go test ./cmd/rollbook -run '^$' -bench Copy -benchtime 1x`.
func BenchmarkCopy(b *testing.B) {
	const accounts = 100_000
	source := testdb.SQLite(b)
	people(b, source, accounts)
	for name, fresh := range map[string]func(testing.TB) string{"postgres": testdb.Postgres, "sqlite": testdb.SQLite} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				target := fresh(b)
				cmd := program(b, []string{"DATABASE_URL=" + source, "TO_DATABASE_URL=" + target}, "copy")
				began := time.Now()
				out, err := cmd.CombinedOutput()
				if err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				used := cmd.ProcessState
				b.Logf("%s, of which it has computed %s; %d MB; %d bytes of disk for an account with a token", time.Since(began).Round(100*time.Millisecond),
					(used.UserTime() + used.SystemTime()).Round(100*time.Millisecond), used.SysUsage().(*syscall.Rusage).Maxrss>>10,
					diskUsed(b, target)/accounts)
			}
		})
	}
}

// diskUsed returns how large a database is, in bytes.
func diskUsed(t testing.TB, address string) (bytes int64) {
	t.Helper()
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), "SELECT pg_database_size(current_database())").Scan(&bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}
