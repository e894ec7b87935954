package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/roster"
	"github.com/rollbook/rollbook/server"
)

type rosterCmd struct {
	Import rosterImport `cmd:"" help:"Bring the accounts to what a list in a CSV file says, also while the server runs."`
	Export rosterExport `cmd:"" help:"Write the accounts as a list that the import reads."`
}

type rosterImport struct {
	database
	policyFlags
	Code              codeLife `embed:""`
	File              string   `arg:"" help:"The list: UTF-8, with commas, semicolons or tabs; the first line names the columns, out of username, first_name, last_name, email, password, password_hash and active."`
	DryRun            bool     `help:"Show what would be done, and do nothing."`
	DeactivateMissing bool     `help:"Deactivate the accounts that are not on the list."`
	Most              float64  `name:"deactivate-at-most" placeholder:"PERCENT" default:"10" help:"How many percent of the active accounts may be missing; where more are, nothing is done. Default: ${default}."`
	Report            string   `placeholder:"FILE" help:"Where to write what was done with each line, one-time codes included. Default: beside the list, with .report.csv at its end."`
}

type rosterExport struct {
	database
	WithHashes bool `help:"Write the encoded passwords, too."`
}

// Validate refuses what makes no sense.
func (c rosterImport) Validate() error {
	return errors.Join(checkPercent("--deactivate-at-most", c.Most), c.Code.Validate(), c.policyFlags.Validate())
}

// checkPercent refuses what is no share; nor is NaN.
func checkPercent(flag string, value float64) error {
	if !(value >= 0 && value <= 100) {
		return fmt.Errorf("%s must be from 0 to 100", flag)
	}
	return nil
}

// Run imports a roster.
func (c rosterImport) Run(ctx context.Context, o output) (err error) {
	if c.Report == "" {
		c.Report = strings.TrimSuffix(c.File, ".csv") + ".report.csv"
	}
	rules, closeList, err := c.rules()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeList()) }()
	return c.with(ctx, func(db *repository.DB) error {
		shown := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
		w := work{o: o, ended: server.EventImportEnded, about: []slog.Attr{slog.String("source", "roster")}}
		options := roster.Options{
			DB: db, Rules: rules, CodeTTL: c.Code.TTL, Report: c.Report, DryRun: c.DryRun,
			Hasher:            password.New(password.Options{Wait: time.Minute}),
			DeactivateMissing: c.DeactivateMissing, MostMissing: c.Most / 100,
			Ignored: func(columns []string) { // what cannot be said keeps nobody from importing
				_, _ = fmt.Fprintln(o.err, "columns that are not read:", printable(strings.Join(columns, ", ")))
			},
			Show:    func(r roster.Row) error { return show(shown, r) },
			Started: func() { w.start(ctx, server.EventImportStarted) },
			Audit:   func(event server.Event, id uuid.UUID, more ...slog.Attr) { o.audit(ctx, event, id, more...) },
		}
		if c.DryRun {
			if _, err := fmt.Fprintln(shown, "LINE\tRESULT\tUSERNAME\tREASON"); err != nil {
				return err
			}
		}
		if o.watched() {
			options.Progress = o.bar("importing")
		}
		counts, err := roster.Import(ctx, c.File, options)
		w.end(ctx, err, countAttrs(counts, roster.Added, roster.Changed, roster.Deactivated, roster.Unchanged, roster.Wrong)...)
		if err := errors.Join(err, shown.Flush()); err != nil {
			return err
		}
		return c.summary(o, counts)
	})
}

// countAttrs are the attributes of an audit line that count results.
func countAttrs[R ~string](counts map[R]int, results ...R) (attrs []slog.Attr) {
	for _, result := range results {
		attrs = append(attrs, slog.Int(strings.ReplaceAll(string(result), " ", "_"), counts[result]))
	}
	return attrs
}

// show adds what is not as it was to a table.
func show(table *tabwriter.Writer, r roster.Row) error {
	if r.Result == roster.Unchanged {
		return nil
	}
	line := "-"
	if r.Line > 0 {
		line = fmt.Sprint(r.Line)
	}
	_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", line, r.Result, printable(r.Username), printable(r.Reason))
	return err
}

// summary says what was done, and is an error where lines are wrong.
func (c rosterImport) summary(o output, counts roster.Counts) error {
	did := "done"
	if c.DryRun {
		did = "to do"
	}
	_, err := fmt.Fprintf(o.out, "%s: %d added, %d changed, %d deactivated; %d unchanged, %d wrong\n", did, counts[roster.Added],
		counts[roster.Changed], counts[roster.Deactivated], counts[roster.Unchanged], counts[roster.Wrong])
	if err == nil && !c.DryRun {
		_, err = fmt.Fprintf(o.out, "report: %s\n", c.Report)
	}
	if err == nil && counts[roster.Wrong] > 0 {
		err = fmt.Errorf("%d lines are wrong and were left out", counts[roster.Wrong])
	}
	return err
}

// Run exports a roster.
func (c rosterExport) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(db *repository.DB) error {
		if c.WithHashes { // before the first leaves: a reader that closes the pipe has some
			o.audit(ctx, server.EventHashesExported, uuid.Nil)
		}
		return roster.Export(ctx, db, o.out, c.WithHashes)
	})
}
