package repository

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"gorm.io/gorm"
)

// Counts is the kind of attempts that a rate limit counts. An attempt counts from Take on, until Settle returns its place.
type Counts int

// The kinds of attempts.
const (
	CountAttempts      Counts = iota // every attempt; there is nothing to settle
	CountFailures                    // a success returns its own place
	CountFailuresInRow               // a success forgets the failures before it
	CountSuccesses                   // a failure returns its own place
)

// Limit is a rate limit. It allows Max attempts within Window, unless Backoff is set: then each attempt after Max waits.
type Limit struct {
	Name    string // for operators
	Key     []byte // from Limits.Key
	Account []byte // from Limits.Key, by which the limits of an account are found; nil if it is not about one
	Network string // by which the limits of an address are found; empty if it is not about one
	Counts  Counts
	Max     int // 0 is no limit

	Window time.Duration // from the first attempt on; without Backoff only

	Backoff    time.Duration // the wait after Max attempts, doubled with each further one
	BackoffMax time.Duration // the longest wait; the attempts are forgotten this long after the last wait

	UnknownOnly bool // it does not apply to known networks
}

func (l Limit) period() time.Duration {
	if l.Backoff > 0 {
		return l.BackoffMax
	}
	return l.Window
}

// pause returns how long the next attempt waits after so many.
func (l Limit) pause(count int64) time.Duration {
	over := count - int64(l.Max)
	if l.Backoff == 0 || over < 0 {
		return 0
	}
	wait := l.Backoff
	for ; over > 0 && wait < l.BackoffMax; over-- {
		wait *= 2
	}
	return min(wait, l.BackoffMax)
}

// Admission is the result of Take.
type Admission struct {
	Limit string        // the name of the limit that refused the attempt; empty if it was admitted
	Wait  time.Duration // how long until that limit allows an attempt
	// InProgress means that the attempt was refused only because others have not been settled yet.
	InProgress bool
	// Remembered means that the network is known, and was remembered within a day.
	Remembered bool

	places []place
}

// Refused reports whether the attempt was refused.
func (a Admission) Refused() bool { return a.Limit != "" }

// And returns an admission that has the places of both.
func (a Admission) And(b Admission) Admission {
	if len(a.places) == 0 {
		return b
	}
	return Admission{Remembered: a.Remembered && b.Remembered, places: slices.Concat(a.places, b.places)}
}

// place is an attempt's place in a limit.
type place struct {
	key    []byte
	since  int64 // when the limit began to count; a later count is another one
	counts Counts
}

// Limits are the rate limits of a database, shared by every process that uses it.
type Limits struct {
	db     *DB
	secret []byte
}

// secret is a key that all processes share.
type secret struct {
	Name  string `gorm:"primaryKey"`
	Value []byte
}

// Limits returns the rate limits of the database. It fails if the key that names them cannot be read.
func (db *DB) Limits(ctx context.Context) (*Limits, error) {
	key, err := db.Secret(ctx, "throttles") // as releases before named it
	return &Limits{db, key}, err
}

// Key returns a name for what a limit is about. It cannot be read back: a username may be a password typed into the wrong
// field.
func (l *Limits) Key(about ...string) []byte {
	mac := hmac.New(sha256.New, l.secret)
	for _, part := range about {
		_, _ = fmt.Fprintf(mac, "%d:%s", len(part), part) // a hash takes everything
	}
	return mac.Sum(nil)
}

// Take takes a place in every limit that applies, or in none if one of them is full. Networks are the keys of the
// network that the attempt comes from, as one of the account by each of its names: if one is known, limits with UnknownOnly
// do not apply. However many processes ask at once, no limit gives more places than it has.
func (l *Limits) Take(ctx context.Context, networks [][]byte, limits ...Limit) (Admission, error) {
	limits = slices.DeleteFunc(slices.Clone(limits), func(l Limit) bool { return l.Max == 0 })
	// All processes take places in one order, so that no two wait for each other.
	slices.SortFunc(limits, func(a, b Limit) int { return bytes.Compare(a.Key, b.Key) })
	for {
		if len(limits) == 0 {
			return Admission{}, nil
		}
		a, all, err := l.take(ctx, networks, limits)
		if err != nil || all || a.Refused() {
			return a, err
		}
		// Others took the last place of a limit since it was looked at. Look again, and say which.
		if err := l.Settle(ctx, a, Unanswered); err != nil {
			return Admission{}, err
		}
	}
}

