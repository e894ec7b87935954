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

func limitsOf(t *testing.T, db *repository.DB) *repository.Limits {
	t.Helper()
	limits, err := db.Limits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return limits
}

// take asks for a place in each limit.
func take(t *testing.T, from *repository.Limits, limits ...repository.Limit) repository.Admission {
	t.Helper()
	a, err := from.Take(t.Context(), nil, limits...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// admitted fails the test if an attempt was refused.
func admitted(t *testing.T, what string, a repository.Admission) repository.Admission {
	t.Helper()
	if a.Refused() {
		t.Errorf("%s: refused by %q for %s", what, a.Limit, a.Wait)
	}
	return a
}

// refused fails the test unless a limit refused an attempt for a time within bounds.
func refused(t *testing.T, what string, a repository.Admission, limit string, shortest, longest time.Duration) {
	t.Helper()
	if a.Limit != limit || a.Wait <= shortest || a.Wait > longest {
		t.Errorf("%s: refused by %q for %s, want %q for %s to %s", what, a.Limit, a.Wait, limit, shortest, longest)
	}
}

func settle(t *testing.T, l *repository.Limits, a repository.Admission, o repository.Outcome) {
	t.Helper()
	if err := l.Settle(t.Context(), a, o); err != nil {
		t.Fatal(err)
	}
}

func window(l *repository.Limits, name string, counts repository.Counts, most int) repository.Limit {
	return repository.Limit{Name: name, Key: l.Key(name), Counts: counts, Max: most, Window: time.Hour}
}

func backoff(l *repository.Limits, name string, most int) repository.Limit {
	return repository.Limit{
		Name: name, Key: l.Key(name), Counts: repository.CountFailuresInRow, Max: most, Backoff: time.Minute, BackoffMax: time.Hour,
	}
}

// clocked opens a database whose clock the test sets. It is SQLite: PostgreSQL counts by its own.
func clocked(t *testing.T) (l *repository.Limits, pass func(time.Duration)) {
	t.Helper()
	var passed atomic.Int64
	began := time.Now()
	settings := testdb.Patient
	settings.Now = func() time.Time { return began.Add(time.Duration(passed.Load())) }
	db, err := repository.Open(t.Context(), testdb.SQLite(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return limitsOf(t, db), func(d time.Duration) { passed.Add(int64(d)) }
}

func TestLimitOfAWindow(t *testing.T) {
	t.Parallel()
	l, pass := clocked(t)
	three, five := window(l, "three", repository.CountAttempts, 3), window(l, "five", repository.CountAttempts, 5)
	for range 3 {
		admitted(t, "a free place", take(t, l, three, five))
		pass(10 * time.Minute)
	}
	for range 3 {
		refused(t, "a full limit", take(t, l, three, five), "three", 29*time.Minute, 30*time.Minute)
	}
	for range 2 { // the refused attempts took no place in the other limit
		admitted(t, "the other limit", take(t, l, five))
	}
	refused(t, "the other limit, full", take(t, l, five), "five", 29*time.Minute, 30*time.Minute)
	pass(30 * time.Minute)
	admitted(t, "in the next window", take(t, l, three))
}

func TestBackoffDoubles(t *testing.T) {
	t.Parallel()
	l, pass := clocked(t)
	limit := backoff(l, "pair", 2)
	for range 2 {
		settle(t, l, admitted(t, "the first ones", take(t, l, limit)), repository.Failed)
	}
	for _, minutes := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		wait := minutes * time.Minute
		refused(t, "at once", take(t, l, limit), "pair", wait-time.Millisecond, wait)
		pass(wait - time.Second)
		refused(t, "a second too early", take(t, l, limit), "pair", 0, time.Second)
		pass(time.Second)
		settle(t, l, admitted(t, "after the wait", take(t, l, limit)), repository.Failed)
	}
	pass(time.Hour + 59*time.Minute) // the wait, and almost the time after which the failures are forgotten
	settle(t, l, admitted(t, "after a pause", take(t, l, limit)), repository.Failed)
	refused(t, "after a pause, the next", take(t, l, limit), "pair", 59*time.Minute, time.Hour)
	pass(2 * time.Hour)
	for range 2 {
		settle(t, l, admitted(t, "when all is forgotten", take(t, l, limit)), repository.Failed)
	}
}

// An attempt counts from its admission on. How it ends decides which limits keep its place.
func TestSettle(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		l := limitsOf(t, db)
		failures, successes := window(l, "failures", repository.CountFailures, 3), window(l, "successes", repository.CountSuccesses, 2)
		row := backoff(l, "row", 3)
		attempt := func(o repository.Outcome) {
			t.Helper()
			settle(t, l, admitted(t, "an attempt", take(t, l, failures, successes, row)), o)
		}
		attempt(repository.Failed)
		attempt(repository.Failed)
		attempt(repository.Unanswered)
		attempt(repository.Succeeded) // returns its own place in failures, and forgets those in a row
		attempt(repository.Unanswered)
		attempt(repository.Succeeded)
		refused(t, "two successes", take(t, l, failures, successes, row), "successes", 0, time.Hour)
		settle(t, l, admitted(t, "the third failure", take(t, l, failures, row)), repository.Failed)
		refused(t, "three failures", take(t, l, failures), "failures", 0, time.Hour)
		for range 2 {
			settle(t, l, admitted(t, "in a row after the success", take(t, l, row)), repository.Failed)
		}
		refused(t, "three in a row", take(t, l, row), "row", 0, time.Minute)
	})
}

// Attempts in progress are not failures: a limit that only they fill says so.
func TestAttemptsInProgress(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		l := limitsOf(t, db)
		for _, limit := range []repository.Limit{window(l, "window", repository.CountFailures, 2), backoff(l, "backoff", 2)} {
			first, second := take(t, l, limit), take(t, l, limit)
			if a := take(t, l, limit); !a.InProgress || a.Limit != limit.Name {
				t.Errorf("%s: a third at once: %+v", limit.Name, a)
			}
			settle(t, l, first, repository.Failed)
			if a := take(t, l, limit); !a.InProgress {
				t.Errorf("%s: one has failed: %+v", limit.Name, a)
			}
			settle(t, l, second, repository.Failed)
			if a := take(t, l, limit); a.InProgress || !a.Refused() {
				t.Errorf("%s: both have failed: %+v", limit.Name, a)
			}
		}
	})
}

