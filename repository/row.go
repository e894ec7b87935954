package repository

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// rowReader runs a statement with ? for its values, and reads the one row that it returns. It is sql.ErrNoRows where there is none.
type rowReader func(ctx context.Context, statement string, values, into []any) error

func sqlRow(db *sql.DB) rowReader {
	return func(ctx context.Context, statement string, values, into []any) error {
		return db.QueryRowContext(ctx, statement, values...).Scan(into...)
	}
}

// pgxRow takes a connection of the pool and leaves database/sql aside, which spares a quarter of the time and half of the memory.
func pgxRow(db *sql.DB) rowReader {
	return func(ctx context.Context, statement string, values, into []any) (err error) {
		statement = numbered(statement)
		const attempts = 3 // as in database/sql
		for range attempts {
			if err = pgxRowOnce(ctx, db, statement, values, into); !errors.Is(err, driver.ErrBadConn) {
				return err
			}
		}
		return err
	}
}

// pgxRowOnce is driver.ErrBadConn where the connection was found to be closed before anything was sent.
func pgxRowOnce(ctx context.Context, db *sql.DB, statement string, values, into []any) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	err = conn.Raw(func(c any) error {
		err := c.(*stdlib.Conn).Conn().QueryRow(ctx, statement, values...).Scan(into...)
		if err != nil && pgconn.SafeToRetry(err) && ctx.Err() == nil {
			return driver.ErrBadConn
		}
		return err
	})
	_ = conn.Close() // which gives it back; that it was bad is known
	return err
}

// numbered writes $1, $2 and so on for ?.
func numbered(statement string) string {
	var b strings.Builder
	b.Grow(len(statement) + strings.Count(statement, "?"))
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		statement = after
	}
}
