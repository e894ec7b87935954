package repository

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// rowReader runs a statement with ? for its values, and reads the one row that it returns. It is sql.ErrNoRows where there
// is none.
type rowReader func(ctx context.Context, statement string, values, into []any) error

func sqlRow(db *sql.DB) rowReader {
	return func(ctx context.Context, statement string, values, into []any) error {
		return db.QueryRowContext(ctx, statement, values...).Scan(into...)
	}
}

// pgxRow leaves database/sql aside, which takes longer than PostgreSQL does.
func pgxRow(pool *pgxpool.Pool) rowReader {
	var known sync.Map // the statements so far, as PostgreSQL reads them
	return func(ctx context.Context, statement string, values, into []any) error {
		for i := range values { // of types that pgx knows: others would go by way of text
			if id, ok := values[i].(uuid.UUID); ok {
				values[i] = pgtype.UUID{Bytes: id, Valid: true}
			}
		}
		for i := range into {
			if id, ok := into[i].(*uuid.UUID); ok {
				into[i] = (*[len(id)]byte)(id)
			}
		}
		text, ok := known.Load(statement)
		if !ok {
			text = numbered(statement)
			known.Store(statement, text)
		}
		return pool.QueryRow(ctx, text.(string), values...).Scan(into...)
	}
}

// numbered writes $1, $2 and so on for ?.
func numbered(statement string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		statement = after
	}
}
