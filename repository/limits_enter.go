package repository

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// limit is a row of the table limits. Times are in microseconds since 1970.
type limit struct {
	Key       []byte `gorm:"primaryKey"`
	Name      string
	Account   []byte
	Network   *string
	Max       int64
	Backoff   int64 // 0 for a window
	Period    int64 // of the window, or the longest wait
	Count     int64
	Pending   int64 // those of Count that have not been settled
	Since     int64 // when Count was 1
	Until     int64 // when the wait of a backoff ends
	ExpiresAt int64
}

// micros is the time by the clock that all processes share, in SQL.
func (db *DB) micros() string {
	if db.dialect.micros != "" {
		return db.dialect.micros
	}
	return fmt.Sprint(db.Now().UnixMicro())
}

// Parts of the statement that takes places: l is the row that is stored, excluded the limit as it is asked for.
const (
	maxDoublings = 20 // above which a shift could overflow

	// pauseSQL is Limit.pause after %[1]s attempts.
	pauseSQL = `CASE WHEN excluded.backoff = 0 OR %[1]s < excluded.max THEN 0
		WHEN %[1]s - excluded.max >= %[2]d OR (excluded.backoff << CAST(%[1]s - excluded.max AS int)) > excluded.period THEN excluded.period
		ELSE excluded.backoff << CAST(%[1]s - excluded.max AS int) END`
	// overSQL is state.isOver; %[1]s is the time.
	overSQL = `(l.expires_at <= %[1]s OR
		l.expires_at > %[1]s + excluded.period + CASE WHEN excluded.backoff > 0 THEN excluded.period ELSE 0 END + %[2]d)`
)

// enterSQL is the statement that takes a place in each of n limits that has one, at a time in SQL.
func enterSQL(n int, now string) string {
	pause := func(count string) string { return "(" + fmt.Sprintf(pauseSQL, count, maxDoublings) + ")" }
	over := fmt.Sprintf(overSQL, now, clockStep.Microseconds())
	count := "(CASE WHEN " + over + " THEN 1 ELSE l.count + 1 END)"
	// GORM would make a list of a key's bytes if they stood first.
	row := "(?, ?, ?, ?, ?, ?, ?, 1, ?, " + now + ", " + now + " + ?, " + now + " + ?)"
	return `INSERT INTO limits AS l (name, key, account, network, max, backoff, period, count, pending, since, until, expires_at)
		VALUES ` + strings.Repeat(row+", ", n-1) + row + `
		ON CONFLICT (key) DO UPDATE SET
			max = excluded.max, backoff = excluded.backoff, period = excluded.period,
			count = ` + count + `,
			pending = excluded.pending + CASE WHEN ` + over + ` THEN 0 ELSE l.pending END,
			since = CASE WHEN ` + over + ` THEN ` + now + ` ELSE l.since END,
			until = ` + now + ` + ` + pause(count) + `,
			expires_at = CASE WHEN excluded.backoff > 0 THEN ` + now + ` + ` + pause(count) + ` + excluded.period
				WHEN ` + over + ` THEN ` + now + ` + excluded.period ELSE l.expires_at END
		WHERE ` + over + ` OR l.count < excluded.max OR (excluded.backoff > 0 AND l.until <= ` + now + `)
		RETURNING key, since`
}

// enter takes a place in each limit that has one, with one statement.
func (l *Limits) enter(db *gorm.DB, limits []Limit) ([]place, error) {
	values := make([]any, 0, len(limits)*10)
	for _, limit := range limits {
		var network *string
		if limit.Network != "" {
			network = &limit.Network
		}
		pending := 1
		if limit.Counts == CountAttempts {
			pending = 0
		}
		pause := limit.pause(1)
		values = append(values, limit.Name, limit.Key, limit.Account, network, limit.Max, limit.Backoff.Microseconds(),
			limit.period().Microseconds(), pending, pause.Microseconds(), (pause + limit.period()).Microseconds())
	}
	var taken []struct {
		Key   []byte
		Since int64
	}
	if err := db.Raw(enterSQL(len(limits), l.db.micros()), values...).Scan(&taken).Error; err != nil {
		return nil, err
	}
	places := make([]place, 0, len(taken))
	for _, row := range taken {
		at := slices.IndexFunc(limits, func(l Limit) bool { return slices.Equal(l.Key, row.Key) })
		places = append(places, place{row.Key, row.Since, limits[at].Counts})
	}
	if mathrand.IntN(purgeOneIn) == 0 { //nolint:gosec // when is no secret
		return places, l.purge(db)
	}
	return places, nil
}

// purgeOneIn is how many attempts share the work of removing what has expired.
const purgeOneIn = 100

// purge removes some of the limits and known networks that have expired, and that nobody is about to use.
func (l *Limits) purge(db *gorm.DB) error {
	const batch = 1000
	now := l.db.Now().UnixMicro()
	for _, model := range []any{&limit{}, &knownNetwork{}} {
		expired := db.Model(model).Select("key").Where("expires_at < ?", now).Order("key").Limit(batch).
			Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate, Options: clause.LockingOptionsSkipLocked})
		if err := db.Where("key IN (?)", expired).Delete(model).Error; err != nil {
			return err
		}
	}
	return nil
}

// Outcome is how an attempt ended.
type Outcome int

// The outcomes.
const (
	Failed Outcome = iota
	Succeeded
	Unanswered // nobody could tell: the attempt does not count
)

// Settle records how an admitted attempt ended.
func (l *Limits) Settle(ctx context.Context, a Admission, o Outcome) error {
	var all, returned, forgotten [][]any
	for _, p := range a.places {
		row := []any{p.key, p.since}
		switch {
		case o == Unanswered, o == Succeeded && p.counts == CountFailures, o == Failed && p.counts == CountSuccesses:
			returned = append(returned, row)
		case o == Succeeded && p.counts == CountFailuresInRow:
			forgotten = append(forgotten, row)
		case p.counts == CountAttempts:
			continue
		}
		all = append(all, row)
	}
	if len(all) == 0 {
		return nil
	}
	none := [][]any{{[]byte{}, 0}} // no place has it
	returned, forgotten = append(returned, none...), append(forgotten, none...)
	// The rows are locked in the order of Take.
	statement := `WITH settled AS (SELECT key FROM limits WHERE (key, since) IN ? ORDER BY key` + l.db.dialect.forUpdate + `)
		UPDATE limits SET
			pending = CASE WHEN pending > 0 THEN pending - 1 ELSE 0 END,
			until = CASE WHEN backoff > 0 AND (limits.key, since) IN ? THEN 0 ELSE until END,
			count = CASE WHEN (limits.key, since) IN ? THEN CASE WHEN pending > 0 THEN pending - 1 ELSE 0 END
				WHEN (limits.key, since) IN ? AND count > 0 THEN count - 1 ELSE count END
		FROM settled WHERE limits.key = settled.key`
	return l.db.do(ctx, "settle rate limits", func(db *gorm.DB) error {
		return db.Exec(statement, all, slices.Concat(returned, forgotten), forgotten, returned).Error
	})
}

// settleAbandoned settles the attempts of a process that died as failed.
func (l *Limits) settleAbandoned(db *gorm.DB, limits []Limit) error {
	for _, limit := range limits {
		count := "count"
		if limit.Counts == CountSuccesses {
			count = "count - pending"
		}
		err := db.Exec("UPDATE limits SET count = "+count+", pending = 0 WHERE key = ? AND until < "+l.db.micros()+" - ?",
			limit.Key, abandonedAfter.Microseconds()).Error
		if err != nil {
			return err
		}
	}
	return nil
}
