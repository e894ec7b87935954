package repository

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Place is a place in one of the queues that an attempt must pass.
type Place struct {
	Key  []byte // of the queue, from Throttles.Key
	Most int    // how many places there are within Window, or before Backoff begins

	Window time.Duration // in which the places are counted, from the first; where there is no Backoff

	Backoff    time.Duration // how long the next attempt must wait after the last of Most places, doubled with each further one
	BackoffMax time.Duration // and at most; who comes no more for so long after that is forgotten
}

// throttle is what is known of a queue.
type throttle struct {
	Key       []byte `gorm:"primaryKey"`
	Count     int    // of the places taken
	Until     time.Time
	ExpiresAt time.Time
}

// secret is a key that all processes share.
type secret struct {
	Name  string `gorm:"primaryKey"`
	Value []byte
}

// Throttles are the queues of a database, the same for every process that uses it.
type Throttles struct {
	db     *DB
	secret []byte
}

// purgeOneIn is how many attempts share the work of removing the queues that nobody waits in any more.
const purgeOneIn = 100

// Throttles are the queues of the database. It is ErrUnavailable or the like where the key to their names cannot be read.
func (db *DB) Throttles(ctx context.Context) (*Throttles, error) {
	secret, err := db.Secret(ctx, "throttles")
	return &Throttles{db, secret}, err
}

// Key names a queue by what it is about. The names cannot be read back: what people type into a name's field can be a
// password.
func (t *Throttles) Key(about ...string) []byte {
	mac := hmac.New(sha256.New, t.secret)
	for _, part := range about {
		_, _ = fmt.Fprintf(mac, "%d:%s", len(part), part) // to a hash, which takes everything
	}
	return mac.Sum(nil)
}

// errFull undoes a transaction that found a queue full.
var errFull = errors.New("a queue is full")

// Take takes a place in every queue, or in none where one of them is full; then it returns how long until that changes.
// However many processes ask at once, no queue gives more places than it has.
func (t *Throttles) Take(ctx context.Context, places ...Place) (wait time.Duration, err error) {
	// In one order, so that two attempts never wait for each other.
	slices.SortFunc(places, func(a, b Place) int { return bytes.Compare(a.Key, b.Key) })
	keys := make([][]byte, len(places))
	for i, place := range places {
		keys[i] = place.Key
	}
	err = t.db.do(ctx, "take a place", func(db *gorm.DB) error {
		return db.Connection(func(db *gorm.DB) error { // one, so that nobody waits for a second one behind the crowd
			var err error
			wait, err = t.takeAll(db.Session(&gorm.Session{NewDB: true}), places, keys)
			return err
		})
	})
	if errors.Is(err, errFull) {
		return wait, nil
	}
	return wait, err
}

func (t *Throttles) takeAll(db *gorm.DB, places []Place, keys [][]byte) (wait time.Duration, err error) {
	// A flood is turned away by looking, which writes nothing and keeps nobody waiting.
	rows, now, err := t.read(db, "SELECT *, %s AS now FROM throttles WHERE key IN ?", keys)
	if err != nil {
		return 0, err
	}
	if wait = longest(rows, places, now); wait > 0 {
		return wait, nil
	}
	err = db.Transaction(func(tx *gorm.DB) error {
		if rows, now, err = t.lock(tx, keys); err != nil {
			return err
		}
		if wait = longest(rows, places, now); wait > 0 {
			return errFull
		}
		for i, place := range places {
			rows[i].take(place, now)
		}
		return tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&rows).Error
	})
	if err == nil && mathrand.IntN(purgeOneIn) == 0 { //nolint:gosec // when is no secret
		err = purge(db, now)
	}
	return wait, err
}

// read returns what a statement finds of queues, in the order of their keys, and the time by the clock that all processes share, which
// the statement has a place for.
func (t *Throttles) read(db *gorm.DB, statement string, arguments ...any) (rows []throttle, now time.Time, err error) {
	var found []struct {
		Row throttle `gorm:"embedded"`
		Now *time.Time
	}
	err = db.Raw(fmt.Sprintf(statement, t.db.dialect.now), arguments...).Scan(&found).Error
	now = db.NowFunc()
	for _, row := range found {
		rows = append(rows, row.Row)
		if row.Now != nil {
			now = row.Now.UTC()
		}
	}
	slices.SortFunc(rows, func(a, b throttle) int { return bytes.Compare(a.Key, b.Key) })
	return rows, now, err
}

