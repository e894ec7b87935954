package main

import (
	"errors"
	"os"
	"os/exec"
	"testing"

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
type process struct{ *testserver.Process }

// start runs `rollbook serve` on a free port.
func start(t *testing.T, address string, env ...string) process {
	t.Helper()
	return process{testserver.Run(t, program(t, append(env, "ADDR=127.0.0.1:0", "DATABASE_URL="+address), "serve"))}
}

// send sends JSON and returns the answer's status and members.
func (p process) send(t *testing.T, method, path, token, body string) (int, map[string]any) {
	t.Helper()
	a := p.Do(testserver.Request{Method: method, Path: path, Token: token, Body: body})
	return a.Status, a.JSON
}
