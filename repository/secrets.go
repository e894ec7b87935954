package repository

import (
	"context"
	"crypto/rand"
	"crypto/sha256"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Secret returns the random key of this name that all processes with this database share. The first call creates it.
func (db *DB) Secret(ctx context.Context, name string) ([]byte, error) {
	ours := secret{Name: name, Value: make([]byte, sha256.Size)}
	_, _ = rand.Read(ours.Value) // never fails: it ends the program rather
	var stored secret
	err := db.do(ctx, "shared secret", func(g *gorm.DB) error {
		if err := g.Clauses(clause.OnConflict{DoNothing: true}).Create(&ours).Error; err != nil {
			return err
		}
		return g.Where("name = ?", name).Take(&stored).Error
	})
	return stored.Value, err
}
