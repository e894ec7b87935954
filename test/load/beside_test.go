package load_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vegeta sends at a rate that does not depend on the answers.
const vegeta = "github.com/tsenart/vegeta/v12@v12.13.0"

// installVegeta returns the program.
func installVegeta(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", vegeta)
	cmd.Env = append(os.Environ(), "GOBIN="+folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(folder, "vegeta")
}

// What reads beside logins are, and for how long. With 20 a second, the p99 of a round is its third slowest.
const (
	besideLogins = 256
	besideRate   = "20/1s"
	besideLasts  = 15 * time.Second
	mostBeside   = 1.5 // the p99 of Rollbook's reads, as a multiple of the floor's
)

// readsBesideLogins reads profiles while 256 connections do nothing but log in.
func readsBesideLogins(t testing.TB, wrk, vegeta, url, accounts string) result {
	t.Helper()
	logins := exec.CommandContext(t.Context(), wrk, wrkArgs(url, accounts, "login", besideLogins, besideLasts+5*time.Second)...)
	var said bytes.Buffer
	logins.Stdout, logins.Stderr = &said, &said
	if err := logins.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // all of them are there
	attack := exec.CommandContext(t.Context(), vegeta, "attack", "-rate", besideRate, "-duration", besideLasts.String(), "-targets", targets(t, url, accounts))
	shots, err := attack.Output()
	if err != nil {
		t.Fatalf("vegeta: %v", err)
	}
	if err := logins.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	parse(t, said.String())
	count := exec.CommandContext(t.Context(), vegeta, "report", "-type", "json")
	count.Stdin = bytes.NewReader(shots)
	text, err := count.Output()
	if err != nil {
		t.Fatalf("vegeta: %v", err)
	}
	var found struct {
		Latencies struct {
			P50 time.Duration `json:"50th"`
			P99 time.Duration `json:"99th"`
		}
		Rate, Success float64
	}
	if err := json.Unmarshal(text, &found); err != nil || found.Success != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	return result{found.Rate, found.Latencies.P50, found.Latencies.P99}
}

// targets writes the reads of profiles as vegeta takes them.
func targets(t testing.TB, url, accounts string) string {
	t.Helper()
	text, err := os.ReadFile(accounts)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		fmt.Fprintf(&b, "GET %s/api/v1/users/%s/\nAuthorization: Token %s\n\n", url, words[0], words[1])
	}
	path := filepath.Join(t.TempDir(), "targets")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
