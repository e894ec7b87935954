package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/testdb"
)

// Two servers that answer alike are said to; where they do not, the exit code is 1. No token is told.
func TestCompareCommand(t *testing.T) {
	t.Parallel()
	old := start(t, testdb.SQLite(t), "REGISTER_THROTTLE=0", "LOGIN_THROTTLE=0", "LOGIN_REFUSE_AFTER=0")
	fresh := start(t, testdb.SQLite(t), "REGISTER_THROTTLE=0", "LOGIN_THROTTLE=0", "LOGIN_REFUSE_AFTER=0")
	closed := start(t, testdb.SQLite(t), "REGISTRATION=closed", "LOGIN_THROTTLE=0", "LOGIN_REFUSE_AFTER=0")
	_, members := old.send(t, "POST", "/api/v1/users/", "", `{"username":"u","password":"Correct-Horse-9"}`)
	id, token := members["id"].(string), members["auth_token"].(string)
	stdout, stderr, code := invokeWith(t, []string{"COMPARE_TOKEN=" + token}, id+"\n\n", "compare", "--old="+old.URL, "--new="+fresh.URL+"/")
	if code != 0 || stdout != "77 cases and reads: 0 differences that docs/differences.md explains, 0 unexplained\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	stdout, stderr, code = invokeWith(t, []string{"COMPARE_TOKEN=" + token}, id+"\n\n", "compare", "--old="+old.URL, "--new="+old.URL, "--no-cases", "--ids=-")
	if code != 0 || stdout != "1 cases and reads: 0 differences that docs/differences.md explains, 0 unexplained\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	ids := filepath.Join(t.TempDir(), "ids.csv")
	if err := os.WriteFile(ids, []byte("django_id,id,username\n"+id+","+id+",u\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code = invokeWith(t, []string{"COMPARE_TOKEN=" + token}, "", "compare", "--old="+old.URL, "--new="+closed.URL, "--no-cases", "--ids="+ids)
	if want := "unexplained: GET /api/v1/users/" + id + "/: the status is 401, DRF's was 200; "; code != 1 || !strings.HasPrefix(stdout, want) ||
		!strings.Contains(stdout, "1 cases and reads: 0 differences that docs/differences.md explains, 1 unexplained\n") || strings.Contains(stdout+stderr, token) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	stdout, _, code = invokeWith(t, nil, "", "compare", "--old="+old.URL, "--new="+closed.URL)
	if code != 1 || !strings.Contains(stdout, "unexplained: register / seed example, step 1: the status is 403, DRF's was 201") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
	throttled := start(t, testdb.SQLite(t), "REGISTER_THROTTLE=10", "LOGIN_THROTTLE=0", "LOGIN_REFUSE_AFTER=0")
	if _, stderr, code := invokeWith(t, nil, "", "compare", "--old="+old.URL, "--new="+throttled.URL); code != 1 || !strings.Contains(stderr, "were throttled, so that it is not known") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for want, args := range map[string][]string{
		"ask the new server":    {"--old=" + old.URL, "--new=http://127.0.0.1:1"},
		"missing flags: --new":  {"--old=" + old.URL},
		"no such file or direc": {"--old=" + old.URL, "--new=" + old.URL, "--no-cases", "--ids=nothing.txt"},
	} {
		if _, stderr, code := invokeWith(t, nil, "", append([]string{"compare"}, args...)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %s; want %s", args, code, stderr, want)
		}
	}
}

func TestImportCommandExplains(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	for want, args := range map[string][]string{
		"missing flags: --from":       nil,
		"--gone-at-most must be from": {"--from=sqlite:x", "--gone-at-most=101"},
		"no such file or directory":   {"--from=sqlite:x"},
		"must begin with postgres://": {"--from=mysql://u:hunter2@h/d"},
	} {
		stdout, stderr, code := invoke(t, address, "", append([]string{"import", "django"}, args...)...)
		if code != 1 || !strings.Contains(stderr, want) || strings.Contains(stderr, "hunter2") || stdout != "" {
			t.Errorf("%v: exit code %d, %s%s; want %s", args, code, stdout, stderr, want)
		}
	}
}
