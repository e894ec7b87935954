// Package fault_test breaks what a server depends on, and the server itself, and looks at what its clients see. Everything
// runs as processes of its own, on this machine only. `make fault` runs it for longer than `make test` and prints figures.
package fault_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testserver"
)

var full = flag.Bool("full", false, "run for as long as `make fault` does")

// amount is how much of something a test does: less where the tests of everything run.
func amount(short, long int) int {
	if *full {
		return long
	}
	return short
}

// begin says that a test takes long. Where figures are wanted, each is alone.
func begin(t *testing.T) {
	t.Helper()
	need.Long(t)
	if !*full {
		t.Parallel()
	}
}

// limit is how long something may take. Beside other tests everything takes longer than with `make fault`, which promises are about.
func limit(alone time.Duration) time.Duration {
	const crowded = 5
	if *full {
		return alone
	}
	return crowded * alone
}

// figure tells one of those that docs/operating.md has.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("figure: %s: "+format, append([]any{t.Name()}, args...)...)
}

// rollbook builds the program, once, and returns its path.
var rollbook = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "rollbook")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/rollbook").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// built is the folder of what is built, which goes with the tests.
var built string

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "rollbook-fault"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(built)
	os.Exit(code)
}

// command is `rollbook serve` on a free port, with no throttling, which these tests would run into.
func command(t *testing.T, address string, env ...string) *exec.Cmd {
	t.Helper()
	path, err := rollbook()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "serve")
	cmd.Env = append([]string{"DATABASE_URL=" + address, "ADDR=127.0.0.1:0", "LOGIN_THROTTLE=0", "REGISTER_THROTTLE=0"}, env...)
	return cmd
}

func start(t *testing.T, address string, env ...string) *testserver.Process {
	t.Helper()
	return testserver.Run(t, command(t, address, env...))
}

// answer is what a client saw.
type answer struct {
	status     int // 0 where there was none
	retryAfter string
	members    map[string]any
	took       time.Duration
	err        error // why there was none
}

func (a answer) String() string {
	return fmt.Sprintf("%d %v after %s, %v", a.status, a.members, a.took.Round(time.Millisecond), a.err)
}

// client is one whose requests may fail.
type client struct {
	http *http.Client
	base string
}

func newClient(base string) client {
	return client{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}, Timeout: 30 * time.Second}, base}
}

// do sends a request. Nothing of it fails the test.
func (c client) do(ctx context.Context, method, path, token, body string) (a answer) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Token "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{err: err}
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return answer{err: err}
	}
	a = answer{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After")}
	if len(text) > 0 {
		a.err = json.Unmarshal(text, &a.members)
	}
	return a
}

// text is a member of the answer.
func (a answer) text(member string) string {
	text, _ := a.members[member].(string)
	return text
}

const (
	me      = "/api/v1/users/me/"
	users   = "/api/v1/users/"
	login   = "/api-token-auth/"
	logout  = "/api-token-logout/"
	readyz  = "/readyz"
	healthz = "/healthz"
)

// credentials are those of an account that these tests register.
func credentials(name string) string {
	return fmt.Sprintf(`{"username":%q,"password":%q}`, name, testserver.Password)
}

// within waits for something to become so.
func within(t *testing.T, most time.Duration, what string, so func() bool) (took time.Duration) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if so() {
			return time.Since(began)
		}
		if time.Since(began) > most {
			t.Fatalf("after %s it is not so: %s", most, what)
		}
	}
}
