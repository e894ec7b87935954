package roster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// What a plan has behind the lines of the roster: accounts that are missing on it, and codes of earlier reports.

// planMissing plans the deactivation of active accounts that are not on the roster.
func (i *importer) planMissing(ctx context.Context) error {
	if len(i.blind) > 0 {
		return fmt.Errorf("%d lines are wrong and do not say for sure whose they are, the first of them line %d, so that nobody can be called missing: see --dry-run, and mend them, or leave the deactivation out", len(i.blind), i.blind[0])
	}
	active, missing := 0, 0
	for last := ""; ; {
		users, err := i.DB.Users().After(ctx, last, repository.MostAtOnce)
		if err != nil {
			return err
		}
		for _, user := range users {
			if !user.IsActive || user.DirectoryID != nil { // the directory says who has left it
				continue
			}
			active++
			if i.seen[keyOf(user.Username)] > 0 {
				continue
			}
			missing++
			i.counts[Deactivated]++
			if err := i.write(Row{Username: user.Username, Result: Deactivated, Reason: "not on the roster"}); err != nil {
				return err
			}
		}
		if len(users) < repository.MostAtOnce {
			break
		}
		last = users[len(users)-1].Username
	}
	if share := float64(missing) / float64(max(active, 1)); share > i.MostMissing {
		return fmt.Errorf("%d of %d active accounts are not on the roster: deactivating more than %.0f %% of them at once must be allowed first, and nothing was changed",
			missing, active, 100*i.MostMissing)
	}
	return nil
}

// finishPlanned does what the plan has behind the lines of the roster: accounts are deactivated, and codes of earlier reports
// reported, as far as they can be used still.
func (i *importer) finishPlanned(ctx context.Context) error {
	for end := false; !end; {
		var gone, kept []Row
		for len(gone)+len(kept) < repository.MostAtOnce {
			row, err := i.plan.next()
			if end = errors.Is(err, io.EOF); end {
				break
			}
			switch {
			case err != nil:
				return err
			case row.Line > 0:
				return errChanged
			case row.Result == Deactivated:
				gone = append(gone, row)
			default:
				kept = append(kept, row)
			}
		}
		if err := i.deactivate(ctx, gone); err != nil {
			return err
		}
		if err := i.writeLive(ctx, kept); err != nil {
			return err
		}
	}
	return nil
}

// deactivate deactivates those of the accounts that are active.
func (i *importer) deactivate(ctx context.Context, rows []Row) error {
	users, err := i.usersOf(ctx, rows)
	if err != nil {
		return err
	}
	inactive := false
	var revisions []repository.Revision
	for _, user := range users {
		if user.IsActive {
			revisions = append(revisions, repository.Revision{ID: user.ID, Active: &inactive})
		}
	}
	if err := i.DB.Users().Revise(ctx, revisions); err != nil {
		return err
	}
	for _, r := range revisions {
		i.Audit(server.EventDeactivated, r.ID)
	}
	i.counts[Deactivated] += len(rows)
	for _, row := range rows {
		if err := i.write(row); err != nil {
			return err
		}
	}
	return nil
}

// carryCodes puts those codes of earlier reports that can still be used, and are of no line of this roster, into the report.
func (i *importer) carryCodes(ctx context.Context) error {
	for chunk := range slices.Chunk(slices.SortedFunc(maps.Values(i.codes), func(a, b remembered) int { return strings.Compare(a.name, b.name) }), repository.MostAtOnce) {
		rows := make([]Row, len(chunk))
		for n, code := range chunk {
			rows[n] = Row{Username: code.name, Result: Unchanged, Reason: "from an earlier report", Code: code.plain}
		}
		if err := i.writeLive(ctx, rows); err != nil {
			return err
		}
	}
	i.codes = nil
	return nil
}

// writeLive writes those rows whose codes can be used, with when they expire.
func (i *importer) writeLive(ctx context.Context, rows []Row) error {
	users, err := i.usersOf(ctx, rows)
	if err != nil {
		return err
	}
	var ids []uuid.UUID
	for _, user := range users {
		ids = append(ids, user.ID)
	}
	live, err := i.DB.Codes().Of(ctx, ids...)
	if err != nil {
		return err
	}
	for _, row := range rows {
		code := live[users[row.Username].ID]
		if !code.Is(row.Code) {
			continue
		}
		row.Expires = code.ExpiresAt
		if err := i.write(row); err != nil {
			return err
		}
	}
	return nil
}

// usersOf returns the accounts that rows are about, by their usernames.
func (i *importer) usersOf(ctx context.Context, rows []Row) (map[string]repository.User, error) {
	var names []string
	for _, row := range rows {
		names = append(names, row.Username)
	}
	return i.DB.Users().ByUsernames(ctx, names)
}
