package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/csvfile"
	"github.com/rollbook/rollbook/django"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

type importCmd struct {
	Django importDjango `cmd:"" help:"Take over the accounts and tokens of a Django REST Framework service, which may be running. Run it again to carry over what has changed there since."`
}

type importDjango struct {
	database
	From      string  `secret:"" env:"DJANGO_DATABASE_URL" required:"" placeholder:"URL" help:"Django's database: postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH. It is only read."`
	FromFile  string  `name:"from-file" env:"DJANGO_DATABASE_URL_FILE" placeholder:"FILE" help:"A file with the value of DJANGO_DATABASE_URL on its one line."`
	UserTable string  `placeholder:"NAME" help:"The table of users, where more than one looks like it."`
	DryRun    bool    `help:"Count and report, and change nothing."`
	MostGone  float64 `name:"gone-at-most" placeholder:"PERCENT" default:"10" help:"How many percent of the accounts that were taken over may be gone in Django, and are removed here; where more are, nothing is done. Default: ${default}."`
	Report    string  `placeholder:"FILE" default:"django-report.csv" help:"Where to write which rows were not taken as they are, and why. Default: ${default}."`
	IDs       string  `name:"ids" placeholder:"FILE" default:"django-ids.csv" help:"Where to write which account each user is, where Django's ids are no UUIDs. Default: ${default}."`
}

// Validate refuses what makes no sense.
func (c importDjango) Validate() error { return checkPercent("--gone-at-most", c.MostGone) }

// Run imports from Django.
func (c importDjango) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(db *repository.DB) error {
		report, err := csvfile.Create(c.Report, []string{"table", "id", "username", "result", "reason"})
		if err != nil {
			return err
		}
		defer report.Abandon()
		ids, err := csvfile.Create(c.IDs, []string{"django_id", "id", "username"})
		if err != nil {
			return err
		}
		defer ids.Abandon()
		reported, mapped := 0, 0
		options := django.Options{
			DB: db, From: c.From, UserTable: c.UserTable, DryRun: c.DryRun, MostGone: c.MostGone / 100,
			Report: func(r django.Row) error {
				reported++
				return report.Write(r.Table, r.Key, r.Username, string(r.Result), r.Reason)
			},
			Mapping: func(key string, id uuid.UUID, username string) error {
				mapped++
				return ids.Write(key, id.String(), username)
			},
		}
		if o.watched() {
			options.Progress = o.bar("importing")
		}
		counts, err := c.take(ctx, o, options)
		if err != nil && len(counts) > 0 && !c.DryRun {
			err = fmt.Errorf("%w; what was taken over so far is kept: run it again to go on", err)
		}
		if counts != nil { // what it has found is of use, also where it has not come to its end
			err = errors.Join(err, report.Finish())
		}
		if err != nil {
			return err
		}
		if mapped > 0 && !c.DryRun {
			if err := ids.Finish(); err != nil {
				return err
			}
		}
		return c.summary(o, counts, reported, mapped)
	})
}

// take imports, and audits what it does.
func (c importDjango) take(ctx context.Context, o output, options django.Options) (django.Counts, error) {
	w := work{o: o, ended: server.EventImportEnded, about: []slog.Attr{slog.String("source", "django")}}
	options.Started = func() { w.start(ctx, server.EventImportStarted) }
	options.Changed = func(change django.Change) { o.auditChange(ctx, change) }
	counts, err := django.Import(ctx, options)
	var tables []slog.Attr
	for _, table := range slices.Sorted(maps.Keys(counts)) {
		tables = append(tables, slog.GroupAttrs(table, countAttrs(counts[table],
			django.Added, django.Changed, django.Unchanged, django.Removed, django.LeftOut, django.WithoutPassword)...))
	}
	w.end(ctx, err, tables...)
	return counts, err
}

// auditChange audits what an import did to an account or a token. Its other columns are the fields of the profile.
func (o output) auditChange(ctx context.Context, c django.Change) {
	switch {
	case c.Token && c.Result == django.Removed:
		o.audit(ctx, server.EventTokenRevoked, c.Account)
	case c.Token && c.Result == django.Added:
		o.audit(ctx, server.EventTokenImported, c.Account, server.TokenAttr(c.TokenID))
	case c.Token:
		o.audit(ctx, server.EventTokenImported, c.Account)
	case c.Result == django.Added:
		o.audit(ctx, server.EventRegistered, c.Account)
	case c.Result == django.Removed:
		o.audit(ctx, server.EventDeleted, c.Account)
	default:
		o.auditColumns(ctx, c)
	}
}

func (o output) auditColumns(ctx context.Context, c django.Change) {
	var fields []string
	for _, column := range c.Columns {
		switch {
		case column == "password":
			o.audit(ctx, server.EventPasswordChanged, c.Account)
		case column == "is_active" && c.Active:
			o.audit(ctx, server.EventActivated, c.Account)
		case column == "is_active":
			o.audit(ctx, server.EventDeactivated, c.Account)
		default:
			fields = append(fields, column)
		}
	}
	if len(fields) > 0 {
		what, attr := server.ProfileEvent(fields...)
		o.audit(ctx, what, c.Account, attr)
	}
}

// summary says what was done.
func (c importDjango) summary(o output, counts django.Counts, reported, mapped int) error {
	results := []django.Result{django.Added, django.Changed, django.Unchanged, django.Removed, django.LeftOut, django.WithoutPassword}
	for _, table := range slices.Sorted(maps.Keys(counts)) {
		var parts []string
		for _, result := range results {
			parts = append(parts, fmt.Sprintf("%d %s", counts[table][result], result))
		}
		if _, err := fmt.Fprintf(o.out, "%s: %s\n", table, strings.Join(parts, ", ")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(o.out, "report: %s (%d rows)\n", c.Report, reported)
	if err == nil && mapped > 0 && !c.DryRun {
		_, err = fmt.Fprintf(o.out, "ids: %s (%d rows)\n", c.IDs, mapped)
	}
	return err
}
