package repository

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// keyBytes is how many random bytes a key holds; it is written as twice as many hexadecimal digits, as DRF's keys are.
const keyBytes = 20

// Token is what the database keeps of a token: not the key, but its SHA-256.
type Token struct {
	ID        uuid.UUID
	UserID    uuid.UUID
	Digest    []byte
	CreatedAt time.Time
}

// NewToken makes a token for an account, and the key that the client is to carry: 40 hexadecimal digits, kept nowhere.
func NewToken(userID uuid.UUID) (token Token, key string) {
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // never fails: it ends the program rather
	key = hex.EncodeToString(random)
	return Token{ID: uuid.New(), UserID: userID, Digest: digest(key)}, key
}

func digest(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// Tokens are the tokens of a database.
type Tokens struct{ db *DB }

// Create stores a new token. Its time is set.
func (t *Tokens) Create(ctx context.Context, token Token) error {
	return t.db.do(ctx, "create token", func(db *gorm.DB) error { return db.Create(&token).Error })
}

// Owner returns the account that a key signs in, and the id of the key's token, with one statement. It is ErrNotFound
// where the key is unknown or the account is not active.
func (t *Tokens) Owner(ctx context.Context, key string) (User, uuid.UUID, error) {
	var row struct {
		User
		TokenID uuid.UUID
	}
	err := t.db.do(ctx, "owner of token", func(db *gorm.DB) error {
		return db.Raw(`SELECT u.id, u.username, u.first_name, u.last_name, u.email, u.password, u.is_active,
			u.created_at, u.updated_at, t.id AS token_id
			FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.digest = ? AND u.is_active`, digest(key)).
			Take(&row).Error
	})
	return row.User, row.TokenID, err
}

// Delete removes a token. One that is gone already is no error.
func (t *Tokens) Delete(ctx context.Context, id uuid.UUID) error {
	return t.db.do(ctx, "delete token", func(db *gorm.DB) error {
		return db.Where("id = ?", id).Delete(&Token{}).Error
	})
}
