package repository

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"time"

	"gorm.io/gorm"
)

//go:embed migrations
var migrations embed.FS

// migrationsOf returns the migrations of one dialect: "postgres" or "sqlite".
func migrationsOf(dialect string) fs.FS {
	sub, err := fs.Sub(migrations, "migrations/"+dialect)
	if err != nil {
		panic(err) // the folders are embedded
	}
	return sub
}

// MigrationsHash is the same for as long as the migrations are.
func MigrationsHash() (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(hash, "%s %d\n%s", path, len(text), text)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// Migrate brings the database to the newest version and returns the names of the migrations that it applied. Several
// processes may call it at once: one migrates, the others wait.
func (db *DB) Migrate(ctx context.Context) ([]string, error) {
	var applied []string
	err := db.dialect.exclusively(ctx, func() error {
		results, err := db.goose.Up(ctx)
		for _, r := range results {
			applied = append(applied, r.Source.Path)
		}
		return err
	})
	if err != nil {
		return applied, fmt.Errorf("migrate the database: %w", err)
	}
	return applied, nil
}

// Versions returns the version that the database is at, and the newest that this release knows. Where the database is at a
// higher one, a newer release has migrated it.
func (db *DB) Versions(ctx context.Context) (at, known int64, err error) {
	var row struct {
		At  int64
		Now *time.Time
	}
	err = db.do(ctx, "version of the database", func(g *gorm.DB) error {
		before := db.dialect.clock.local()
		err := g.Raw("SELECT max(version_id) AS at, " + db.dialect.now + " AS now FROM goose_db_version WHERE is_applied").Scan(&row).Error
		if err == nil && row.Now != nil { // readiness is asked for often: the clock is never long unread
			db.dialect.clock.read(*row.Now, before, db.dialect.clock.local())
		}
		return err
	})
	return row.At, db.newest, err
}

// Ready returns nil where the database answers and is migrated to at least the version that this release needs.
func (db *DB) Ready(ctx context.Context) error {
	at, needed, err := db.Versions(ctx)
	if err != nil {
		return err
	}
	if at < needed {
		return fmt.Errorf("the database is at version %d, this release needs %d: %w", at, needed, ErrUnavailable)
	}
	return nil
}
