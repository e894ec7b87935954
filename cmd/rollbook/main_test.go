package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// asProgram makes the test binary be the program itself, for tests that need it as a process of its own.
const asProgram = "ROLLBOOK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program returns a command that runs rollbook in an empty folder, with nothing in its environment but what is given.
func program(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(env, asProgram+"=1")
	return cmd
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

// process is a running server.
type process struct {
	cmd     *exec.Cmd
	base    string
	log     *testserver.Log
	secrets *testserver.Secrets
}

// start runs `rollbook serve` on a free port and waits for its start message. In what it prints there may be no secret.
func start(t *testing.T, address string, env ...string) process {
	t.Helper()
	cmd := program(t, append(env, "ADDR=127.0.0.1:0", "DATABASE_URL="+address), "serve")
	log, secrets := &testserver.Log{}, &testserver.Secrets{}
	t.Cleanup(func() { secrets.Check(t, log.String()) })
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == "API" {
			go func() { _, _ = io.Copy(log, out) }() // until the process ends
			return process{cmd, strings.TrimSuffix(words[1], "/api/v1/"), log, secrets}
		}
	}
	t.Fatalf("it ended without saying where it serves: %v", cmd.Wait())
	return process{}
}

// send sends JSON and returns the answer's status and members.
func (p process) send(t *testing.T, method, path, token, body string) (int, map[string]any) {
	t.Helper()
	p.secrets.Add([]byte(body))
	req, err := http.NewRequestWithContext(t.Context(), method, p.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	resp, err := testserver.Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	p.secrets.Add(text)
	var members map[string]any
	if resp.StatusCode != http.StatusNoContent {
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, members
}

// What was acknowledged is there after the process is killed at once, also to another process.
func TestAcknowledgedIsKept(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		first := start(t, address)
		const accounts = 20
		var tokens []string
		for i := range accounts {
			body := fmt.Sprintf(`{"username":"u%d","password":"Correct-Horse-9"}`, i)
			status, members := first.send(t, "POST", "/api/v1/users/", "", body)
			if status != http.StatusCreated {
				t.Fatalf("register: %d %v", status, members)
			}
			tokens = append(tokens, members["auth_token"].(string))
		}
		if status, _ := first.send(t, "POST", "/api-token-logout/", tokens[0], ""); status != http.StatusNoContent {
			t.Fatalf("log out: %d", status)
		}
		if err := first.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = first.cmd.Wait() // it was killed

		second := start(t, address)
		for i, token := range tokens {
			want := http.StatusOK
			if i == 0 {
				want = http.StatusUnauthorized
			}
			if status, members := second.send(t, "GET", "/api/v1/users/me/", token, ""); status != want {
				t.Errorf("account %d: %d %v", i, status, members)
			}
		}
		if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := second.cmd.Wait(); err != nil {
			t.Errorf("told to end: %v", err)
		}
	})
}
