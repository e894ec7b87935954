package django

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// person is a row of the table of users.
type person struct {
	key  string
	user repository.User
	row  repository.Import
}

// userColumns are the columns of an account, in the order in which they are remembered. The last, when the user joined,
// never changes: it tells another user of the same key.
var userColumns = []string{"username", "first_name", "last_name", "email", "password", "is_active", "created_at"}

const (
	atUsername = 0
	atJoined   = 6
)

// read makes an account of a row. The username is as Rollbook would look it up: without blanks at its ends, in NFKC.
func (i *importer) read(values []any) person {
	p := person{key: text(values[0]), user: repository.User{
		Profile: repository.Profile{
			Username:  norm.NFKC.String(strings.TrimSpace(text(values[1]))),
			FirstName: text(values[2]), LastName: text(values[3]), Email: text(values[4]),
		},
		Password: text(values[5]), IsActive: truth(values[6]),
	}}
	p.user.CreatedAt, _ = moment(values[7]) // without one it is now
	p.row = repository.Import{Key: []byte(p.key), Digest: digestsOf(text(values[1]), p.user.FirstName, p.user.LastName, p.user.Email,
		p.user.Password, fmt.Sprint(p.user.IsActive), p.user.CreatedAt.String())}
	return p
}

func (i *importer) readAll(rows [][]any) (people []person, keys [][]byte) {
	for _, values := range rows {
		p := i.read(values)
		people, keys = append(people, p), append(keys, p.row.Key)
	}
	return people, keys
}

// changed are the columns that a row has changed since it was taken over. What is changed only here stays as it is.
func (p person) changed(before repository.Import) []string {
	var columns []string
	for n, name := range userColumns {
		if digestAt(before.Digest, n) != digestAt(p.row.Digest, n) && n != atJoined {
			columns = append(columns, name)
		}
	}
	return columns
}

// another tells whether a row is about another user than the one that was taken over under its key.
func (p person) another(before repository.Import) bool {
	return digestAt(before.Digest, atJoined) != digestAt(p.row.Digest, atJoined)
}

// takeUsers takes a page of users over.
func (i *importer) takeUsers(ctx context.Context, rows [][]any) error {
	people, keys := i.readAll(rows)
	known, err := i.DB.Imports(i.users.name).Of(ctx, keys)
	if err != nil {
		return err
	}
	i.present[i.users.name] = i.present[i.users.name].with(keys...)
	var fresh []person
	for _, p := range people {
		before, there := known[p.key]
		switch {
		case there && len(p.changed(before)) == 0:
			i.counts.add(i.users.name, Unchanged, 1)
			err = i.mapped(p, before.UserID)
		case there:
			p.user.ID, p.row.UserID = before.UserID, before.UserID
			err = i.change(ctx, p, p.changed(before), before)
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
	for _, text := range []string{p.user.Username, p.user.FirstName, p.user.LastName, p.user.Email, p.user.Password} {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			return false, i.leaveOut(*p, "a text has a null character, or is not UTF-8")
		}
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
			i.changed(Change{Account: p.user.ID, Result: Added})
			err = errors.Join(i.mapped(p, p.user.ID), i.reportName(p))
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
		if owner, there := taken[user.Username]; (!there || i.going[owner.ID]) && !i.names[name] {
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

func (i *importer) leaveOut(p person, reason string) error {
	i.left = i.left.with(p.row.Key)
	i.counts.add(i.users.name, LeftOut, 1)
	return i.report(p, LeftOut, reason)
}

func (i *importer) report(p person, result Result, reason string) error {
	return i.Report(Row{Table: i.users.name, Key: p.key, Username: p.user.Username, Result: result, Reason: reason})
}

// reportName tells of an account whose username here is not the one there.
func (i *importer) reportName(p person) error {
	if digestAt(digestsOf(p.user.Username), 0) == digestAt(p.row.Digest, atUsername) {
		return nil
	}
	return i.report(p, Renamed, "the username has no blanks at its ends here, and is in NFKC; its owner can type either")
}

// mapped tells of an account whose id here is not the one there.
func (i *importer) mapped(p person, id uuid.UUID) error {
	if _, same := ourID(p.key); same || i.Mapping == nil {
		return nil
	}
	return i.Mapping(p.key, id, p.user.Username)
}