// longest is how long until there is a place in every queue.
func longest(rows []throttle, places []Place, now time.Time) time.Duration {
	var wait time.Duration
	for _, row := range rows {
		for _, place := range places {
			if bytes.Equal(row.Key, place.Key) {
				wait = max(wait, row.wait(place, now))
			}
		}
	}
	return wait
}

// purge removes some of the queues that nobody waits in any more, and that nobody is about to enter.
func purge(db *gorm.DB, now time.Time) error {
	const atOnce = 1000
	expired := db.Model(&throttle{}).Select("key").Where("expires_at < ?", now).Order("key").Limit(atOnce).
		Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate, Options: clause.LockingOptionsSkipLocked})
	return db.Where("key IN (?)", expired).Delete(&throttle{}).Error
}

// longAgo is before now by any clock.
var longAgo = time.Unix(0, 0).UTC()

// lock returns the rows of sorted keys, made where they were not there, and kept from others until the transaction ends; and the
// time, which was asked once they were.
func (t *Throttles) lock(tx *gorm.DB, keys [][]byte) (rows []throttle, now time.Time, err error) {
	values := make([]string, len(keys))
	var arguments []any
	for i, key := range keys {
		values[i] = "(0, ?, ?, ?)" // GORM would make a list of the key's bytes where it stood first
		arguments = append(arguments, key, longAgo, longAgo)
	}
	return t.read(tx, "INSERT INTO throttles (count, key, until, expires_at) VALUES "+strings.Join(values, ", ")+
		" ON CONFLICT (key) DO UPDATE SET count = throttles.count RETURNING *, %s AS now", arguments...)
}

// wait is how long until there is a place.
func (r throttle) wait(p Place, now time.Time) time.Duration {
	switch {
	case r.isOver(p, now), r.Count < p.Most:
		return 0
	case p.Backoff > 0:
		return min(max(0, r.Until.Sub(now)), r.pause(p))
	}
	return min(r.ExpiresAt.Sub(now), p.Window)
}

// clockStep is by how much the clock may be set back without anything being forgotten for it.
const clockStep = time.Second

// isOver tells whether nothing counts any more of what is known: it has expired, or is from a time that the clock has since
// been set back from.
func (r throttle) isOver(p Place, now time.Time) bool {
	until := now.Add(p.Window)
	if p.Backoff > 0 {
		until = now.Add(p.BackoffMax + r.pause(p))
	}
	return !r.ExpiresAt.After(now) || r.ExpiresAt.After(until.Add(clockStep))
}

// pause is how long the next attempt has to wait from the last one on, by their number.
func (r throttle) pause(p Place) time.Duration {
	if over := r.Count - p.Most; over >= 0 {
		return backoff(p, over)
	}
	return 0
}

// take takes a place that there is.
func (r *throttle) take(p Place, now time.Time) {
	if r.isOver(p, now) {
		r.Count, r.ExpiresAt = 0, now.Add(p.Window)
	}
	r.Count++
	r.Until = now
	if p.Backoff > 0 {
		r.Until = now.Add(r.pause(p))
		r.ExpiresAt = r.Until.Add(p.BackoffMax)
	}
}

// backoff is p.Backoff doubled so many times, and at most p.BackoffMax.
func backoff(p Place, doublings int) time.Duration {
	wait := p.Backoff
	for ; doublings > 0 && wait < p.BackoffMax; doublings-- {
		wait *= 2
	}
	return min(wait, p.BackoffMax)
}

// GiveBack gives one place in each queue back, and lets the next come at once.
func (t *Throttles) GiveBack(ctx context.Context, keys ...[]byte) error {
	return t.db.do(ctx, "give a place back", func(db *gorm.DB) error {
		return db.Model(&throttle{}).Where("key IN ? AND count > 0", keys).
			Updates(map[string]any{"count": gorm.Expr("count - 1"), "until": longAgo}).Error
	})
}

// Forget empties a queue.
func (t *Throttles) Forget(ctx context.Context, key []byte) error {
	return t.db.do(ctx, "forget a queue", func(db *gorm.DB) error {
		return db.Where("key = ?", key).Delete(&throttle{}).Error
	})
}
