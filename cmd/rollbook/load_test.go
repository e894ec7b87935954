//go:build !race

// The race detector takes several times the memory and the time.

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
)

// What a crowd of logins may cost the others. What was measured is in docs/security.md.
const (
	crowd         = 256
	crowdLasts    = 3 * time.Second
	mostMemory    = 150 << 20 // above idle
	readEvery     = 50 * time.Millisecond
	mostReadDelay = time.Second // the 99th percentile
)

// While a crowd logs in, or guesses and is throttled, memory stays flat and profiles can be read.
func TestLongCrowdOfLogins(t *testing.T) {
	need.Long(t)
	for name, test := range map[string]struct {
		throttle, typed string
		last            int // status
	}{
		"hashing":   {"LOGIN_THROTTLE=0", "Correct-Horse-9", http.StatusOK},
		"throttled": {"LOGIN_THROTTLE=5", "wrong", http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			logInAtOnce(t, start(t, testdb.SQLite(t), "HASH_WAIT=30s", test.throttle), test.typed, test.last)
		})
	}
}

func logInAtOnce(t *testing.T, p process, typed string, want int) {
	_, members := p.send(t, "POST", "/api/v1/users/", "", `{"username":"u","password":"Correct-Horse-9"}`)
	token, _ := members["auth_token"].(string)
	for range 10 {
		p.send(t, "POST", "/api-token-auth/", "", `{"username":"u","password":"`+typed+`"}`)
	}
	idle := p.Memory()
	credentials := `{"username":"u","password":"` + typed + `"}`

	var peak, logins atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(crowdLasts)
	for range crowd {
		wg.Go(func() {
			for time.Now().Before(end) {
				if status, answer := p.send(t, "POST", "/api-token-auth/", "", credentials); status != want {
					t.Errorf("log in: %d %v", status, answer)
					return
				}
				logins.Add(1)
			}
		})
	}
	var delays []time.Duration
	var mu sync.Mutex
	for due := time.Now(); due.Before(end); due = due.Add(readEvery) {
		time.Sleep(time.Until(due))
		peak.Store(max(peak.Load(), p.Memory()))
		wg.Go(func() { // whether or not the one before is answered
			if status, answer := p.send(t, "GET", "/api/v1/users/me/", token, ""); status != http.StatusOK {
				t.Errorf("read: %d %v", status, answer)
			}
			mu.Lock()
			defer mu.Unlock()
			delays = append(delays, time.Since(due))
		})
	}
	wg.Wait()
	slices.Sort(delays)
	p99 := delays[len(delays)*99/100]
	t.Logf("%d logins; memory %d MB, %d MB above idle; %d reads, median %s, p99 %s", logins.Load(), peak.Load()>>20,
		(peak.Load()-idle)>>20, len(delays), delays[len(delays)/2], p99)
	if peak.Load()-idle > mostMemory {
		t.Errorf("memory rose by %d MB", (peak.Load()-idle)>>20)
	}
	if p99 > mostReadDelay {
		t.Errorf("the p99 of reads is %s", p99)
	}
}

// wrongLines are lines of a roster, as writeRoster makes it, that are wrong in every way.
var wrongLines = []string{
	"a b,,,,\n", ",First,,,\n", "x/y,,,nope,\n", "student000001,,,,\n", "few,,\n", "many,,,,,,\n", "quo\"te,,,,\n", "open,\"x,,,\n", "m\xfcller,,,,\n",
	"nul,\x00,,,\n", "hash,,,,md5$a$b\n", strings.Repeat("x", 151) + ",,,,\n", "long," + strings.Repeat("x", 70<<10) + ",,,\n", "email,,," + strings.Repeat("x", 250) + "@b.org,\n",
}

// A hundred thousand lines, of which some are wrong in every way, are imported in less than a minute, in little memory.
func TestLongImport(t *testing.T) {
	need.Long(t)
	const students, most, mostMemory = 100_000, time.Minute, 150 << 20
	for name, fresh := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const times = 20 // that each wrong line is there
			var wrong []string
			for range times {
				wrong = append(wrong, wrongLines...)
			}
			address, path := fresh(t), writeRoster(t, students-len(wrong), wrong...)
			cmd := program(t, []string{"DATABASE_URL=" + address}, "roster", "import", path)
			began := time.Now()
			out, err := cmd.Output()
			if want := fmt.Sprintf("done: %d added, 0 changed, 0 deactivated; 0 unchanged, %d wrong\n", students-len(wrong), len(wrong)); exitCode(err) != 1 || !strings.HasPrefix(string(out), want) {
				t.Errorf("%v: got %s, want %s", err, out, want)
			}
			took, usage := time.Since(began), cmd.ProcessState.SysUsage().(*syscall.Rusage)
			peak := usage.Maxrss << 10
			t.Logf("%d students in %s, %d MB; %d bytes of disk each", students, took, peak>>20, diskUsed(t, address)/students)
			if took > most || peak > mostMemory {
				t.Errorf("%s and %d MB are too much", took, peak>>20)
			}
		})
	}
}
