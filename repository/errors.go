package repository

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"gorm.io/gorm"
)

var (
	// ErrNotFound means that there is no such account or token.
	ErrNotFound = errors.New("not found")
	// ErrUsernameTaken means that another account has the username.
	ErrUsernameTaken = errors.New("username taken")
	// ErrUnavailable means that the database cannot be used for now; the same call may succeed later.
	ErrUnavailable = errors.New("database unavailable")
)

// named wraps an error of the database so that it is the one of this package's errors that it stands for, if any.
func (db *DB) named(err error) error {
	switch {
	case errors.Is(err, gorm.ErrRecordNotFound), errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case db.dialect.usernameTaken(err):
		return ErrUsernameTaken
	case interrupted(err), db.dialect.away(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// interrupted tells whether a call ended before the database had answered. A transaction is done before its time where
// its context has ended.
func interrupted(err error) bool {
	for _, target := range []error{context.DeadlineExceeded, context.Canceled, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
