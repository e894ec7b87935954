// Package load_test measures Rollbook beside a floor that does the same jobs with net/http and pgx alone. `make bench` runs it.
package load_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
)

var (
	rounds = flag.Int("rounds", 3, "how often each measurement is made")
	lasts  = flag.Duration("lasts", 4*time.Second, "how long one takes")
)

// durable are the settings of a PostgreSQL that keeps what it acknowledges.
var durable = []string{"fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=512MB"}

// subjects are what is measured, in turn.
var subjects = []string{"Rollbook", "floor"}

// job is one that both do.
type job struct {
	name, does string
	target     float64 // Rollbook's requests a second at 32 connections, as a share of the floor's
	hashes     bool
}

var (
	readProfile = job{"profile", "read one's profile", 0.85, false}
	logIn       = job{"login", "log in", 0.95, true}
	jobs        = []job{readProfile, {"patch", "change it", 0.80, false}, logIn, {"register", "register", 0.95, true}}
)

var connections = []int{1, 32, 256}

// Jobs that hash are done some forty times a second, so that they are measured for longer; where there is a target, which is closer than
// two measurements on a machine that others use are to each other, often in a round instead.
const (
	longer = 2 // times -lasts
	often  = 10
)

// measured is how often a job is measured in a round, and for how long each time.
func (j job) measured(connections int) (times int, each time.Duration) {
	switch {
	case !j.hashes:
		return 1, *lasts
	case connections == targetsAt:
		return often, *lasts
	}
	return 1, longer * *lasts
}

// result is what wrk measured in one round.
type result struct {
	rate     float64 // requests a second
	p50, p99 time.Duration
}

// BenchmarkBesideTheFloor prints a table of medians and ratios, and fails where a target is missed.
func BenchmarkBesideTheFloor(b *testing.B) {
	wrk := need.Program(b, "wrk")
	cluster := testdb.NewCluster(b, durable...)
	at := map[string]string{"Rollbook": startRollbook(b, cluster.Address), "floor": startFloor(b, cluster.Address)}
	accounts, _ := fill(b, cluster.Address, 10_000, 1000)
	shooter := installVegeta(b)
	results := map[string][]result{} // by subject, job and connections
	n := 0
	for range *rounds {
		for _, j := range jobs {
			for _, c := range connections {
				times, each := j.measured(c)
				for range times {
					for _, subject := range subjects {
						n++
						key := fmt.Sprint(subject, j.name, c)
						results[key] = append(results[key], run(b, wrk, at[subject], accounts, j, c, each, fmt.Sprint("r", n, ".")))
					}
				}
			}
		}
		for _, subject := range subjects {
			results[subject+beside] = append(results[subject+beside], readsBesideLogins(b, wrk, shooter, at[subject], accounts))
		}
	}
	report(b, results, hashRate())
}

// startRollbook starts the program as it is shipped, with its log in a file.
func startRollbook(t testing.TB, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rollbook")
	build := exec.CommandContext(t.Context(), "make", "-C", "../..", "build", "BINARY="+path)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), path, "serve")
	cmd.Env = []string{"DATABASE_URL=" + address, "ADDR=127.0.0.1:0", "LOGIN_THROTTLE=0", "REGISTER_THROTTLE=0", "HASH_WAIT=30s"}
	return start(t, cmd)
}

func startFloor(t testing.TB, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "floor")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./floor").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = []string{"DATABASE_URL=" + address}
	return start(t, cmd)
}

// said matches the address that a server says it is at.
var said = regexp.MustCompile(`http://[\d.]+:\d+`)

// start starts a server and returns the first address that it says.
func start(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait(); _ = log.Close() }) // it was killed with the test's context
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if url := said.FindString(lines.Text()); url != "" {
			return url
		}
	}
	t.Fatalf("%s ended without saying where it serves", cmd.Path)
	return ""
}

// run has wrk do a job for so long. An answer that is no success voids it.
func run(t testing.TB, wrk, url, accounts string, j job, connections int, lasts time.Duration, prefix string) result {
	t.Helper()
	measure := func(lasts time.Duration, prefix string) result {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), wrk, append(wrkArgs(url, accounts, j.name, connections, lasts), prefix)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return parse(t, string(out))
	}
	_ = measure(time.Second, prefix+"w") // warms up
	return measure(lasts, prefix)
}

func wrkArgs(url, accounts, job string, connections int, lasts time.Duration) []string {
	return []string{
		fmt.Sprintf("-t%d", min(connections, runtime.NumCPU())), fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", int(lasts.Seconds())),
		"--timeout", "60s", "-s", "jobs.lua", url, "--", job, accounts,
	}
}

// parse reads what jobs.lua says in the end.
func parse(t testing.TB, out string) result {
	t.Helper()
	var requests, micros, p50, p99, failed int
	_, line, _ := strings.Cut(out, "RESULT ")
	if _, err := fmt.Sscan(line, &requests, &micros, &p50, &p99, &failed); err != nil || failed > 0 || requests == 0 {
		t.Fatalf("%d of %d failed, %v: %s", failed, requests, err, out)
	}
	return result{
		float64(requests) / (time.Duration(micros) * time.Microsecond).Seconds(),
		time.Duration(p50) * time.Microsecond, time.Duration(p99) * time.Microsecond,
	}
}

// hashRate is how many passwords a second this machine hashes, on all cores, and nothing else.
func hashRate() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	var hashes atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range runtime.NumCPU() {
		wg.Go(func() {
			for ctx.Err() == nil {
				argon2.IDKey([]byte("Correct-Horse-9"), []byte("0123456789abcdef"), 2, 19456, 1, 32)
				hashes.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(hashes.Load()) / time.Since(began).Seconds()
}

// median of each figure of several rounds.
func median(rounds []result) (m result) {
	m.rate = middle(rounds, func(r result) float64 { return r.rate })
	m.p50 = time.Duration(middle(rounds, func(r result) float64 { return float64(r.p50) }))
	m.p99 = time.Duration(middle(rounds, func(r result) float64 { return float64(r.p99) }))
	return m
}

func middle(rounds []result, of func(result) float64) float64 {
	var values []float64
	for _, r := range rounds {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
