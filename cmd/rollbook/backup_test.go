package main

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rollbook/rollbook/test/pasted"
	"github.com/rollbook/rollbook/test/testdb"
)

const credentials = `{"username":"u","password":"Correct-Horse-9"}`

// signedIn are tokens of an account u.
type signedIn struct{ kept, ended string }

// live registers u, who then has two tokens and ends one.
func live(t *testing.T, p process) (tokens signedIn) {
	t.Helper()
	tokens = signedIn{kept: register(t, p, "u")}
	_, members := p.send(t, "POST", "/api-token-auth/", "", credentials)
	tokens.ended, _ = members["token"].(string)
	if status, members := p.send(t, "POST", "/api-token-logout/", tokens.ended, ""); status != http.StatusNoContent {
		t.Fatalf("log out: %d %v", status, members)
	}
	return tokens
}

// register makes an account and returns its token.
func register(t *testing.T, p process, name string) string {
	t.Helper()
	status, members := p.send(t, "POST", "/api/v1/users/", "", `{"username":"`+name+`","password":"Correct-Horse-9"}`)
	if status != http.StatusCreated {
		t.Fatalf("register %s: %d %v", name, status, members)
	}
	return members["auth_token"].(string)
}

// accepts fails the test where a token is answered otherwise.
func (p process) accepts(t *testing.T, what, token string, want int) {
	t.Helper()
	if status, members := p.send(t, "GET", "/api/v1/users/me/", token, ""); status != want {
		t.Errorf("%s: %d %v, want %d", what, status, members, want)
	}
}

// livesOn fails the test where the account that has lived is not as it was.
func (p process) livesOn(t *testing.T, tokens signedIn) {
	t.Helper()
	if status, members := p.send(t, "POST", "/api-token-auth/", "", credentials); status != http.StatusOK {
		t.Errorf("the password of before: %d %v", status, members)
	}
	p.accepts(t, "a token of before", tokens.kept, http.StatusOK)
	p.accepts(t, "a token that was ended before", tokens.ended, http.StatusUnauthorized)
}

// stop tells the server to end and waits for it.
func (p process) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(p.Cmd.Process.Signal(syscall.SIGTERM), p.Cmd.Wait()); err != nil {
		t.Fatal(err)
	}
}

// kill ends the server at once.
func (p process) kill(t *testing.T) {
	t.Helper()
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Cmd.Wait() // it was killed
}

const backupBlocks = 5 // three for PostgreSQL, two for SQLite

func TestBackupOfPostgres(t *testing.T) {
	t.Parallel()
	blocks := pasted.Commands(t, "../../docs/operating.md", "Backup and restore", backupBlocks)
	address, folder := testdb.Postgres(t), t.TempDir()
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	user, name := at.User.Username(), strings.TrimPrefix(at.Path, "/")
	paste := func(commands string) {
		t.Helper()
		const admin = `--maintenance-db="$ADMIN_URL" `
		commands = strings.NewReplacer(admin+"rollbook\n", admin+name+"\n", "--owner=rollbook rollbook\n", "--owner="+user+" "+name+"\n").Replace(commands)
		pasted.Shell(t, folder, commands, "DATABASE_URL="+address, "ADMIN_URL="+testdb.PostgresAdmin(t),
			"PATH="+testdb.PostgresPrograms(t)+":"+os.Getenv("PATH"))
	}

	p := start(t, address)
	tokens := live(t, p)
	paste(blocks[0])
	late := register(t, p, "late")
	if status, _ := p.send(t, "POST", "/api-token-logout/", tokens.kept, ""); status != http.StatusNoContent {
		t.Fatalf("log out: %d", status)
	}
	p.stop(t)
	paste(blocks[1])
	p = start(t, address)
	p.livesOn(t, tokens) // also what was ended after the backup, as the page says
	p.accepts(t, "an account made after the backup", late, http.StatusUnauthorized)
	p.stop(t)
	paste(blocks[2])
	p = start(t, address)
	p.accepts(t, "a token once all are ended", tokens.kept, http.StatusUnauthorized)
	p.stop(t)
}

func TestBackupOfSQLite(t *testing.T) {
	t.Parallel()
	blocks := pasted.Commands(t, "../../docs/operating.md", "Backup and restore", backupBlocks)
	for name, end := range map[string]func(process, *testing.T){"stopped": process.stop, "killed": process.kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			address := "sqlite:" + filepath.Join(folder, "rollbook.db")
			p := start(t, address)
			tokens := live(t, p)
			end(p, t)
			_, err := os.Stat(filepath.Join(folder, "rollbook.db-wal"))
			if alone := errors.Is(err, fs.ErrNotExist); alone != (name == "stopped") {
				t.Errorf("the file is alone: %t, %v", alone, err)
			}
			pasted.Shell(t, folder, blocks[3])
			p = start(t, address)
			late := register(t, p, "late")
			p.kill(t) // so that what must not stay beside the restored file is there
			pasted.Shell(t, folder, blocks[4])
			p = start(t, address)
			p.livesOn(t, tokens)
			p.accepts(t, "an account made after the backup", late, http.StatusUnauthorized)
			p.stop(t)
		})
	}
}
