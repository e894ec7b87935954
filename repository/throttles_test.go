package repository_test

import (
	"database/sql"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
)

func throttles(t *testing.T, db *repository.DB) *repository.Throttles {
	t.Helper()
	throttles, err := db.Throttles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return throttles
}

// take takes a place and returns how long it has to wait instead.
func take(t *testing.T, from *repository.Throttles, places ...repository.Place) time.Duration {
	t.Helper()
	wait, err := from.Take(t.Context(), places...)
	if err != nil {
		t.Fatal(err)
	}
	return wait
}

func TestPlacesWithinAWindow(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		queues := throttles(t, db)
		const window = 3 * time.Second
		place := repository.Place{Key: queues.Key("a"), Most: 3, Window: window}
		other := repository.Place{Key: queues.Key("b"), Most: 5, Window: window}
		for range 3 {
			if wait := take(t, queues, place, other); wait != 0 {
				t.Fatalf("a free place has to be waited for: %s", wait)
			}
		}
		for range 3 {
			if wait := take(t, queues, place, other); wait <= 0 || wait > window {
				t.Errorf("the wait for a full queue is %s", wait)
			}
		}
		for i := range 3 { // what was refused took no place in the other queue either
			if wait := take(t, queues, other); (wait > 0) != (i == 2) {
				t.Errorf("place %d of the other queue: %s", i+4, wait)
			}
		}
		time.Sleep(window)
		if wait := take(t, queues, place); wait != 0 {
			t.Errorf("in the next window: %s", wait)
		}
	})
}

func TestBackoffDoubles(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		queues := throttles(t, db)
		const first, longest = 300 * time.Millisecond, 900 * time.Millisecond
		place := repository.Place{Key: queues.Key("a"), Most: 2, Backoff: first, BackoffMax: longest}
		var last time.Time // before the last place was taken
		for range 2 {
			last = time.Now()
			if wait := take(t, queues, place); wait != 0 {
				t.Fatalf("the first ones have to wait: %s", wait)
			}
		}
		for i, most := range []time.Duration{first, 2 * first, longest, longest} {
			before := time.Now()
			wait := take(t, queues, place)
			if wait == 0 && time.Since(last) >= most { // it has been waited for: the machine is slow
				last = before
				continue
			}
			if wait <= most-time.Since(last)-time.Millisecond || wait > most {
				t.Errorf("wait %d is %s, want %s from %s ago on", i, wait, most, time.Since(last))
			}
			time.Sleep(wait)
			last = time.Now()
			if wait := take(t, queues, place); wait != 0 {
				t.Errorf("after wait %d: %s more", i, wait)
			}
		}
		if err := queues.Forget(t.Context(), place.Key); err != nil {
			t.Fatal(err)
		}
		if wait := take(t, queues, place); wait != 0 {
			t.Errorf("after it was forgotten: %s", wait)
		}
	})
}

// Two processes with one database give no more places than there are.
func TestPlacesAreGivenOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, givePlacesAtOnce)
}

// Where the database gives transactions up in favour of others, they are run again.
func TestConflictsAreRetried(t *testing.T) {
	t.Parallel()
	givePlacesAtOnce(t, testdb.Postgres(t)+"&default_transaction_isolation=serializable")
}

func givePlacesAtOnce(t *testing.T, address string) {
	instances := []*repository.Throttles{throttles(t, testdb.Open(t, address)), throttles(t, testdb.Open(t, address))}
	const callers, most = 200, 7
	var given atomic.Int32
	var wg sync.WaitGroup
	for i := range callers {
		queues := instances[i%2]
		window := repository.Place{Key: queues.Key("window"), Most: most, Window: time.Hour}
		backoff := repository.Place{Key: queues.Key("backoff"), Most: most + 1, Backoff: time.Hour, BackoffMax: time.Hour}
		wg.Go(func() {
			wait, err := queues.Take(t.Context(), backoff, window)
			if err != nil {
				t.Error(err)
			} else if wait == 0 {
				given.Add(1)
			}
		})
	}
	wg.Wait()
	if given.Load() != most {
		t.Errorf("%d places were given, want %d", given.Load(), most)
	}
}

// Who pauses between failures does not escape the backoff: they are forgotten only that long after the last one.
func TestFailuresAreForgottenAfterTheLast(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		queues := throttles(t, db)
		const longest = 1500 * time.Millisecond
		place := repository.Place{Key: queues.Key("a"), Most: 3, Backoff: longest, BackoffMax: longest}
		for i := range 3 { // the third comes later than the longest wait after the first
			if wait := take(t, queues, place); wait != 0 {
				t.Fatalf("failure %d has to wait %s", i+1, wait)
			}
			time.Sleep(2 * longest / 3)
		}
		if wait := take(t, queues, place); wait == 0 {
			t.Error("the fourth need not wait")
		}
	})
}

func TestPlacesAreGivenBack(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		queues := throttles(t, db)
		window := repository.Place{Key: queues.Key("a"), Most: 1, Window: time.Hour}
		backoff := repository.Place{Key: queues.Key("b"), Most: 1, Backoff: time.Hour, BackoffMax: time.Hour}
		for range 3 {
			if wait := take(t, queues, window, backoff); wait != 0 {
				t.Fatalf("a place that was given back has to be waited for: %s", wait)
			}
			if wait := take(t, queues, window, backoff); wait == 0 {
				t.Fatal("a place is given twice")
			}
			if err := queues.GiveBack(t.Context(), window.Key, backoff.Key, queues.Key("nobody's")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Who finds a queue full neither writes nor waits for those who write.
func TestFullQueuesAreOnlyLookedAt(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		queues := throttles(t, testdb.Open(t, address))
		full := repository.Place{Key: queues.Key("full"), Most: 1, Window: time.Hour}
		other := repository.Place{Key: queues.Key("other"), Most: 1, Window: time.Hour}
		if wait := take(t, queues, full); wait != 0 {
			t.Fatalf("the first has to wait %s", wait)
		}
		release := lockThrottles(t, address)
		began := time.Now()
		if wait := take(t, queues, full, other); wait == 0 || time.Since(began) > time.Second {
			t.Errorf("a full queue: wait %s, answered after %s", wait, time.Since(began))
		}
		release()
		if wait := take(t, queues, other); wait != 0 {
			t.Errorf("who was refused has taken a place: wait %s", wait)
		}
	})
}

// lockThrottles keeps others from writing the queues until they are released.
func lockThrottles(t *testing.T, address string) (release func()) {
	t.Helper()
	driver, source, lock := "pgx", address, "LOCK TABLE throttles IN EXCLUSIVE MODE"
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		driver, source, lock = "sqlite", path+"?_txlock=immediate", "SELECT 1"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}
