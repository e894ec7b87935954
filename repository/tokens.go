package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

const (
	// keyBytes is how many random bytes a key holds; it is written as twice as many hexadecimal digits, as DRF's keys are.
	keyBytes = 20
	// MaxClient is how many characters of a client's name are kept.
	MaxClient = 200
	// maxListed bounds a list of tokens.
	maxListed = 100
	// usedPrecision is how old LastUsedAt may be before it is written anew, where no idle limit asks for less.
	usedPrecision = time.Hour
)

// Token is what the database keeps of a token: not the key, but its SHA-256.
type Token struct {
	ID         uuid.UUID
	UserID     uuid.UUID
	Digest     []byte
	Client     string // what the client called itself, at most MaxClient characters
	CreatedAt  time.Time
	LastUsedAt time.Time  // give or take usedPrecision
	ExpiresAt  *time.Time // where it has an end of its own, whatever the Lifetimes say
	// PasswordStamp is the directory's opaque value for the password that was verified: it changes when the password
	// does. It is nil for tokens of local accounts, and if the directory has no such value.
	PasswordStamp *string
}

// NewToken makes a token for an account, and the key that the client is to carry: 40 hexadecimal digits, kept nowhere.
func NewToken(userID uuid.UUID, client string) (token Token, key string) {
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // never fails: it ends the program rather
	key = hex.EncodeToString(random)
	return Token{ID: uuid.New(), UserID: userID, Digest: Digest(key), Client: shorten(client)}, key
}

// longKey is how many characters the keys of django-rest-knox have.
const longKey = 64

