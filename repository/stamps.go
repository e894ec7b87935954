package repository

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Stamp is a password stamp that tokens of an account have. It is nil for tokens that have none.
type Stamp struct {
	UserID        uuid.UUID
	PasswordStamp *string
}

// Stamps returns the different password stamps of the tokens of accounts, by account. An account has several if it
// signed in before and after a change of its password.
func (t *Tokens) Stamps(ctx context.Context, users []uuid.UUID) (map[uuid.UUID][]*string, error) {
	var found []Stamp
	err := t.db.do(ctx, "password stamps of tokens", func(db *gorm.DB) error {
		return db.Model(&Token{}).Distinct("user_id", "password_stamp").Where("user_id IN ?", users).Scan(&found).Error
	})
	stamps := map[uuid.UUID][]*string{}
	for _, s := range found {
		stamps[s.UserID] = append(stamps[s.UserID], s.PasswordStamp)
	}
	return stamps, err
}

// deletedAtOnce bounds a statement that deletes tokens, and the ids that it returns.
const deletedAtOnce = 1000

// DeleteStamped removes the tokens of an account that have a password stamp, in batches, and returns their ids. As after
// each change of a password, the account has no known networks any more.
func (t *Tokens) DeleteStamped(ctx context.Context, user uuid.UUID, stamp string) (ids []uuid.UUID, err error) {
	for {
		var deleted []Token
		err := t.db.do(ctx, "delete tokens by password stamp", func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				some := tx.Model(&Token{}).Select("id").Limit(deletedAtOnce).
					Where("user_id = ? AND password_stamp = ?", user, stamp)
				returning := clause.Returning{Columns: []clause.Column{{Name: "id"}}}
				err := tx.Clauses(returning).Where("id IN (?)", some).Delete(&deleted).Error
				return errors.Join(err, forgetNetworks(tx, user))
			})
		})
		if err != nil {
			return ids, err
		}
		for _, token := range deleted {
			ids = append(ids, token.ID)
		}
		if len(deleted) < deletedAtOnce {
			return ids, nil
		}
	}
}

// AddStamps gives a password stamp to the tokens of accounts that have none, in batches: they were created before the
// directory, or this program, had stamps.
func (t *Tokens) AddStamps(ctx context.Context, stamps []Stamp) error {
	for some := range slices.Chunk(stamps, revisedAtOnce) {
		err := t.db.do(ctx, "add password stamps", func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				for _, s := range some {
					missing := tx.Model(&Token{}).Where("user_id = ? AND password_stamp IS NULL", s.UserID)
					if err := missing.Update("password_stamp", s.PasswordStamp).Error; err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
