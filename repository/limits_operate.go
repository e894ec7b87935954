package repository

import (
	"context"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// knownNetwork is a network from which an account has signed in.
type knownNetwork struct {
	Key       []byte `gorm:"primaryKey"` // of the account and the network
	UserID    uuid.UUID
	ExpiresAt int64 // in microseconds since 1970
}

const (
	knownFor      = 30 * 24 * time.Hour // after the last sign-in
	rememberEvery = 24 * time.Hour      // a sign-in within this time changes nothing
)

// Remember makes networks known for an account, if its encoded password is still this one: a change of the password forgets
// them. Keys are those of Take.
func (l *Limits) Remember(ctx context.Context, keys [][]byte, user uuid.UUID, encoded string) error {
	expires := l.db.Now().Add(knownFor).UnixMicro()
	for _, key := range keys {
		err := l.db.do(ctx, "remember network", func(db *gorm.DB) error {
			return db.Exec(`INSERT INTO known_networks (key, user_id, expires_at)
				SELECT ?, users.id, CAST(? AS bigint) FROM users WHERE users.id = ? AND users.password = ?`+l.db.dialect.forShare+`
				ON CONFLICT (key) DO UPDATE SET user_id = excluded.user_id, expires_at = excluded.expires_at`,
				key, expires, user, encoded).Error
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetNetworks removes the known networks of an account.
func forgetNetworks(tx *gorm.DB, user uuid.UUID) error {
	return tx.Where("user_id = ?", user).Delete(&knownNetwork{}).Error
}

// LimitStatus is a rate limit as operators see it.
type LimitStatus struct {
	Name       string
	Account    []byte // as in Limit; nil if it is not about one
	Network    string // empty if it is not about one
	Count, Max int
	InProgress int           // attempts of Count that have not ended
	Wait       time.Duration // until the next attempt is allowed
	ExpiresIn  time.Duration
}

// LimitFilter selects rate limits; its zero value selects all.
type LimitFilter struct {
	Accounts [][]byte // any of these, from Limits.Key
	Networks []string // any of these
}

func (f LimitFilter) apply(query *gorm.DB) *gorm.DB {
	if f.Accounts != nil {
		query = query.Where("account IN ?", f.Accounts)
	}
	if f.Networks != nil {
		query = query.Where("network IN ?", f.Networks)
	}
	return query
}

// List returns the rate limits that count something, in the order of their keys, at most 500 behind a key; nil is before
// the first. next is the key to go on from, nil after the last.
func (l *Limits) List(ctx context.Context, f LimitFilter, after []byte) (all []LimitStatus, next []byte, err error) {
	const page = 500
	now := l.db.Now().UnixMicro()
	var rows []limit
	err = l.db.do(ctx, "list rate limits", func(db *gorm.DB) error {
		query := f.apply(db).Where("count > 0 AND expires_at > ?", now)
		if after != nil {
			query = query.Where("key > ?", after)
		}
		return query.Order("key").Limit(page).Find(&rows).Error
	})
	for _, row := range rows {
		all = append(all, row.status(now))
	}
	if len(rows) == page {
		next = rows[page-1].Key
	}
	return all, next, err
}

func (r limit) status(now int64) LimitStatus {
	l := Limit{Max: int(r.Max), Window: micros(r.Period), Backoff: micros(r.Backoff), BackoffMax: micros(r.Period)}
	s := LimitStatus{
		Name: r.Name, Account: r.Account, Count: int(r.Count), Max: l.Max, InProgress: int(r.Pending),
		Wait:      state{Count: r.Count, Until: r.Until, Expires: r.ExpiresAt}.wait(l, now),
		ExpiresIn: micros(r.ExpiresAt - now),
	}
	if r.Network != nil {
		s.Network = *r.Network
	}
	return s
}

// Clear removes rate limits, so that they count from 0, and returns how many it removed.
func (l *Limits) Clear(ctx context.Context, f LimitFilter) (int64, error) {
	var removed int64
	err := l.db.do(ctx, "clear rate limits", func(db *gorm.DB) error {
		result := f.apply(db.Session(&gorm.Session{AllowGlobalUpdate: true})).Delete(&limit{})
		removed = result.RowsAffected
		return result.Error
	})
	return removed, err
}