// Digest is what is kept of a key: its SHA-256.
func Digest(key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// digests are what may be kept of a key: of the keys of django-rest-knox, their SHA-512, which was that of the bytes that
// they stand for until its version 5.
func digests(key string) [][]byte {
	all := [][]byte{Digest(key)}
	if len(key) != longKey {
		return all
	}
	text := sha512.Sum512([]byte(key))
	all = append(all, text[:])
	if raw, err := hex.DecodeString(key); err == nil {
		sum := sha512.Sum512(raw)
		all = append(all, sum[:])
	}
	return all
}

// ImportedToken is an account's token that another server has made, which keeps its key. It was made then, and counts as
// used now.
func ImportedToken(userID uuid.UUID, digest []byte, created time.Time, expires *time.Time) Token {
	return Token{ID: uuid.New(), UserID: userID, Digest: digest, Client: "imported", CreatedAt: created.UTC(), ExpiresAt: expires}
}

// shorten cuts a client's name to MaxClient characters.
func shorten(client string) string {
	if runes := []rune(client); len(runes) > MaxClient {
		return string(runes[:MaxClient])
	}
	return client
}

// BeforeCreate says that a token is used now, and was made now where nothing else is known.
func (t *Token) BeforeCreate(tx *gorm.DB) error {
	t.LastUsedAt = tx.NowFunc()
	if t.CreatedAt.IsZero() {
		t.CreatedAt = t.LastUsedAt
	}
	return nil
}

// Lifetimes are how long tokens live; 0 is for ever.
type Lifetimes struct {
	Idle     time.Duration // since they were last used
	Absolute time.Duration // since they were made
}

// precision is how old LastUsedAt may get.
func (l Lifetimes) precision() time.Duration {
	const share = 10 // of the idle limit, so that it is kept to within a tenth
	if l.Idle > 0 {
		return min(usedPrecision, l.Idle/share)
	}
	return usedPrecision
}

// alive is the condition that a token t is alive, to stand behind others. Its values are the limits.
func (l Lifetimes) alive() string {
	sql := " AND (t.expires_at IS NULL OR t.expires_at > ?)"
	if l.Idle > 0 {
		sql += " AND t.last_used_at > ?"
	}
	if l.Absolute > 0 {
		sql += " AND t.created_at > ?"
	}
	return sql
}

// limits are the values that alive compares with at the time now, behind other values.
func (l Lifetimes) limits(now time.Time, values ...any) []any {
	values = append(values, now)
	if l.Idle > 0 {
		values = append(values, now.Add(-l.Idle))
	}
	if l.Absolute > 0 {
		values = append(values, now.Add(-l.Absolute))
	}
	return values
}

// dead is the condition that a token t is not alive at the time now, and its values. Among many tokens an index finds those that end, and
// those that were made before the shorter limit, which is whatever can have reached one.
func (l Lifetimes) dead(now time.Time) (sql string, values []any) {
	sql, values = "t.expires_at <= ?", []any{now}
	shorter := l.Absolute
	if l.Idle > 0 && (shorter == 0 || l.Idle < shorter) {
		shorter = l.Idle
	}
	if shorter > 0 {
		sql += " OR t.created_at <= ? AND NOT (TRUE" + l.alive() + ")"
		values = l.limits(now, now, now.Add(-shorter))
	}
	return "(" + sql + ")", values
}

// Tokens are the tokens of a database.
type Tokens struct {
	db        *DB
	lifetimes Lifetimes
	owner     string // the statement that finds whose token has a digest
	owners    string // the same of several digests
	lookups   gatherer[lookup]
}

// lookup asks whose a token of one of the digests is.
type lookup struct {
	digests [][]byte
	owner   Profile
	token   uuid.UUID // zero where there is none
	used    time.Time
}

func newTokens(db *DB, l Lifetimes) *Tokens {
	find := "SELECT t.digest, t.id, t.last_used_at, " + profileColumns + " FROM tokens t JOIN users ON users.id = t.user_id WHERE t.digest "
	alive := " AND users.is_active" + l.alive()
	t := &Tokens{db: db, lifetimes: l, owner: find + "= ?" + alive, owners: find + "= ANY (?)" + alive}
	t.lookups.ask, t.lookups.timeout = t.find, db.timeout
	return t
}

// Create stores a new token. Its times are set.
func (t *Tokens) Create(ctx context.Context, token Token) error {
	return t.db.do(ctx, "create token", func(db *gorm.DB) error { return db.Create(&token).Error })
}

// SignIn stores a new token of an active account that has this encoded password still. It is ErrNotFound where it has
// not: a change of the password, or a deactivation, that was answered before ends sign-ins that are under way, too. The
// account's tokens that have outlived their limits are removed.
func (t *Tokens) SignIn(ctx context.Context, token Token, encoded string) error {
	now := t.db.Now()
	dead, limits := t.lifetimes.dead(now)
	old := statement{"DELETE FROM tokens AS t WHERE t.user_id = ? AND " + dead, append([]any{token.UserID}, limits...)}
	// The account is held until the token is there, so that who ends sign-ins finds it.
	made := statement{`INSERT INTO tokens (id, user_id, digest, client, created_at, last_used_at, expires_at, password_stamp)
		SELECT ?, users.id, ?, ?, ?, ?, ?, ? FROM users WHERE users.id = ? AND users.is_active AND users.password = ?` + t.db.dialect.forShare + ` RETURNING id`,
		[]any{token.ID, token.Digest, token.Client, now, now, token.ExpiresAt, token.PasswordStamp, token.UserID, encoded}}
	return t.db.run(ctx, "sign in", func(ctx context.Context) error { return t.db.dialect.both(ctx, old, made) })
}

// Owner returns the profile of the account that a key signs in, and the id of the key's token, with one statement or less; another
// one notes the use where the last is noted as long ago. It is ErrNotFound where the key is unknown, the token has outlived its
// limits or the account is not active.
func (t *Tokens) Owner(ctx context.Context, key string) (owner Profile, token uuid.UUID, err error) {
	l := lookup{digests: digests(key)}
	err = t.db.run(ctx, "owner of token", func(ctx context.Context) error {
		if err := t.lookups.do(ctx, &l); err != nil || l.token != (uuid.UUID{}) {
			return err
		}
		return sql.ErrNoRows
	})
	if err != nil {
		return Profile{}, uuid.UUID{}, err
	}
	if now := t.db.Now(); now.Sub(l.used) >= t.lifetimes.precision() {
		err = t.use(ctx, l.token, now)
	}
	return l.owner, l.token, err
}

// find asks for several tokens at once.
func (t *Tokens) find(ctx context.Context, lookups []*lookup) error {
	var digests [][]byte
	for _, l := range lookups {
		digests = append(digests, l.digests...)
	}
	statement, value := t.owners, any(digests)
	if len(digests) == 1 { // which PostgreSQL plans once, but arrays of few values each time
		statement, value = t.owner, digests[0]
	}
	return t.db.dialect.rows(ctx, statement, t.lifetimes.limits(t.db.Now(), value), func(read scan) error {
		var digest []byte
		var found lookup
		if err := read(append([]any{&digest, &found.token, &found.used}, found.owner.fields()...)...); err != nil {
			return err
		}
		for _, l := range lookups {
			if slices.ContainsFunc(l.digests, func(d []byte) bool { return bytes.Equal(d, digest) }) {
				l.owner, l.token, l.used = found.owner, found.token, found.used
			}
		}
		return nil
	})
}

// use notes that a token was used. Where nothing can be written, on a full disk or a standby, the next request notes it.
func (t *Tokens) use(ctx context.Context, token uuid.UUID, now time.Time) error {
	return t.db.do(ctx, "note the use of a token", func(db *gorm.DB) error {
		err := db.Model(&Token{}).Where("id = ?", token).Update("last_used_at", now).Error
		if err != nil && t.db.dialect.away(err) {
			return nil
		}
		return err
	})
}

// Of returns the tokens of an account that are alive, the latest first, and at most 100.
func (t *Tokens) Of(ctx context.Context, user uuid.UUID) ([]Token, error) {
	var tokens []Token
	err := t.db.do(ctx, "tokens of user", func(db *gorm.DB) error {
		return db.Raw("SELECT * FROM tokens t WHERE t.user_id = ?"+t.lifetimes.alive()+" ORDER BY t.created_at DESC, t.id LIMIT ?",
			append(t.lifetimes.limits(db.NowFunc(), user), maxListed)...).Scan(&tokens).Error
	})
	return tokens, err
}

// Delete removes a token of an account. It is ErrNotFound where the account has no such token.
func (t *Tokens) Delete(ctx context.Context, user, id uuid.UUID) error {
	return t.db.do(ctx, "delete token", func(db *gorm.DB) error {
		result := db.Where("id = ? AND user_id = ?", id, user).Delete(&Token{})
		if result.Error == nil && result.RowsAffected == 0 {
			return gorm.ErrRecordNotFound
		}
		return result.Error
	})
}

// DeleteAll removes every token of an account.
func (t *Tokens) DeleteAll(ctx context.Context, user uuid.UUID) error {
	return t.db.do(ctx, "delete tokens", func(db *gorm.DB) error {
		return db.Where("user_id = ?", user).Delete(&Token{}).Error
	})
}

// EndSessions removes every token of an account, and its known networks.
func (t *Tokens) EndSessions(ctx context.Context, user uuid.UUID) error {
	return t.db.do(ctx, "end sessions", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			return errors.Join(tx.Where("user_id = ?", user).Delete(&Token{}).Error, forgetNetworks(tx, user))
		})
	})
}
