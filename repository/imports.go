package repository

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Import remembers what was taken over from another server, so that it is not taken over again when it has changed, or was
// removed, only here.
type Import struct {
	Source string    `gorm:"primaryKey"` // the other server's table
	Key    []byte    `gorm:"primaryKey"` // of the row there
	UserID uuid.UUID // the account here
	Digest []byte    // of what the row said
}

// AfterFind makes an empty digest what was stored: SQLite's driver returns nil for it.
func (i *Import) AfterFind(*gorm.DB) error {
	if i.Digest == nil {
		i.Digest = []byte{}
	}
	return nil
}

// Imports are what was taken over from one table.
type Imports struct {
	db     *DB
	source string
}

// Imports are what was taken over from a table of another server.
func (db *DB) Imports(source string) *Imports { return &Imports{db, source} }

// Of returns what was taken over under these keys, by key.
func (i *Imports) Of(ctx context.Context, keys [][]byte) (map[string]Import, error) {
	var rows []Import
	err := i.db.do(ctx, "imports by key", func(db *gorm.DB) error {
		return db.Where("source = ? AND key IN ?", i.source, keys).Find(&rows).Error
	})
	of := make(map[string]Import, len(rows))
	for _, row := range rows {
		of[string(row.Key)] = row
	}
	return of, err
}

// After returns what was taken over in the order of the keys, at most so many, from the one behind a key on; an empty key
// is before the first.
func (i *Imports) After(ctx context.Context, key []byte, most int) ([]Import, error) {
	var rows []Import
	err := i.db.do(ctx, "list imports", func(db *gorm.DB) error {
		return db.Where("source = ? AND key > ?", i.source, append([]byte{}, key...)).Order("key").Limit(most).Find(&rows).Error
	})
	return rows, err
}

// Users stores those new accounts whose names and ids are free, each with what is to be remembered of it, all or nothing,
// and returns the ids of the stored ones.
func (i *Imports) Users(ctx context.Context, users []User, rows []Import) (stored map[uuid.UUID]bool, err error) {
	stored = map[uuid.UUID]bool{}
	if len(users) == 0 {
		return stored, nil
	}
	err = i.db.do(ctx, "import users", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			clear(stored)
			if err := createFree(tx, users, stored); err != nil {
				return err
			}
			var theirs []Import
			for _, row := range rows {
				if stored[row.UserID] {
					row.Source = i.source
					theirs = append(theirs, row)
				}
			}
			if len(theirs) == 0 {
				return nil
			}
			return tx.Create(&theirs).Error
		})
	})
	return stored, err
}

// createFree stores those accounts whose names and ids are free, and notes the ids of the stored ones.
func createFree(tx *gorm.DB, users []User, stored map[uuid.UUID]bool) error {
	ids, before := make([]uuid.UUID, len(users)), map[uuid.UUID]bool{}
	for n, user := range users {
		ids[n] = user.ID
	}
	if err := noteIDs(tx, ids, before); err != nil {
		return err
	}
	if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&users).Error; err != nil {
		return err
	}
	if err := noteIDs(tx, ids, stored); err != nil {
		return err
	}
	for id := range before {
		delete(stored, id)
	}
	return nil
}

func noteIDs(tx *gorm.DB, ids []uuid.UUID, into map[uuid.UUID]bool) error {
	var found []uuid.UUID
	err := tx.Model(&User{}).Where("id IN ?", ids).Pluck("id", &found).Error
	for _, id := range found {
		into[id] = true
	}
	return err
}

// Replace makes columns of an account what its row says now, and remembers the row. An account that is made inactive loses its
// tokens and code. It is ErrUsernameTaken where another account has the name, and ErrNotFound where the account is gone.
func (i *Imports) Replace(ctx context.Context, user User, columns []string, row Import) error {
	return i.db.do(ctx, "replace user", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			result := tx.Model(&User{}).Where("id = ?", user.ID).Select(columns).Updates(&user)
			if result.Error == nil && result.RowsAffected == 0 {
				return gorm.ErrRecordNotFound
			}
			if result.Error != nil {
				return result.Error
			}
			if slices.Contains(columns, "is_active") && !user.IsActive {
				if err := endSignIns(tx, user.ID); err != nil {
					return err
				}
			}
			return i.remember(tx, row)
		})
	})
}

// Expire changes when a token that was taken over ends, and remembers the row.
func (i *Imports) Expire(ctx context.Context, expires *time.Time, row Import) error {
	return i.db.do(ctx, "change expiry", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Model(&Token{}).Where("digest = ?", row.Key).Update("expires_at", expires).Error; err != nil {
				return err
			}
			return i.remember(tx, row)
		})
	})
}

func (i *Imports) remember(tx *gorm.DB, row Import) error {
	return tx.Model(&Import{}).Where("source = ? AND key = ?", i.source, row.Key).Update("digest", row.Digest).Error
}

// Tokens stores the tokens of accounts that are active, each with what is to be remembered of it, all or nothing, and
// returns these. A token that is there already is left alone, and remembered.
func (i *Imports) Tokens(ctx context.Context, tokens []Token, rows []Import) (stored []Token, err error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	var owners []uuid.UUID
	for _, token := range tokens {
		owners = append(owners, token.UserID)
	}
	err = i.db.do(ctx, "import tokens", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			var active []uuid.UUID
			held := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthShare}) // so that who deactivates them finds the tokens
			if err := held.Model(&User{}).Where("id IN ? AND is_active", owners).Pluck("id", &active).Error; err != nil {
				return err
			}
			is := make(map[uuid.UUID]bool, len(active))
			for _, id := range active {
				is[id] = true
			}
			stored = nil
			var remember []Import
			for n, token := range tokens {
				if is[token.UserID] {
					rows[n].Source = i.source
					stored, remember = append(stored, token), append(remember, rows[n])
				}
			}
			if len(stored) == 0 {
				return nil
			}
			there := clause.OnConflict{Columns: []clause.Column{{Name: "digest"}}, DoNothing: true}
			return errors.Join(tx.Clauses(there).Create(&stored).Error, tx.Create(&remember).Error)
		})
	})
	return stored, err
}

// Forget removes accounts, or tokens where the keys are digests of tokens, and what is remembered of them.
func (i *Imports) Forget(ctx context.Context, rows []Import, tokens bool) error {
	if len(rows) == 0 {
		return nil
	}
	var keys [][]byte
	var ids []uuid.UUID
	for _, row := range rows {
		keys, ids = append(keys, row.Key), append(ids, row.UserID)
	}
	return i.db.do(ctx, "forget imports", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			remove, of := tx.Where("id IN ?", ids), any(&User{})
			if tokens {
				remove, of = tx.Where("digest IN ?", keys), &Token{}
			}
			return errors.Join(remove.Delete(of).Error, tx.Where("source = ? AND key IN ?", i.source, keys).Delete(&Import{}).Error)
		})
	})
}
