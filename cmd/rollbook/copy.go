package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
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
		draw := func(int64, int64) {}
		if o.watched() {
			draw = o.bar("copying")
		}
		w := work{o: o, ended: server.EventCopyEnded, about: []slog.Attr{slog.String("from", from.Name()), slog.String("to", to.Name())}}
		counts, err := repository.Copy(ctx, from, to, func(done, of int64) {
			w.start(ctx, server.EventCopyStarted)
			draw(done, of)
		})
		var copied []slog.Attr
		for _, count := range counts {
			copied = append(copied, slog.Int64(count.Table, count.Rows))
		}
		w.end(ctx, err, copied...)
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
