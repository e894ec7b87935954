package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rollbook/rollbook/repository"
)

type copyCmd struct {
	database
	To     string `secret:"" env:"TO_DATABASE_URL" required:"" placeholder:"URL" help:"The database to copy to, which has no accounts yet: postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH. As it may hold a password, the environment is the better place for it."`
	ToFile string `name:"to-file" env:"TO_DATABASE_URL_FILE" placeholder:"FILE" help:"A file with the value of TO_DATABASE_URL on its one line."`
}

func (c copyCmd) databases() []string { return []string{c.DatabaseURL, c.To} }

// Run copies one database to another, and tells what it copied once all of it is there.
func (c copyCmd) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(from *repository.DB) error {
		to, err := repository.Open(ctx, c.To, c.Pool.settings())
		if err != nil {
			return fmt.Errorf("the database to copy to: %w", err)
		}
		var progress func(done, of int64)
		if o.watched() {
			progress = o.bar("copying")
		}
		counts, err := repository.Copy(ctx, from, to, progress)
		if err := errors.Join(err, to.Close()); err != nil {
			return err
		}
		for _, count := range counts {
			if _, err := fmt.Fprintln(o.out, "copied", count.Rows, count.Table); err != nil {
				return err
			}
		}
		return nil
	})
}
