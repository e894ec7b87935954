package load_test

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testserver"
)

// The limits are for a server of two cores: each hashes a password in 19 MiB.
const (
	mostIdle   = 40 << 20  // bytes
	mostBusy   = 150 << 20 // above that
	mostStart  = 300 * time.Millisecond
	startTries = 5
)

// program builds what is shipped, but for the optimising by a profile, which takes long.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rollbook")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", path, "../../cmd/rollbook").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestLongStart(t *testing.T) {
	need.Long(t)
	path, database := program(t), "sqlite:"+filepath.Join(t.TempDir(), "rollbook.db")
	fastest := time.Hour // of several: what else the machine does makes some slower
	for n := range startTries + 1 {
		cmd := exec.CommandContext(t.Context(), path, "serve")
		cmd.Env = []string{"DATABASE_URL=" + database, "ADDR=127.0.0.1:0"}
		began := time.Now()
		p := testserver.Run(t, cmd)
		if got := p.Do(testserver.Request{Method: http.MethodGet, Path: "/readyz"}); got.Status != http.StatusOK {
			t.Fatalf("got %d %s", got.Status, got.Text)
		}
		if n > 0 { // the first one makes the file
			fastest = min(fastest, time.Since(began))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the first answer was there %s after the start", fastest)
	if fastest > mostStart {
		t.Errorf("the first answer was there %s after the start, want %s at most", fastest, mostStart)
	}
}

func TestLongMemory(t *testing.T) {
	need.Long(t)
	cmd := exec.CommandContext(t.Context(), program(t), "serve")
	cmd.Env = []string{
		"DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "rollbook.db"), "ADDR=127.0.0.1:0",
		"GOMAXPROCS=2", "LOGIN_THROTTLE=0", "HASH_WAIT=60s",
	}
	p := testserver.Run(t, cmd)
	idle := p.Memory()
	busy := idle
	p.Register("richard")
	done := make(chan struct{})
	var watching, logins sync.WaitGroup
	watching.Go(func() {
		for ticks := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ticks.C:
				busy = max(busy, p.Memory())
			case <-done:
				ticks.Stop()
				return
			}
		}
	})
	for range besideLogins {
		logins.Go(func() {
			for range 2 {
				credentials := map[string]string{"username": "richard", "password": testserver.Password}
				if got := p.Do(testserver.Request{Method: http.MethodPost, Path: "/api-token-auth/", Body: credentials}); got.Status != http.StatusOK {
					t.Errorf("got %d %s", got.Status, got.Text)
				}
			}
		})
	}
	logins.Wait()
	close(done)
	watching.Wait()
	t.Logf("%d MiB at rest, %d MiB with %d logins at once", idle>>20, busy>>20, besideLogins)
	if idle > mostIdle || busy > idle+mostBusy {
		t.Errorf("%d MiB at rest, and %d MiB with %d logins at once; want %d at most, and %d more",
			idle>>20, busy>>20, besideLogins, mostIdle>>20, mostBusy>>20)
	}
}
