package repository

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// openFile opens a fresh, migrated SQLite file.
func openFile(t *testing.T) (db *DB, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "rollbook.db")
	db, err := Open(t.Context(), "sqlite:"+path, Settings{Timeout: 7 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, path
}

// What makes the file durable, private and consistent are settings that nothing else would miss.
func TestSQLiteSettings(t *testing.T) {
	t.Parallel()
	db, path := openFile(t)
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "7000",
	} {
		var got string
		if err := db.sql.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %s", info.Name(), info.Mode())
		}
	}
}

// Transactions that read before they write wait for each other, too.
func TestSQLiteTransactionsWait(t *testing.T) {
	t.Parallel()
	db, _ := openFile(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := db.gorm.Transaction(func(tx *gorm.DB) error {
				var count int64
				if err := tx.Model(&User{}).Count(&count).Error; err != nil {
					return err
				}
				return tx.Create(&User{Profile: Profile{ID: uuid.New(), Username: fmt.Sprint(count, "-", i)}}).Error
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// The file holds a token's SHA-256, and its key nowhere.
func TestKeysAreNotStored(t *testing.T) {
	t.Parallel()
	db, path := openFile(t)
	user := User{Profile: Profile{ID: uuid.New(), Username: "richard"}}
	token, key := NewToken(user.ID, "test")
	if err := db.Users().CreateSignedIn(t.Context(), user, token); err != nil {
		t.Fatal(err)
	}
	var stored []byte
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, text...)
	}
	digest := sha256.Sum256([]byte(key))
	if !bytes.Contains(stored, digest[:]) || bytes.Contains(stored, []byte(key)) {
		t.Error("the file does not hold the digest, or it holds the key")
	}
}

// Rate limits do not hold the names that they are about, and are removed once they have expired.
func TestLimitsAreNamelessAndPurged(t *testing.T) {
	t.Parallel()
	db, path := openFile(t)
	limits, err := db.Limits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := db.Limits(t.Context()); err != nil || !bytes.Equal(again.Key("x"), limits.Key("x")) {
		t.Errorf("another instance has other names: %v", err)
	}
	if bytes.Equal(limits.Key("a", "bc"), limits.Key("ab", "c")) {
		t.Error("two things have one name")
	}
	const name = "typed-into-the-wrong-field"
	take := func(key []byte, window time.Duration) {
		if _, err := limits.Take(t.Context(), nil, Limit{Key: key, Account: key, Max: 10_000, Window: window}); err != nil {
			t.Fatal(err)
		}
	}
	take(limits.Key(name), time.Microsecond)
	for _, suffix := range []string{"", "-wal"} {
		if text, err := os.ReadFile(path + suffix); err != nil || bytes.Contains(text, []byte(name)) {
			t.Errorf("the file holds the name, or %v", err)
		}
	}
	user := User{Profile: Profile{ID: uuid.New(), Username: "u"}}
	if err := db.Users().Create(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if err := db.gorm.Create(&knownNetwork{Key: limits.Key("old"), UserID: user.ID, ExpiresAt: 1}).Error; err != nil {
		t.Fatal(err)
	}
	for range 20 * purgeOneIn { // so that it is not purged once in a billion
		take(limits.Key("another"), time.Hour)
		var rows, networks int64
		if err := errors.Join(db.gorm.Model(&limit{}).Count(&rows).Error, db.gorm.Model(&knownNetwork{}).Count(&networks).Error); err != nil {
			t.Fatal(err)
		}
		if rows == 1 && networks == 0 {
			return
		}
	}
	t.Error("what has expired was never removed")
}
