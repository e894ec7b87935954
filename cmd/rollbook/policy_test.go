package main

import (
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/testdb"
)

// The settings of the policy hold on every path by which a password is set.
func TestPolicyOnEveryPath(t *testing.T) {
	t.Parallel()
	const breached, common = "battery-staple-77", "This password is too common."
	list := filepath.Join(t.TempDir(), "breached.txt")
	line := fmt.Sprintf("%X:3\n", sha1.Sum([]byte(breached)))
	if err := os.WriteFile(list, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	testdb.Each(t, func(t *testing.T, address string) {
		env := []string{"DATABASE_URL=" + address, "PASSWORD_WORDS=Springfield,Rollbook", "PASSWORD_BREACHED_FILE=" + list}
		p := start(t, address, env[1:]...)
		if _, stderr, code := invokeWith(t, env, "Correct-Horse-9", "user", "create", "richard"); code != 0 {
			t.Fatal(stderr)
		}
		for plain, message := range map[string]string{
			breached: common, "springfield1": common, "r0llb00k-2026": common, "password1234": common, "        ": "This field may not be blank.",
		} {
			status, answer := p.send(t, "POST", "/api/v1/users/", "", `{"username":"monica","password":"`+plain+`"}`)
			if status != 400 || !strings.Contains(fmt.Sprint(answer), message) {
				t.Errorf("register with %q: %d %v", plain, status, answer)
			}
			for _, args := range [][]string{{"user", "create", "monica"}, {"user", "set-password", "richard"}} {
				if _, stderr, code := invokeWith(t, env, plain, args...); code != 1 || !strings.Contains(stderr, "password: "+message) {
					t.Errorf("%v with %q: %d %s", args, plain, code, stderr)
				}
			}
			if strings.TrimSpace(plain) == "" { // a blank cell means that there is no password
				continue
			}
			roster := filepath.Join(t.TempDir(), "roster.csv")
			if err := os.WriteFile(roster, []byte("username,password\nmonica,"+plain+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := invokeWith(t, env, "", "roster", "import", roster, "--dry-run")
			if code != 1 || !strings.Contains(stdout, "password: "+message) {
				t.Errorf("roster with %q: %d %s %s", plain, code, stdout, stderr)
			}
		}
	})
}

// A list that cannot be used ends the program with one clear line.
func TestBreachedFileIsChecked(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{"ntlm.txt": strings.Repeat("0", 32) + ":1\n", "empty.txt": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{
		"none.txt": "no such file", "ntlm.txt": "NTLM", "empty.txt": "it is empty", "": "not a regular file",
	} {
		env := []string{"DATABASE_URL=" + testdb.SQLite(t), "ADDR=127.0.0.1:0", "PASSWORD_BREACHED_FILE=" + folder + "/" + file}
		for _, args := range [][]string{{"serve"}, {"user", "create", "ann"}} {
			_, stderr, code := invokeWith(t, env, "Correct-Horse-9", args...)
			if code != 1 || !strings.HasPrefix(stderr, "rollbook: ") || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%v with %q: %d %q", args, file, code, stderr)
			}
		}
	}
}
