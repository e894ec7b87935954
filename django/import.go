// Package django takes the accounts and tokens of a Django REST Framework service over.
package django

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
)

// Options are what an import works with. DB, From and Report are needed.
type Options struct {
	DB        *repository.DB
	From      string // the address of Django's database: postgres://… or sqlite:PATH
	UserTable string // found where only one looks like it
	// MostGone is the share of the accounts that were taken over before and that may be gone in Django: they are removed
	// here as well.
	MostGone float64
	DryRun   bool

	Report   func(Row) error                                   // what was not taken as it is
	Mapping  func(key string, id uuid.UUID, name string) error // of each account whose key is no UUID; may be nil
	Progress func(done, of int64)                              // in rows; may be nil
	Started  func()                                            // called before the first change; may be nil
	Changed  func(Change)                                      // what was done, not in a dry run; may be nil
}

// Change is something that an import did to an account, or to one of its tokens.
type Change struct {
	Account uuid.UUID
	Result  Result    // Added, Changed or Removed
	Token   bool      // it was done to a token
	TokenID uuid.UUID // of a token that was added
	Columns []string  // that were changed of an account, as in userColumns
	Active  bool      // the changed account is active now
}

func (o Options) changed(c Change) {
	if o.Changed != nil && !o.DryRun {
		o.Changed(c)
	}
}

// Row is a row of Django's that was not taken as it is.
type Row struct {
	Table, Key, Username string
	Result               Result
	Reason               string
}

// Result is what became of rows.
type Result string

// The results.
const (
	Added     Result = "added"
	Changed   Result = "changed"
	Unchanged Result = "unchanged"
	Removed   Result = "removed"  // here, since it is gone there
	LeftOut   Result = "left out" // it could not be taken
	// WithoutPassword is an account whose password's encoding is not one that can be verified. It counts as added or
	// changed, too.
	WithoutPassword Result = "without password"
	// Renamed is an account whose username is another here. It counts as added.
	Renamed Result = "renamed"
)

// Counts are how many rows of each table had each result.
type Counts map[string]map[Result]int

func (c Counts) add(table string, result Result, n int) {
	if c[table] == nil {
		c[table] = map[Result]int{}
	}
	c[table][result] += n
}

// importer is an import under way.
type importer struct {
	Options
	source  *source
	users   table
	done    int64
	total   int64
	counts  Counts
	names   map[shortKey]bool  // that a dry run would have stored
	present map[string]keySet  // the keys that each table has
	going   map[uuid.UUID]bool // the accounts that a dry run would have removed
	later   []renaming         // whose names others had
	left    keySet             // the keys of the users that were left out
}

// Import takes over the accounts, with their ids, encoded passwords and dates, and the tokens, as hashes. Run again, it
// carries over what has changed in Django since, and what is gone; what has changed only here stays. A run that was
// interrupted, however, is taken up by running it again.
func Import(ctx context.Context, o Options) (counts Counts, err error) {
	s, err := open(ctx, o.From)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	name, err := s.userTable(o.UserTable)
	if err != nil {
		return nil, err
	}
	i := &importer{Options: o, source: s, users: s.users(name), counts: Counts{}, names: map[shortKey]bool{}, present: map[string]keySet{}, going: map[uuid.UUID]bool{}}
	tokens, err := i.measure(ctx)
	if err != nil {
		return nil, err
	}
	if err := i.checkGone(ctx); err != nil {
		return i.counts, err
	}
	if i.Started != nil && !i.DryRun {
		i.Started()
	}
	if err := i.removeGone(ctx, i.users.name, false); err != nil { // first, since their names can be others' by now
		return i.counts, err
	}
	if err := s.each(ctx, i.users, func(rows [][]any) error { return i.takeUsers(ctx, rows) }); err != nil {
		return i.counts, err
	}
	if err := i.rename(ctx); err != nil {
		return i.counts, err
	}
	for _, t := range tokens {
		if err := s.each(ctx, t, func(rows [][]any) error { return i.takeTokens(ctx, t, rows) }); err != nil {
			return i.counts, err
		}
		if err := i.removeGone(ctx, t.name, true); err != nil {
			return i.counts, err
		}
	}
	return i.counts, nil
}

// measure returns the tables of tokens, and notes how many rows there are in all.
func (i *importer) measure(ctx context.Context) (tokens []table, err error) {
	for _, name := range []string{tokenTable, knoxTable} {
		if _, salted := i.source.column(name, "salt"); salted {
			err := i.Report(Row{Table: name, Result: LeftOut, Reason: "its tokens are salted, so that they can only be looked up by knox itself; their clients log in again"})
			if err != nil {
				return nil, err
			}
			continue
		}
		if t, ok := i.source.tokens(name, i.users.name); ok {
			tokens = append(tokens, t)
		}
	}
	for _, t := range append([]table{i.users}, tokens...) {
		n, err := i.source.size(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", t.name, err)
		}
		i.total += n
	}
	return tokens, nil
}

// advance says how far it is.
func (i *importer) advance(n int) {
	i.done += int64(n)
	if i.Progress != nil {
		i.Progress(i.done, max(i.total, i.done))
	}
}
