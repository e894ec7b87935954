package repository

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// MostAtOnce is how many accounts a call about several of them takes at most.
const MostAtOnce = 500

// ByUsernames returns the accounts that there are of these usernames, by their usernames.
func (u *Users) ByUsernames(ctx context.Context, usernames []string) (map[string]User, error) {
	var users []User
	err := u.db.do(ctx, "users by username", func(db *gorm.DB) error {
		return db.Where("username IN ?", usernames).Find(&users).Error
	})
	of := make(map[string]User, len(users))
	for _, user := range users {
		of[user.Username] = user
	}
	return of, err
}

// CreateMissing stores those accounts whose usernames are free, with the codes that are theirs, and returns the ids of the
// stored ones. It leaves the others alone. To give the accounts in the order of their usernames keeps two callers from
// waiting for each other.
func (u *Users) CreateMissing(ctx context.Context, users []User, codes []Code) (stored map[uuid.UUID]bool, err error) {
	stored = map[uuid.UUID]bool{}
	if len(users) == 0 {
		return stored, nil
	}
	err = u.db.do(ctx, "create users", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			clear(stored)
			if err := createFree(tx, users, stored); err != nil {
				return err
			}
			return putCodes(tx, codes, stored)
		})
	})
	return stored, err
}

// putCodes stores those codes whose accounts are meant and have none that can be used.
func putCodes(tx *gorm.DB, codes []Code, of map[uuid.UUID]bool) error {
	var theirs []Code
	for _, code := range codes {
		if of[code.UserID] {
			theirs = append(theirs, code)
		}
	}
	if len(theirs) == 0 {
		return nil
	}
	expired := clause.Where{Exprs: []clause.Expression{clause.Lte{Column: clause.Column{Table: "codes", Name: "expires_at"}, Value: tx.NowFunc()}}}
	return tx.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "user_id"}}, UpdateAll: true, Where: expired,
	}).Create(&theirs).Error
}

// Revision is what to make of an account. A nil leaves it as it is.
type Revision struct {
	ID uuid.UUID
	UserChanges
	Active *bool
	// Password is encoded, for an account that has none: that has OldPassword still.
	Password    *string
	OldPassword string
	Code        *Code // for an account that has none that can be used: that has its own still
}

// revisedAtOnce is how many accounts are revised in one transaction: it has several statements for each, and must end in
// time also where the database is far away.
const revisedAtOnce = 50

// Revise makes all revisions, some at a time. Who is made inactive loses all tokens and the code, as SetActive says. An account
// that is not there, or has another password meanwhile, is no error.
func (u *Users) Revise(ctx context.Context, revisions []Revision) error {
	for some := range slices.Chunk(revisions, revisedAtOnce) {
		err := u.db.do(ctx, "revise users", func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				for _, r := range some {
					if err := revise(tx, r); err != nil {
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

func revise(tx *gorm.DB, r Revision) error {
	if columns := r.columns(); len(columns) > 0 {
		if err := tx.Model(&User{}).Where("id = ?", r.ID).Updates(columns).Error; err != nil {
			return err
		}
	}
	if r.Password != nil {
		set := tx.Model(&User{}).Where("id = ? AND password = ?", r.ID, r.OldPassword).Update("password", *r.Password)
		if set.Error != nil {
			return set.Error
		}
		if set.RowsAffected > 0 { // the code was for who had none
			if err := endSignIns(tx, r.ID); err != nil {
				return err
			}
		}
	}
	if r.Code != nil {
		if err := reviseCode(tx, r); err != nil {
			return err
		}
	}
	if r.Active != nil && !*r.Active {
		return endSignIns(tx, r.ID)
	}
	return nil
}

// columns are those that a revision always sets.
func (r Revision) columns() map[string]any {
	columns := map[string]any{}
	for name, value := range map[string]*string{"first_name": r.FirstName, "last_name": r.LastName, "email": r.Email} {
		if value != nil {
			columns[name] = *value
		}
	}
	if r.Active != nil {
		columns["is_active"] = *r.Active
	}
	return columns
}

// reviseCode gives a code to an account that is active and has the same password still, held until the code is there.
func reviseCode(tx *gorm.DB, r Revision) error {
	var held []User
	err := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).
		Where("id = ? AND is_active AND password = ?", r.ID, r.OldPassword).Find(&held).Error
	if err != nil || len(held) == 0 {
		return err
	}
	return putCodes(tx, []Code{*r.Code}, map[uuid.UUID]bool{r.ID: true})
}

// endSignIns removes all tokens of an account, its code and its known networks.
func endSignIns(tx *gorm.DB, user uuid.UUID) error {
	return errors.Join(
		tx.Where("user_id = ?", user).Delete(&Token{}).Error,
		tx.Where("user_id = ?", user).Delete(&Code{}).Error,
		forgetNetworks(tx, user),
	)
}
