package repository

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const (
	// codeBytes is how many random bytes a code holds: too many to try them all, even for who has the digest.
	codeBytes = 10
	// codeGroup is how many characters of a code stand between two hyphens.
	codeGroup = 4
)

// codeText writes codes in Crockford's alphabet, which has no letters that are taken for digits.
var codeText = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// codeSpelling undoes what people make of a code: other letters for digits, and separators of their own.
var codeSpelling = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "", " ", "")

// Code is what the database keeps of a one-time code, with which its account sets a password: not the code, but its
// SHA-256. An account has one at most.
type Code struct {
	UserID    uuid.UUID `gorm:"primaryKey"`
	Digest    []byte
	ExpiresAt time.Time
}

// NewCode makes a code of 80 random bits, as in 7KQ4-M2XC-9TRH-V0EN. It is kept nowhere.
func NewCode() string {
	random := make([]byte, codeBytes)
	_, _ = rand.Read(random) // never fails: it ends the program rather
	text := codeText.EncodeToString(random)
	var groups []string
	for ; text != ""; text = text[codeGroup:] {
		groups = append(groups, text[:codeGroup])
	}
	return strings.Join(groups, "-")
}

// CodeFor is what to keep of an account's code that can be used until it expires.
func CodeFor(user uuid.UUID, plain string, expires time.Time) Code {
	return Code{UserID: user, Digest: codeDigest(plain), ExpiresAt: expires.UTC().Truncate(time.Microsecond)}
}

// Is tells whether it is this code, however it is spelled.
func (c Code) Is(plain string) bool { return subtle.ConstantTimeCompare(c.Digest, codeDigest(plain)) == 1 }

func codeDigest(plain string) []byte { return Digest(codeSpelling.Replace(strings.ToUpper(plain))) }

// Codes are the one-time codes of a database.
type Codes struct{ db *DB }

// Codes are the one-time codes of the database.
func (db *DB) Codes() *Codes { return &Codes{db} }

// Put stores an account's code, in the place of the one that it may have.
func (c *Codes) Put(ctx context.Context, code Code) error {
	return c.db.do(ctx, "store code", func(db *gorm.DB) error {
		return db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&code).Error
	})
}

// Of returns the codes that these accounts have and that have not expired.
func (c *Codes) Of(ctx context.Context, users ...uuid.UUID) (map[uuid.UUID]Code, error) {
	var codes []Code
	err := c.db.do(ctx, "codes of users", func(db *gorm.DB) error {
		return db.Where("user_id IN ? AND expires_at > ?", users, db.NowFunc()).Find(&codes).Error
	})
	of := make(map[uuid.UUID]Code, len(codes))
	for _, code := range codes {
		of[code.UserID] = code
	}
	return of, err
}

// Redeem uses an active account's code up: it changes the encoded password and removes all
// tokens and known networks, all or nothing. It is
// ErrNotFound where the account has not, or no longer, this code.
func (c *Codes) Redeem(ctx context.Context, user uuid.UUID, plain, encoded string) error {
	return c.db.do(ctx, "redeem code", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := updateOne(tx.Where("id = ? AND is_active", user), map[string]any{"password": encoded}); err != nil {
				return err
			}
			used := tx.Where("user_id = ? AND digest = ? AND expires_at > ?", user, codeDigest(plain), tx.NowFunc()).Delete(&Code{})
			if used.Error == nil && used.RowsAffected == 0 {
				return gorm.ErrRecordNotFound
			}
			if used.Error != nil {
				return used.Error
			}
			return errors.Join(tx.Where("user_id = ?", user).Delete(&Token{}).Error, forgetNetworks(tx, user))
		})
	})
}
