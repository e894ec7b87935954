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
		window := repository.Limit{Name: "w", Key: []byte("window " + name), Max: 1, Window: time.Hour}
		backoff := repository.Limit{Name: "b", Key: []byte("backoff " + name), Max: 1, Backoff: time.Minute, BackoffMax: time.Hour}
		take(t, limitsOf(t, db), window)
		take(t, limitsOf(t, db), backoff)
		for other, at := range map[string]*repository.DB{"fast": fast, "right": right, "slow": slow} {
			if _, _, err := at.Tokens(limits).Owner(t.Context(), key); err != nil {
				t.Errorf("a token of %s at %s: %v", name, other, err)
			}
			if live, err := at.Codes().Of(t.Context(), user.ID); err != nil || len(live) != 1 {
				t.Errorf("a code of %s at %s: %v, %v", name, other, live, err)
			}
			refused(t, "a full window of "+name+" at "+other, take(t, limitsOf(t, at), window), "w", time.Hour-time.Minute, time.Hour)
			refused(t, "a backoff of "+name+" at "+other, take(t, limitsOf(t, at), backoff), "b", 30*time.Second, time.Minute)
		}
	}
}

// Clocks of processes never agree to the millisecond: what one has just written is no less known to another that is a little
// behind, and no more either.
func TestClocksThatAlmostAgree(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	ahead, behind := limitsOf(t, openAt(t, address, always(500*time.Millisecond))), limitsOf(t, openAt(t, address, always(0)))
	for _, limit := range []repository.Limit{
		{Name: "window", Key: []byte("w"), Max: 2, Window: time.Hour},
		{Name: "backoff", Key: []byte("b"), Max: 2, Backoff: time.Minute, BackoffMax: time.Hour},
	} {
		take(t, ahead, limit)
		admitted(t, limit.Name+": a free place", take(t, behind, limit))
		refused(t, limit.Name, take(t, behind, limit), limit.Name, 0, time.Hour)
	}
	returned := repository.Limit{Key: []byte("r"), Counts: repository.CountFailures, Max: 1, Backoff: time.Hour, BackoffMax: time.Hour}
	settle(t, ahead, take(t, ahead, returned), repository.Unanswered)
	admitted(t, "a place that was returned", take(t, behind, returned))
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
	l := limitsOf(t, db)
	window := repository.Limit{Name: "window", Key: []byte("w"), Max: 1, Window: time.Hour}
	backoff := repository.Limit{Name: "backoff", Key: []byte("b"), Max: 1, Backoff: time.Minute, BackoffMax: time.Hour}
	take(t, l, window)
	take(t, l, backoff)
	off = 0
	for _, limit := range []repository.Limit{window, backoff} {
		admitted(t, limit.Name+" of a time that is over", take(t, l, limit))
		refused(t, limit.Name, take(t, l, limit), limit.Name, 0, time.Hour)
	}
	if _, _, err := db.Tokens(limits).Owner(t.Context(), key); err != nil {
		t.Errorf("a token of that time: %v", err)
	}
}
