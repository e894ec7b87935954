package repository

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// scan reads the columns of a row.
type scan func(into ...any) error

// rowsReader runs a statement with ? for its values, and calls each with every row that it returns. A value of several byte strings
// stands in "= ANY (?)".
type rowsReader func(ctx context.Context, statement string, values []any, each func(scan) error) error

func sqlRows(db *sql.DB) rowsReader {
	return func(ctx context.Context, statement string, values []any, each func(scan) error) error {
		var singly []any
		for _, value := range values {
			several, ok := value.([][]byte)
			if !ok {
				singly = append(singly, value)
				continue
			}
			statement = strings.Replace(statement, "= ANY (?)", "IN (?"+strings.Repeat(", ?", len(several)-1)+")", 1)
			for _, one := range several {
				singly = append(singly, one)
			}
		}
		rows, err := db.QueryContext(ctx, statement, singly...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // its error is that of Err, too
		for rows.Next() {
			if err := each(rows.Scan); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// pgxRows leaves database/sql aside, which takes longer than PostgreSQL does.
func pgxRows(pool *pgxpool.Pool) rowsReader {
	var known sync.Map // the statements so far, as PostgreSQL reads them
	return func(ctx context.Context, statement string, values []any, each func(scan) error) error {
		for i := range values { // of types that pgx knows: others would go by way of text
			if id, ok := values[i].(uuid.UUID); ok {
				values[i] = pgtype.UUID{Bytes: id, Valid: true}
			}
		}
		text, ok := known.Load(statement)
		if !ok {
			text = numbered(statement)
			known.Store(statement, text)
		}
		rows, err := pool.Query(ctx, text.(string), values...)
		if err != nil {
			return err
		}
		defer rows.Close()
		read := func(into ...any) error {
			for i := range into {
				if id, ok := into[i].(*uuid.UUID); ok {
					into[i] = (*[len(id)]byte)(id)
				}
			}
			return rows.Scan(into...)
		}
		for rows.Next() {
			if err := each(read); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

// statement changes rows. It has ? for its values.
type statement struct {
	text   string
	values []any
}

// pair runs two statements, both or neither. The second returns the id of the row that it makes; where it makes none, the error is
// sql.ErrNoRows.
type pair func(ctx context.Context, first, second statement) error

func sqlPair(db *sql.DB) pair {
	return func(ctx context.Context, first, second statement) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, first.text, first.values...)
		if err == nil {
			var id uuid.UUID
			err = tx.QueryRowContext(ctx, second.text, second.values...).Scan(&id)
		}
		if err != nil {
			_ = tx.Rollback() // the error that counts is the one before
			return err
		}
		return tx.Commit()
	}
}

// pgxPair asks PostgreSQL once instead of four times.
func pgxPair(rows rowsReader) pair {
	return func(ctx context.Context, first, second statement) error {
		text, values := "WITH first AS ("+first.text+") "+second.text, slices.Concat(first.values, second.values)
		made := false
		err := rows(ctx, text, values, func(scan) error { made = true; return nil })
		if err == nil && !made {
			return sql.ErrNoRows
		}
		return err
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
