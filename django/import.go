// Package django takes the accounts and tokens of a Django REST Framework service over.
package django

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/rollbook/rollbook/password"
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
	names   map[shortKey]bool // that a dry run would have stored
	present map[string]keySet // the keys that each table has
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
	i := &importer{Options: o, source: s, users: s.users(name), counts: Counts{}, names: map[shortKey]bool{}, present: map[string]keySet{}}
	tokens, err := i.measure(ctx)
	if err != nil {
		return nil, err
	}
	if err := i.checkGone(ctx); err != nil {
		return i.counts, err
	}
	if err := s.each(ctx, i.users, func(rows [][]any) error { return i.takeUsers(ctx, rows) }); err != nil {
		return i.counts, err
	}
	if err := i.removeGone(ctx, i.users.name, false); err != nil {
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

// person is a row of the table of users.
type person struct {
	key  string
	user repository.User
	row  repository.Import
}

// read makes an account of a row. The username is as Rollbook would look it up: without blanks at its ends, in NFKC.
func (i *importer) read(values []any) person {
	p := person{key: text(values[0]), user: repository.User{
		Username:  norm.NFKC.String(strings.TrimSpace(text(values[1]))),
		FirstName: text(values[2]), LastName: text(values[3]), Email: text(values[4]),
		Password: text(values[5]), IsActive: truth(values[6]),
	}}
	p.user.CreatedAt, _ = moment(values[7]) // without one it is now
	p.row = repository.Import{Key: []byte(p.key), Digest: digestOf(text(values[1]), p.user.FirstName, p.user.LastName, p.user.Email,
		p.user.Password, fmt.Sprint(p.user.IsActive))}
	return p
}

// takeUsers takes a page of users over.
func (i *importer) takeUsers(ctx context.Context, rows [][]any) error {
	people := make([]person, len(rows))
	keys := make([][]byte, len(rows))
	for n, values := range rows {
		people[n] = i.read(values)
		keys[n] = people[n].row.Key
	}
	known, err := i.DB.Imports(i.users.name).Of(ctx, keys)
	if err != nil {
		return err
	}
	i.present[i.users.name] = i.present[i.users.name].with(keys...)
	var fresh []person
	for _, p := range people {
		before, there := known[p.key]
		switch {
		case there && string(before.Digest) == string(p.row.Digest):
			i.counts.add(i.users.name, Unchanged, 1)
			err = i.mapped(p, before.UserID)
		case there:
			p.user.ID, p.row.UserID = before.UserID, before.UserID
			err = i.change(ctx, p)
		default:
			fresh = append(fresh, p)
		}
		if err != nil {
			return err
		}
	}
	if err := i.add(ctx, fresh); err != nil {
		return err
	}
	i.advance(len(rows))
	return nil
}

// usable takes a password away that cannot be verified, and says so. It is false where the account cannot be taken.
func (i *importer) usable(p *person) (bool, error) {
	if p.user.Username == "" {
		return false, i.leaveOut(*p, "the username is blank")
	}
	if strings.ContainsRune(p.user.Username, 0) {
		return false, i.leaveOut(*p, "the username has a null character")
	}
	if !password.IsSet(p.user.Password) {
		p.user.Password = ""
	} else if password.CheckEncoding(p.user.Password) != nil {
		p.user.Password = ""
		i.counts.add(i.users.name, WithoutPassword, 1)
		return true, i.report(*p, WithoutPassword, "the password's encoding, or its cost, is not one that is verified here; a one-time code lets its owner set another")
	}
	return true, nil
}

// add takes over the users of a page that are new.
func (i *importer) add(ctx context.Context, fresh []person) error {
	var people []person
	for _, p := range fresh {
		ok, err := i.usable(&p)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		var isUUID bool
		if p.user.ID, isUUID = ourID(p.key); !isUUID {
			p.user.ID = uuid.New()
		}
		p.row.UserID = p.user.ID
		people = append(people, p)
	}
	stored, err := i.store(ctx, people)
	if err != nil {
		return err
	}
	for _, p := range people {
		if stored[p.user.ID] {
			i.counts.add(i.users.name, Added, 1)
			err = i.mapped(p, p.user.ID)
		} else {
			err = i.explain(ctx, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// store stores the accounts whose names and ids are free, or in a dry run finds them.
func (i *importer) store(ctx context.Context, people []person) (stored map[uuid.UUID]bool, err error) {
	var users []repository.User
	var rows []repository.Import
	var names []string
	for _, p := range people {
		users, rows, names = append(users, p.user), append(rows, p.row), append(names, p.user.Username)
	}
	if !i.DryRun {
		return i.DB.Imports(i.users.name).Users(ctx, users, rows)
	}
	taken, err := i.DB.Users().ByUsernames(ctx, names)
	if err != nil {
		return nil, err
	}
	stored = map[uuid.UUID]bool{}
	for _, user := range users {
		name := shorten([]byte(user.Username))
		if _, there := taken[user.Username]; !there && !i.names[name] {
			stored[user.ID], i.names[name] = true, true
		}
	}
	return stored, nil
}

// explain says why an account could not be stored.
func (i *importer) explain(ctx context.Context, p person) error {
	other, err := i.DB.Users().ByUsername(ctx, p.user.Username)
	switch {
	case err == nil:
		return i.leaveOut(p, fmt.Sprintf("its username is that of the account %s (names are compared in NFKC)", other.ID))
	case !errors.Is(err, repository.ErrNotFound):
		return err
	case i.DryRun:
		return i.leaveOut(p, "its username is that of another row (names are compared in NFKC)")
	}
	return i.leaveOut(p, "its id is that of an account that was not taken over")
}

// change makes an account that was taken over what its row says by now.
func (i *importer) change(ctx context.Context, p person) error {
	ok, err := i.usable(&p)
	if err != nil || !ok {
		return err
	}
	if !i.DryRun {
		err = i.DB.Imports(i.users.name).Replace(ctx, p.user, p.row)
	}
	switch {
	case errors.Is(err, repository.ErrUsernameTaken):
		return i.explain(ctx, p)
	case errors.Is(err, repository.ErrNotFound):
		return i.leaveOut(p, "the account was deleted here")
	case err != nil:
		return err
	}
	i.counts.add(i.users.name, Changed, 1)
	return i.mapped(p, p.user.ID)
}

func (i *importer) leaveOut(p person, reason string) error {
	i.counts.add(i.users.name, LeftOut, 1)
	return i.report(p, LeftOut, reason)
}

func (i *importer) report(p person, result Result, reason string) error {
	return i.Report(Row{Table: i.users.name, Key: p.key, Username: p.user.Username, Result: result, Reason: reason})
}

// mapped tells of an account whose id here is not the one there.
func (i *importer) mapped(p person, id uuid.UUID) error {
	if _, same := ourID(p.key); same || i.Mapping == nil {
		return nil
	}
	return i.Mapping(p.key, id, p.user.Username)
}
