package testserver

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/need"
)

// Process is a server that runs as a process of its own.
type Process struct {
	*Server
	Cmd     *exec.Cmd
	Metrics string // the URL of its metrics, empty where it has none
}

// Run starts a command, which must be `rollbook serve`, and waits until it has said where it serves. In what it prints there may
// be no secret. It ends with the test.
func Run(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	return Launch(t, cmd)()
}

// Launch is Run, and leaves the waiting to the caller.
func Launch(t testing.TB, cmd *exec.Cmd) (wait func() *Process) {
	t.Helper()
	p := &Process{Server: &Server{Log: &Log{}, t: t, client: Client(t)}, Cmd: cmd}
	t.Cleanup(func() { p.Secrets.Check(t, p.Log.String()) })
	t.Cleanup(func() { _ = cmd.Wait() }) // it was killed with the test's context, or has ended before
	cmd.Stderr = p.Log
	EndWithParent(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() *Process { t.Helper(); p.read(out); return p }
}

// read waits until the process has said where it serves, and keeps what else it says.
func (p *Process) read(out io.Reader) {
	p.t.Helper()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 2 && words[0] == "API":
			p.URL = strings.TrimSuffix(words[1], "/api/v1/")
		case len(words) == 2 && words[0] == "metrics":
			p.Metrics = words[1]
		case len(words) > 2 && words[0] == "database": // the last line
			go func() { _, _ = io.Copy(p.Log, out) }() // until the process ends
			return
		}
	}
	p.t.Fatalf("it ended without saying where it serves: %v: %s", p.Cmd.Wait(), p.Log)
}

// Memory is what the process takes, in bytes. Where the machine does not tell, the test is skipped.
func (p *Process) Memory() int64 {
	p.t.Helper()
	need.File(p.t, "/proc/self/statm", "it tells the memory of a process")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var size, resident int64 // in pages
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		p.t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
