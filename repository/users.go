package repository

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Profile is what an account shows of itself.
type Profile struct {
	ID        uuid.UUID
	Username  string
	FirstName string
	LastName  string
	Email     string
}

// Differing returns the names of the fields in which two profiles differ, id aside.
func (p Profile) Differing(other Profile) (fields []string) {
	for _, field := range []struct {
		name string
		same bool
	}{
		{"username", p.Username == other.Username},
		{"first_name", p.FirstName == other.FirstName},
		{"last_name", p.LastName == other.LastName},
		{"email", p.Email == other.Email},
	} {
		if !field.same {
			fields = append(fields, field.name)
		}
	}
	return fields
}

// User is an account.
type User struct {
	Profile
	Password string // encoded as package password does; empty where the account has none
	IsActive bool
	// DirectoryID is the id of who has the account in the directory that knows their password, nil for local accounts.
	DirectoryID *string
	LeftAt      *time.Time // where it is inactive since the directory has them no more
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// UserChanges holds what to change of an account. A nil leaves the field as it is.
type UserChanges struct {
	FirstName *string
	LastName  *string
	Email     *string
}

// Fields returns the names of the fields to change.
func (c UserChanges) Fields() (fields []string) {
	for _, field := range []struct {
		name string
		to   *string
	}{{"first_name", c.FirstName}, {"last_name", c.LastName}, {"email", c.Email}} {
		if field.to != nil {
			fields = append(fields, field.name)
		}
	}
	return fields
}

// Apply returns a profile with the changes made to it.
func (c UserChanges) Apply(p Profile) Profile {
	for _, field := range []struct{ from, to *string }{{c.FirstName, &p.FirstName}, {c.LastName, &p.LastName}, {c.Email, &p.Email}} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
	return p
}

// Users are the accounts of a database.
type Users struct{ db *DB }

// Create stores a new account. Its times are set. It is ErrUsernameTaken where another account has the username, however
// close together the two were created.
func (u *Users) Create(ctx context.Context, user User) error {
	return u.db.do(ctx, "create user", func(db *gorm.DB) error { return db.Create(&user).Error })
}

// CreateSignedIn is Create with the account's first token: both are stored or neither is.
func (u *Users) CreateSignedIn(ctx context.Context, user User, token Token) error {
	now := u.db.Now()
	account := statement{`INSERT INTO users (id, username, first_name, last_name, email, password, is_active, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, []any{
		user.ID, user.Username, user.FirstName, user.LastName, user.Email, user.Password, user.IsActive, now, now,
	}}
	first := statement{`INSERT INTO tokens (id, user_id, digest, client, created_at, last_used_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id`, []any{token.ID, user.ID, token.Digest, token.Client, now, now, token.ExpiresAt}}
	return u.db.run(ctx, "create user", func(ctx context.Context) error { return u.db.dialect.both(ctx, account, first) })
}

// The columns of accounts, in the order of fields.
const (
	profileColumns = "users.id, users.username, users.first_name, users.last_name, users.email"
	userColumns    = profileColumns + ", users.password, users.is_active, users.directory_id, users.left_at, users.created_at, users.updated_at"
)

// fields has room for what a statement returns beside them.
func (p *Profile) fields() []any {
	const room = 12
	return append(make([]any, 0, room), &p.ID, &p.Username, &p.FirstName, &p.LastName, &p.Email)
}

func (u *User) fields() []any {
	return append(u.Profile.fields(), &u.Password, &u.IsActive, &u.DirectoryID, &u.LeftAt, &u.CreatedAt, &u.UpdatedAt)
}

// ByID returns the account with this id, or ErrNotFound.
func (u *Users) ByID(ctx context.Context, id uuid.UUID) (User, error) {
	return u.one(ctx, "user by id", "SELECT "+userColumns+" FROM users WHERE users.id = ?", id)
}

// ByUsername returns the account with exactly this username (usernames are case-sensitive), or ErrNotFound.
func (u *Users) ByUsername(ctx context.Context, username string) (User, error) {
	return u.one(ctx, "user by username", "SELECT "+userColumns+" FROM users WHERE users.username = ?", username)
}

// Update changes an account and returns its profile as it is afterwards, or ErrNotFound.
func (u *Users) Update(ctx context.Context, id uuid.UUID, changes UserChanges) (profile Profile, err error) {
	if changes == (UserChanges{}) {
		user, err := u.ByID(ctx, id)
		return user.Profile, err
	}
	values := []any{changes.FirstName, changes.LastName, changes.Email, u.db.Now(), id}
	err = u.db.row(ctx, "update user", `UPDATE users SET first_name = coalesce(?, first_name), last_name = coalesce(?, last_name),
		email = coalesce(?, email), updated_at = ? WHERE users.id = ? RETURNING `+profileColumns, values, profile.fields())
	return profile, err
}

func (u *Users) one(ctx context.Context, what, statement string, values ...any) (user User, err error) {
	err = u.db.row(ctx, what, statement, values, user.fields())
	return user, err
}

// SetPassword changes an account's encoded password and removes its one-time code, its known networks and its tokens but
// the one to keep, all or nothing. It is ErrNotFound where there is no such account.
func (u *Users) SetPassword(ctx context.Context, id uuid.UUID, encoded string, keep uuid.UUID) error {
	return u.setPassword(ctx, id, encoded, keep, "id = ?", id)
}

// ChangePassword is SetPassword where the encoded password is still the old one, and ErrNotFound where it is not.
func (u *Users) ChangePassword(ctx context.Context, id uuid.UUID, old, encoded string, keep uuid.UUID) error {
	return u.setPassword(ctx, id, encoded, keep, "id = ? AND password = ?", id, old)
}

func (u *Users) setPassword(ctx context.Context, id uuid.UUID, encoded string, keep uuid.UUID, where string, values ...any) error {
	return u.db.do(ctx, "set password", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := updateOne(tx.Where(where, values...), map[string]any{"password": encoded}); err != nil {
				return err
			}
			return errors.Join(
				tx.Where("user_id = ? AND id <> ?", id, keep).Delete(&Token{}).Error,
				tx.Where("user_id = ?", id).Delete(&Code{}).Error,
				forgetNetworks(tx, id),
			)
		})
	})
}

// ReplacePassword stores another encoding of the same password, unless it has been changed meanwhile, which is no error.
func (u *Users) ReplacePassword(ctx context.Context, id uuid.UUID, old, encoded string) error {
	return u.db.do(ctx, "replace password", func(db *gorm.DB) error {
		return db.Model(&User{}).Where("id = ? AND password = ?", id, old).Update("password", encoded).Error
	})
}

// SetActive lets an account sign in or not, whether or not its directory has it. One that may not loses its tokens and its one-time
// code in the same moment. It is ErrNotFound where there is no such account.
func (u *Users) SetActive(ctx context.Context, id uuid.UUID, active bool) error {
	return u.db.do(ctx, "set active", func(db *gorm.DB) error {
		return db.Transaction(func(tx *gorm.DB) error {
			if err := updateOne(tx.Where("id = ?", id), map[string]any{"is_active": active, "left_at": nil}); err != nil || active {
				return err
			}
			return endSignIns(tx, id)
		})
	})
}

// Delete removes an account and its tokens. It is ErrNotFound where there is no such account.
func (u *Users) Delete(ctx context.Context, id uuid.UUID) error {
	return u.db.do(ctx, "delete user", func(db *gorm.DB) error {
		result := db.Where("id = ?", id).Delete(&User{})
		if result.Error == nil && result.RowsAffected == 0 {
			return gorm.ErrRecordNotFound
		}
		return result.Error
	})
}

// After returns accounts in the order of their usernames, at most so many, from the one behind a username on; "" is
// before the first.
func (u *Users) After(ctx context.Context, username string, most int) ([]User, error) {
	var users []User
	err := u.db.do(ctx, "list users", func(db *gorm.DB) error {
		return db.Where("username > ?", username).Order("username").Limit(most).Find(&users).Error
	})
	return users, err
}

// LocalPasswords returns the encoded passwords of the next accounts in the order of their ids, and the id of the last of them;
// uuid.Nil is before the first. There is one for each account: it is "" where the account has none or is of a directory.
func (u *Users) LocalPasswords(ctx context.Context, after uuid.UUID, limit int) (encoded []string, last uuid.UUID, err error) {
	const page = `SELECT users.id, CASE WHEN users.directory_id IS NULL THEN users.password ELSE '' END
		FROM users WHERE users.id > ? ORDER BY users.id LIMIT ?`
	err = u.db.run(ctx, "encodings of passwords", func(ctx context.Context) error {
		encoded = make([]string, 0, limit)
		return u.db.dialect.rows(ctx, page, []any{after, limit}, func(read scan) error {
			var one string
			if err := read(&last, &one); err != nil {
				return err
			}
			encoded = append(encoded, one)
			return nil
		})
	})
	return encoded, last, err
}

// updateOne sets columns of the account that a query is for.
func updateOne(query *gorm.DB, columns map[string]any) error {
	result := query.Model(&User{}).Updates(columns)
	if result.Error == nil && result.RowsAffected == 0 {
		return gorm.ErrRecordNotFound
	}
	return result.Error
}
