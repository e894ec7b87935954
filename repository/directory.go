package repository

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Arrival is how an account has come to be as a directory says.
type Arrival int

// The arrivals.
const (
	Known Arrival = iota // it was there, and active or not
	New                  // it was made
	Back                 // it had left, and is active again
)

// FromDirectory makes an account what a directory says of the person with its DirectoryID: its names and email address are
// overwritten, and where it had left, it is active again; who has none yet gets this one. An account that an operator has
// deactivated stays so. It is ErrUsernameTaken where another account has the username. changed are the fields that were
// overwritten with another value.
func (u *Users) FromDirectory(ctx context.Context, person User) (stored User, how Arrival, changed []string, err error) {
	update := func() error {
		return u.db.do(ctx, "update user from directory", func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) (err error) {
				stored, how, changed, err = updateFromDirectory(tx, person)
				return err
			})
		})
	}
	if err = update(); !errors.Is(err, ErrNotFound) {
		return stored, how, changed, err
	}
	if err = u.Create(ctx, person); err == nil {
		return person, New, nil, nil
	}
	taken := err // perhaps by somebody who makes the same one: which of the two constraints says so is not defined
	if err = update(); errors.Is(err, ErrNotFound) {
		err = taken
	}
	return stored, how, changed, err
}

func updateFromDirectory(tx *gorm.DB, person User) (user User, how Arrival, fields []string, err error) {
	if err := tx.Where("directory_id = ?", person.DirectoryID).Take(&user).Error; err != nil {
		return user, Known, nil, err
	}
	if user.LeftAt == nil && user.hasNamesOf(person) {
		return user, Known, nil, nil
	}
	// The row is locked and read again: an operator may have deactivated the account, or a sync found that it has left.
	user = User{}
	locked := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})
	if err := locked.Where("directory_id = ?", person.DirectoryID).Take(&user).Error; err != nil {
		return user, Known, nil, err
	}
	was := user.Profile
	user.Username, user.FirstName, user.LastName, user.Email = person.Username, person.FirstName, person.LastName, person.Email
	if user.LeftAt != nil {
		how, user.IsActive, user.LeftAt = Back, true, nil
	}
	err = tx.Select("username", "first_name", "last_name", "email", "is_active", "left_at", "updated_at").Updates(&user).Error
	return user, how, user.Differing(was), err
}

// hasNamesOf reports whether an account has the names and the address that a directory gives.
func (u *User) hasNamesOf(person User) bool {
	wanted := person.Profile
	wanted.ID = u.ID
	return u.Profile == wanted
}

// OfDirectory returns active accounts of a directory in the order of their DirectoryIDs, at most so many, from the one behind an id
// on; "" is before the first.
func (u *Users) OfDirectory(ctx context.Context, directoryID string, most int) ([]User, error) {
	var users []User
	err := u.db.do(ctx, "list users of directory", func(db *gorm.DB) error {
		return db.Where("directory_id > ? AND is_active", directoryID).Order("directory_id").Limit(most).Find(&users).Error
	})
	return users, err
}

// Leave makes accounts of a directory inactive that have left it: they lose their tokens and codes, and are active again when the
// directory has them again. left tells of which this is true: the others were inactive already.
func (u *Users) Leave(ctx context.Context, ids []uuid.UUID) (left []uuid.UUID, err error) {
	for some := range slices.Chunk(ids, revisedAtOnce) {
		var now []uuid.UUID
		err := u.db.do(ctx, "leave", func(db *gorm.DB) error {
			return db.Transaction(func(tx *gorm.DB) error {
				held := tx.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}).Model(&User{})
				if err := held.Where("id IN ? AND directory_id IS NOT NULL AND is_active", some).Order("id").Pluck("id", &now).Error; err != nil {
					return err
				}
				err := tx.Model(&User{}).Where("id IN ?", now).Updates(map[string]any{"is_active": false, "left_at": tx.NowFunc()}).Error
				for _, id := range now {
					err = errors.Join(err, endSignIns(tx, id))
				}
				return err
			})
		})
		if err != nil {
			return left, err
		}
		left = append(left, now...)
	}
	return left, nil
}
