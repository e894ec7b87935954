package repository

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

// job is work that one process does at a time.
type job struct {
	Name      string `gorm:"primaryKey"`
	DueAt     time.Time
	BusyUntil time.Time // who does it has ended by then, in whatever way
}

// Begin tells whether this process is to do a job now: nobody else does it, and, unless it is to be done at once, it is due. Then
// it must end within limit, and call End.
func (db *DB) Begin(ctx context.Context, name string, atOnce bool, limit time.Duration) (bool, error) {
	now := db.Now()
	statement := `INSERT INTO jobs (name, due_at, busy_until) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET busy_until = excluded.busy_until WHERE jobs.busy_until <= excluded.due_at`
	if !atOnce {
		statement += " AND jobs.due_at <= excluded.due_at"
	}
	err := db.row(ctx, "begin job", statement+" RETURNING name", []any{name, now, now.Add(limit)}, []any{&name})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// End says that a job has ended, and is due again after a pause; at 0, it is due when it was before.
func (db *DB) End(ctx context.Context, name string, pause time.Duration) error {
	changes := map[string]any{"busy_until": time.Unix(0, 0).UTC()} // before now by the clock of any process
	if pause > 0 {
		changes["due_at"] = db.Now().Add(pause)
	}
	return db.do(ctx, "end job", func(g *gorm.DB) error { return g.Model(&job{}).Where("name = ?", name).Updates(changes).Error })
}
