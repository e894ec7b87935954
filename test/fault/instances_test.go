package fault_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/pasted"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// account stores an account without a password and returns it.
func account(t *testing.T, db *repository.DB, name string) repository.User {
	t.Helper()
	user := repository.User{Profile: repository.Profile{ID: uuid.New(), Username: name}, Password: "!", IsActive: true}
	if err := db.Users().Create(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	return user
}

// Who registers at one instance is known at the other, and a token that is logged out at one is refused at the other with the
// next request, in ten thousand trials, with both under load.
func TestLongLoggedOutEverywhere(t *testing.T) {
	begin(t)
	address := testdb.Postgres(t)
	instances := []client{newClient(start(t, address).URL), newClient(start(t, address).URL)}
	db := testdb.Open(t, address)
	trials, workers := amount(2_000, 10_000), 16
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	t.Cleanup(func() { stop(); load.Wait() })
	for n := range 4 { // signs in and reads at both until all trials are over
		load.Go(func() { registerAndUse(ctx, t, instances, fmt.Sprint("load", n)) })
	}
	var people []repository.User
	for n := range workers {
		people = append(people, account(t, db, fmt.Sprint("u", n)))
	}
	var stale, done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for _, user := range people {
		wg.Go(func() {
			for trial := range trials / workers {
				token, key := repository.NewToken(user.ID, "")
				if err := db.Tokens(repository.Lifetimes{}).Create(ctx, token); err != nil {
					t.Error(err)
					return
				}
				here, there := instances[trial%2], instances[1-trial%2]
				if a := there.do(ctx, "GET", me, key, ""); a.status != 200 {
					t.Errorf("before: %s", a)
				}
				if a := here.do(ctx, "POST", logout, key, ""); a.status != 204 {
					t.Errorf("logout: %s", a)
				}
				if a := there.do(ctx, "GET", me, key, ""); a.status != 401 {
					stale.Add(1)
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	stop()
	load.Wait()
	figure(t, "%d tokens logged out at one of two instances, %d of them taken at the other with the next request (%s)", done.Load(), stale.Load(), time.Since(began).Round(time.Second))
	if stale.Load() > 0 || done.Load() != int64(trials) {
		t.Errorf("%d stale of %d", stale.Load(), done.Load())
	}
}

// registerAndUse registers at one instance and signs in and reads at the other, again and again.
func registerAndUse(ctx context.Context, t *testing.T, instances []client, name string) {
	for n := 0; ctx.Err() == nil; n++ {
		here, there := instances[n%2], instances[1-n%2]
		credentials := credentials(fmt.Sprint(name, ".", n))
		made := here.do(ctx, "POST", users, "", credentials)
		token := there.do(ctx, "POST", login, "", credentials).text("token")
		read := here.do(ctx, "GET", me, token, "")
		if (made.status != 201 || read.status != 200) && ctx.Err() == nil {
			t.Errorf("register: %s; read: %s", made, read)
			return
		}
	}
}

// Four instances that start at once on an empty database all serve, and each migration was applied once.
func TestLongMigrateAtOnce(t *testing.T) {
	begin(t)
	const instances = 4
	for range amount(2, 20) {
		address := testdb.EmptyPostgres(t)
		var waits []func() *testserver.Process
		for range instances {
			waits = append(waits, testserver.Launch(t, command(t, address)))
		}
		for _, wait := range waits {
			p := wait()
			if a := p.Do(testserver.Request{Method: "GET", Path: readyz}); a.Status != 200 {
				t.Errorf("not ready: %d %s", a.Status, a.Text)
			}
		}
		var most int
		err := testdb.SQL(t, address).QueryRowContext(t.Context(), `SELECT max(n) FROM (SELECT count(*) AS n FROM goose_db_version GROUP BY version_id) AS applied`).Scan(&most)
		if err != nil || most != 1 {
			t.Errorf("a migration was applied %d times, %v", most, err)
		}
	}
}

// balancer starts a HAProxy as docs/operating.md configures it, and returns its URL.
func balancer(t *testing.T, instances []string) string {
	t.Helper()
	haproxy := need.Program(t, "haproxy", "/usr/sbin/haproxy")
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```haproxy\n(.*?)```").FindStringSubmatch(string(page))
	if block == nil {
		t.Fatal("docs/operating.md configures no HAProxy")
	}
	front := pasted.FreeAddress(t)
	config := strings.NewReplacer("10.0.0.1:8000", instances[0], "10.0.0.2:8000", instances[1], ":80\n", front+"\n").Replace(block[1])
	if strings.Contains(config, "10.0.0.") || !strings.Contains(config, front) {
		t.Fatalf("an address was not replaced: %s", config)
	}
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &testserver.Log{}
	cmd := exec.CommandContext(t.Context(), haproxy, "-db", "-f", path)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the end of the test's context has killed it
	c := newClient("http://" + front)
	within(t, 10*time.Second, "the balancer answers", func() bool { return c.do(t.Context(), "GET", healthz, "", "").status == 200 })
	return c.base
}

// One instance after the other is restarted behind a load balancer, as an upgrade does, and no client sees anything of it.
func TestLongRollingRestart(t *testing.T) {
	begin(t)
	address := testdb.Postgres(t)
	at := []string{pasted.FreeAddress(t), pasted.FreeAddress(t)}
	var running []*testserver.Process
	for _, addr := range at {
		running = append(running, start(t, address, "ADDR="+addr, "SHUTDOWN_DELAY=2s", "TRUSTED_PROXIES=127.0.0.1/32"))
	}
	front := newClient(balancer(t, at))
	ctx, stop := context.WithCancel(t.Context())
	var requests, failed atomic.Int64
	var load sync.WaitGroup
	t.Cleanup(func() { stop(); load.Wait() })
	for n := range 8 {
		load.Go(func() {
			for round := 0; ctx.Err() == nil; round++ {
				for _, wrong := range live(front, fmt.Sprint("u", n, ".", round)) {
					requests.Add(1)
					if wrong != nil {
						failed.Add(1)
						t.Error(wrong)
					}
				}
			}
		})
	}
	rounds := amount(1, 5)
	for range rounds {
		for i, addr := range at {
			if err := running[i].Cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := running[i].Cmd.Wait(); err != nil {
				t.Errorf("told to end: %v", err)
			}
			running[i] = start(t, address, "ADDR="+addr, "SHUTDOWN_DELAY=2s", "TRUSTED_PROXIES=127.0.0.1/32")
			within(t, 30*time.Second, "it is sent requests again", func() bool { return strings.Contains(running[i].Log.String(), "registered") })
		}
	}
	stop()
	load.Wait()
	figure(t, "%d restarts behind HAProxy under load: %d of %d requests failed", 2*rounds, failed.Load(), requests.Load())
	if requests.Load() < 100 {
		t.Errorf("there were only %d requests", requests.Load())
	}
	for _, p := range running {
		if err := p.Cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 10*time.Second, "the balancer answers as the API does when there is no instance", func() bool {
		a := front.do(t.Context(), "GET", me, "", "")
		return a.status == 503 && a.retryAfter == "1" && a.text("detail") == "Service temporarily unavailable, try again later."
	})
}

// live is what an account does in its life. Each request that is not answered as it should be is an error.
func live(c client, name string) (wrong []error) {
	want := func(status int, a answer) answer {
		var err error
		if a.status != status {
			err = fmt.Errorf("%s: want %d, got %s", name, status, a)
		}
		wrong = append(wrong, err)
		return a
	}
	ctx := context.Background()
	made := want(201, c.do(ctx, "POST", users, "", credentials(name)))
	token := want(200, c.do(ctx, "POST", login, "", credentials(name))).text("token")
	want(200, c.do(ctx, "PATCH", users+made.text("id")+"/", token, `{"first_name":"x"}`))
	want(200, c.do(ctx, "GET", me, token, ""))
	want(204, c.do(ctx, "POST", logout, token, ""))
	want(401, c.do(ctx, "GET", me, token, ""))
	return wrong
}