// take makes one try, which may get some of the places only.
func (l *Limits) take(ctx context.Context, networks [][]byte, limits []Limit) (a Admission, all bool, err error) {
	err = l.db.do(ctx, "take rate limits", func(db *gorm.DB) error {
		return db.Connection(func(db *gorm.DB) error { // one, so that a busy pool is waited for once
			db = db.Session(&gorm.Session{NewDB: true})
			states, now, err := l.look(db, networks, limits)
			if err != nil {
				return err
			}
			a = Admission{Remembered: states.known(networks, knownFor-rememberEvery)}
			applicable := limits
			if states.known(networks, 0) {
				applicable = slices.DeleteFunc(slices.Clone(limits), func(l Limit) bool { return l.UnknownOnly })
			}
			// A flood is refused here, by reading only.
			if a.Limit, a.Wait, a.InProgress = states.refusal(applicable, now); a.Refused() || len(applicable) == 0 {
				all = true
				return l.settleAbandoned(db, states.abandoned(applicable, now))
			}
			a.places, err = l.enter(db, applicable)
			all = len(a.places) == len(applicable)
			return err
		})
	})
	return a, all, err
}

// state is what is stored of a limit, or of a known network.
type state struct {
	Key             []byte
	Network         bool // a known network
	Count, Pending  int64
	Until, Expires  int64
	Backoff, Period int64
	Now             int64
}

type states []state

// look reads the limits and the known networks, and the time by the clock that all processes share.
func (l *Limits) look(db *gorm.DB, networks [][]byte, limits []Limit) (found states, now int64, err error) {
	keys := make([][]byte, len(limits))
	for i, limit := range limits {
		keys[i] = limit.Key
	}
	clock := l.db.micros()
	statement := "SELECT key, FALSE AS network, count, pending, until, expires_at AS expires, backoff, period, " + clock +
		" AS now FROM limits WHERE key IN ?"
	values := []any{keys}
	if len(networks) > 0 {
		statement += " UNION ALL SELECT key, TRUE, 0, 0, 0, expires_at, 0, 0, " + clock + " FROM known_networks WHERE key IN ?"
		values = append(values, networks)
	}
	err = db.Raw(statement, values...).Scan(&found).Error
	now = db.NowFunc().UnixMicro()
	for _, s := range found {
		now = s.Now
	}
	return found, now, err
}

func (s states) find(key []byte, network bool) (state, bool) {
	at := slices.IndexFunc(s, func(s state) bool { return s.Network == network && bytes.Equal(s.Key, key) })
	if at < 0 {
		return state{}, false
	}
	return s[at], true
}

// known reports whether one of the networks is known, for longer than a time from now on.
func (s states) known(networks [][]byte, longer time.Duration) bool {
	return slices.ContainsFunc(networks, func(key []byte) bool {
		found, ok := s.find(key, true)
		return ok && found.Expires > found.Now+longer.Microseconds()
	})
}

// refusal returns the limit that refuses an attempt for longest. One that attempts in progress fill comes last.
func (s states) refusal(limits []Limit, now int64) (name string, wait time.Duration, inProgress bool) {
	for _, limit := range limits {
		found, _ := s.find(limit.Key, false)
		w := found.wait(limit, now)
		settling := w > 0 && found.Count-found.Pending < int64(limit.Max)
		if w > 0 && (name == "" || inProgress && !settling || w > wait && inProgress == settling) {
			name, wait, inProgress = limit.Name, w, settling
		}
	}
	return name, wait, inProgress
}

// abandonedAfter is how long after the last attempt those in progress have ended, or their process has: no request takes
// as long.
const abandonedAfter = time.Minute

// abandoned returns the limits that attempts in progress fill, which nobody settles any more.
func (s states) abandoned(limits []Limit, now int64) (found []Limit) {
	for _, limit := range limits {
		row, ok := s.find(limit.Key, false)
		if ok && row.Pending > 0 && row.wait(limit, now) > 0 && row.Until < now-abandonedAfter.Microseconds() {
			found = append(found, limit)
		}
	}
	return found
}

// wait returns how long until there is a place.
func (s state) wait(l Limit, now int64) time.Duration {
	switch {
	case s.isOver(l, now), s.Count < int64(l.Max):
		return 0
	case l.Backoff > 0:
		return min(max(0, micros(s.Until-now)), l.pause(s.Count))
	}
	return min(micros(s.Expires-now), l.Window)
}

// clockStep is how far the clock may be set back without a limit being forgotten.
const clockStep = time.Second

// isOver reports whether the limit counts from 0 again: it has expired, or the clock has been set back.
func (s state) isOver(l Limit, now int64) bool {
	longest := l.Window
	if l.Backoff > 0 {
		longest = 2 * l.BackoffMax // the wait, and what passes until the failures are forgotten
	}
	return s.Expires <= now || s.Expires > now+(longest+clockStep).Microseconds()
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