// An attempt that reached the backoff and returns its place leaves the failures before it.
func TestReturnKeepsFailures(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		l := limitsOf(t, db)
		limit := backoff(l, "row", 3)
		for range 2 {
			settle(t, l, admitted(t, "a failure", take(t, l, limit)), repository.Failed)
		}
		for range 3 {
			settle(t, l, admitted(t, "one that nobody could answer", take(t, l, limit)), repository.Unanswered)
		}
		settle(t, l, admitted(t, "the third failure", take(t, l, limit)), repository.Failed)
		refused(t, "after three failures", take(t, l, limit), "row", 0, time.Minute)
	})
}

// What a process that died left in progress counts as failed after a minute, and keeps nobody waiting.
func TestAbandonedAttempts(t *testing.T) {
	t.Parallel()
	l, pass := clocked(t)
	successes, failures := window(l, "successes", repository.CountSuccesses, 2), window(l, "failures", repository.CountFailures, 2)
	for range 2 {
		admitted(t, "an attempt whose process dies", take(t, l, successes, failures))
	}
	other := window(l, "other", repository.CountSuccesses, 2)
	first := take(t, l, other)
	admitted(t, "another attempt", take(t, l, other))
	settle(t, l, first, repository.Failed) // which says nothing about the other one
	admitted(t, "the place of the first", take(t, l, other))
	pass(time.Minute)
	for range 2 {
		for _, limit := range []repository.Limit{successes, failures, other} {
			if a := take(t, l, limit); !a.InProgress {
				t.Errorf("%s, after a minute: %+v", limit.Name, a)
			}
		}
	}
	pass(time.Second)
	take(t, l, successes, failures)
	admitted(t, "successes, later", take(t, l, successes))
	if a := take(t, l, failures); !a.Refused() || a.InProgress {
		t.Errorf("failures, later: %+v", a)
	}
}

// An attempt that ends when its limit counts anew changes nothing.
func TestSettleAfterTheWindow(t *testing.T) {
	t.Parallel()
	l, pass := clocked(t)
	limit := window(l, "window", repository.CountFailures, 1)
	late := take(t, l, limit)
	pass(time.Hour)
	admitted(t, "the next window", take(t, l, limit))
	settle(t, l, late, repository.Succeeded)
	if a := take(t, l, limit); !a.InProgress {
		t.Errorf("the late attempt returned a place that was not its own: %+v", a)
	}
}

// Two processes with one database give no more places than there are, also while attempts end.
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
	instances := []*repository.Limits{limitsOf(t, testdb.Open(t, address)), limitsOf(t, testdb.Open(t, address))}
	const callers, most = 200, 7
	var given, failed atomic.Int32
	var wg sync.WaitGroup
	for i := range callers {
		l := instances[i%2]
		wg.Go(func() {
			a, err := l.Take(t.Context(), nil, backoff(l, "backoff", most+1), window(l, "window", repository.CountFailures, most))
			if err != nil {
				t.Error(err)
			}
			if a.Refused() {
				return
			}
			given.Add(1)
			outcome := repository.Failed
			if i%3 == 0 { // it returns its place, which another may take
				outcome = repository.Unanswered
			} else {
				failed.Add(1)
			}
			if err := l.Settle(t.Context(), a, outcome); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, _, err := instances[0].List(t.Context(), repository.LimitFilter{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all { // what was refused in the last moment has no place either
		if s.InProgress != 0 || s.Count != int(failed.Load()) {
			t.Errorf("%d attempts have failed: %+v", failed.Load(), s)
		}
	}
	if failed.Load() > most || given.Load() < most {
		t.Errorf("%d places were given, and %d kept, want %d", given.Load(), failed.Load(), most)
	}
	for n := failed.Load(); n < most; n++ {
		admitted(t, "a place that was returned", take(t, instances[0], window(instances[0], "window", repository.CountFailures, most)))
	}
	if a := take(t, instances[1], window(instances[1], "window", repository.CountFailures, most)); !a.Refused() {
		t.Error("there are more places than there should be")
	}
}

// A flood neither writes nor waits for those who write.
func TestFullLimitsAreOnlyRead(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		l := limitsOf(t, testdb.Open(t, address))
		full, other := window(l, "full", repository.CountAttempts, 1), window(l, "other", repository.CountAttempts, 1)
		admitted(t, "the first", take(t, l, full))
		release := lockLimits(t, address)
		answered := make(chan repository.Admission, 1)
		go func() {
			a, err := l.Take(t.Context(), nil, full, other)
			if err != nil {
				t.Error(err)
			}
			answered <- a
		}()
		refused(t, "while others write", <-answered, "full", 0, time.Hour)
		release()
		admitted(t, "the refused attempt took no place", take(t, l, other))
	})
}

// lockLimits keeps others from writing limits until they are released.
func lockLimits(t *testing.T, address string) (release func()) {
	t.Helper()
	driver, source, lock := "pgx", address, "LOCK TABLE limits IN EXCLUSIVE MODE"
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
