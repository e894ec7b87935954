package repository_test

import (
	"testing"
	"time"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
)

const day = 24 * time.Hour

// openAt opens a database with a clock that is off by so much.
func openAt(t *testing.T, address string, off func() time.Duration) *repository.DB {
	t.Helper()
	settings := testdb.Patient
	settings.Now = func() time.Time { return time.Now().Add(off()) }
	db, err := repository.Open(t.Context(), address, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func always(off time.Duration) func() time.Duration { return func() time.Duration { return off } }

// Processes whose clocks are a day off, either way, go by PostgreSQL's all the same: what one writes means the same to others.
func TestClocksThatAreOff(t *testing.T) {
	t.Parallel()
	address := testdb.Postgres(t)
	fast, right, slow := openAt(t, address, always(day)), openAt(t, address, always(0)), openAt(t, address, always(-day))
	const hours = 12 * time.Hour
	limits := repository.Lifetimes{Idle: hours, Absolute: hours}
	for name, db := range map[string]*repository.DB{"fast": fast, "right": right, "slow": slow} {
		if off := time.Until(db.Now()); off.Abs() > time.Second {
			t.Errorf("%s: it goes by a time that is %s off", name, off)
		}
		user, _ := create(t, db, newUser(name))
		token, key := repository.NewToken(user.ID, "")
		if err := db.Tokens(limits).SignIn(t.Context(), token, user.Password); err != nil {
			t.Fatal(err)
		}
		plain := repository.NewCode()
		if err := db.Codes().Put(t.Context(), repository.CodeFor(user.ID, plain, db.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		window := repository.Place{Key: []byte("window " + name), Most: 1, Window: time.Hour}
		backoff := repository.Place{Key: []byte("backoff " + name), Most: 1, Backoff: time.Minute, BackoffMax: time.Hour}
		take(t, throttles(t, db), window)
		take(t, throttles(t, db), backoff)
		for other, at := range map[string]*repository.DB{"fast": fast, "right": right, "slow": slow} {
			if _, _, err := at.Tokens(limits).Owner(t.Context(), key); err != nil {
				t.Errorf("a token of %s at %s: %v", name, other, err)
			}
			if live, err := at.Codes().Of(t.Context(), user.ID); err != nil || len(live) != 1 {
				t.Errorf("a code of %s at %s: %v, %v", name, other, live, err)
			}
			if wait := take(t, throttles(t, at), window); wait < time.Hour-time.Minute || wait > time.Hour {
				t.Errorf("a full queue of %s at %s: %s", name, other, wait)
			}
			if wait := take(t, throttles(t, at), backoff); wait < 30*time.Second || wait > time.Minute {
				t.Errorf("a backoff of %s at %s: %s", name, other, wait)
			}
		}
	}
}

// Clocks of processes never agree to the millisecond: what one has just written is no less known to another that is a little
// behind, and no more either.
func TestClocksThatAlmostAgree(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	ahead, behind := throttles(t, openAt(t, address, always(500*time.Millisecond))), throttles(t, openAt(t, address, always(0)))
	for name, place := range map[string]repository.Place{
		"window":  {Key: []byte("w"), Most: 2, Window: time.Hour},
		"backoff": {Key: []byte("b"), Most: 2, Backoff: time.Minute, BackoffMax: time.Hour},
	} {
		take(t, ahead, place)
		if wait := take(t, behind, place); wait != 0 {
			t.Errorf("%s: a free place has to be waited for: %s", name, wait)
		}
		if wait := take(t, behind, place); wait <= 0 || wait > time.Hour {
			t.Errorf("%s: there are more places than two", name)
		}
	}
	given := repository.Place{Key: []byte("g"), Most: 1, Backoff: time.Microsecond, BackoffMax: time.Hour}
	take(t, ahead, given)
	take(t, ahead, given) // so that it is full, with one less
	if err := ahead.GiveBack(t.Context(), given.Key); err != nil {
		t.Fatal(err)
	}
	if wait := take(t, behind, given); wait != 0 {
		t.Errorf("a place that was given back: %s", wait)
	}
}

// With SQLite the process's own clock counts. Where it was a day fast and is set right, nobody is locked out for that day.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	off := day
	db := openAt(t, testdb.SQLite(t), func() time.Duration { return off })
	user, _ := create(t, db, newUser("u"))
	token, key := repository.NewToken(user.ID, "")
	limits := repository.Lifetimes{Idle: time.Hour, Absolute: time.Hour}
	if err := db.Tokens(limits).SignIn(t.Context(), token, user.Password); err != nil {
		t.Fatal(err)
	}
	queues := throttles(t, db)
	window := repository.Place{Key: []byte("w"), Most: 1, Window: time.Hour}
	backoff := repository.Place{Key: []byte("b"), Most: 1, Backoff: time.Minute, BackoffMax: time.Hour}
	take(t, queues, window)
	take(t, queues, backoff)
	off = 0
	for name, place := range map[string]repository.Place{"window": window, "backoff": backoff} {
		if wait := take(t, queues, place); wait != 0 {
			t.Errorf("%s: it has to be waited for a time that is over: %s", name, wait)
		}
		if wait := take(t, queues, place); wait <= 0 || wait > time.Hour {
			t.Errorf("%s: and then for %s", name, wait)
		}
	}
	if _, _, err := db.Tokens(limits).Owner(t.Context(), key); err != nil {
		t.Errorf("a token of that time: %v", err)
	}
}
