package django_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/pasted"
	"github.com/rollbook/rollbook/test/testdb"
)

// largeService fills the tables of a service over PostgreSQL with so many users, each with a token, and returns its address.
func largeService(t testing.TB, users int) string {
	t.Helper()
	from := testdb.EmptyPostgres(t)
	newService(t, from, false).fill()
	db, err := sql.Open("pgx", from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range []string{
		`INSERT INTO accounts_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
		 SELECT gen_random_uuid(), 'pbkdf2_sha256$260000$' || md5(n::text) || '$fjBOEZCJo0jWJIv1ZqtOJ/1VCYBJQYdG3VDO9VNt6gM=', false,
		 'user' || n, 'First ' || n, 'Last', 'user' || n || '@school.example', false, true, now() FROM generate_series(1, $1::int) n`,
		`INSERT INTO authtoken_token (key, created, user_id) SELECT substr(encode(sha256(id::text::bytea), 'hex'), 1, 40), now(), id FROM accounts_user LIMIT $1`,
	} {
		if _, err := db.ExecContext(t.Context(), statement, users); err != nil {
			t.Fatal(err)
		}
	}
	return from
}

// importer is the command that moves in, in a folder.
func importer(t testing.TB, program, folder, from, to string) *exec.Cmd {
	t.Helper()
	path, _, _ := strings.Cut(strings.TrimPrefix(program, "PATH="), ":")
	cmd := exec.CommandContext(t.Context(), filepath.Join(path, "rollbook"), "import", "django")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "DJANGO_DATABASE_URL="+from, "DATABASE_URL="+to)
	return cmd
}

// An import that is killed, again and again, and then run to its end, has taken everything over, once.
func TestLongKilledMove(t *testing.T) {
	need.Long(t)
	t.Parallel()
	const users = 8000
	python(t) // before it is built
	program, from, folder := pasted.Program(t, "../../cmd/rollbook"), largeService(t, users), t.TempDir()
	to := testdb.Postgres(t)
	db, err := sql.Open("pgx", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for n, table := range []string{"users", "users", "tokens", "tokens"} {
		cmd := importer(t, program, folder, from, to)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitForRows(t, db, table, (n%2*users+rand.N(users))/3) // never so late that it could have ended
		time.Sleep(rand.N(10 * time.Millisecond))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() == nil {
			t.Error("it was not killed before its end")
		}
	}
	if out, err := importer(t, program, folder, from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := importer(t, program, folder, from, to).Output() // without the log
	want := fmt.Sprintf("accounts_user: 0 added, 0 changed, %d unchanged, 0 removed, 0 left out, 0 without password\nauthtoken_token: 0 added, 0 changed, %d unchanged, 0 removed, 0 left out, 0 without password\n", users, users)
	if err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("%v: got %s, want %s", err, out, want)
	}
	var accounts, tokens int
	if err := db.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM tokens)").Scan(&accounts, &tokens); err != nil || accounts != users || tokens != users {
		t.Errorf("%d accounts and %d tokens, %v", accounts, tokens, err)
	}
}

// waitForRows returns once a table has so many rows.
func waitForRows(t *testing.T, db *sql.DB, table string, rows int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		var found int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&found); err != nil {
			t.Fatal(err)
		}
		if found >= rows {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s has %d rows after a minute, not %d", table, found, rows)
		}
	}
}

// A million users are taken over in less than five minutes, in bounded memory; and again in less time. It takes so long that it
// is a benchmark: `go test ./test/django -run '^$' -bench Million -benchtime 1x -timeout 20m`.
func BenchmarkMillion(b *testing.B) {
	const users, most, mostMemory = 1_000_000, 5 * time.Minute, 300 << 20
	for b.Loop() {
		program, from, folder, to := pasted.Program(b, "../../cmd/rollbook"), largeService(b, users), b.TempDir(), testdb.Postgres(b)
		for _, run := range []string{"the first run", "the second run"} {
			cmd, began := importer(b, program, folder, from, to), time.Now()
			out, err := cmd.CombinedOutput()
			took, memory := time.Since(began), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10
			b.Logf("%s: %s, %d MB: %s", run, took.Round(time.Second), memory>>20, out)
			if err != nil || took > most || memory > mostMemory {
				b.Errorf("%v; %s and %d MB", err, took, memory>>20)
			}
		}
	}
}
