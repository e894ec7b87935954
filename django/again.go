package django

import (
	"context"
	"errors"
	"slices"

	"github.com/rollbook/rollbook/repository"
)

// renaming is an account whose new name was another's when its row was read.
type renaming struct {
	person
	alone bool // nothing else of it has changed
}

// change makes columns of an account that was taken over what its row says by now. A name that is another's is left for
// rename: that account may be renamed, too.
func (i *importer) change(ctx context.Context, p person, columns []string, before repository.Import) error {
	ok, err := i.usable(&p)
	if err != nil || !ok {
		return err
	}
	if n := slices.Index(columns, userColumns[atUsername]); n >= 0 {
		taken, err := i.isTaken(ctx, p)
		if err != nil {
			return err
		}
		if taken {
			columns = slices.Delete(columns, n, n+1)
			i.later = append(i.later, renaming{p, len(columns) == 0})
			p.row.Digest = slices.Concat(before.Digest[:digestLength], p.row.Digest[digestLength:]) // the name is as it was
		}
	}
	if len(columns) == 0 {
		return nil
	}
	err = i.replace(ctx, p, columns)
	if errors.Is(err, repository.ErrUsernameTaken) { // since a moment ago; the next run will see
		return i.explain(ctx, p)
	}
	return i.noteChanged(p, err)
}

// noteChanged counts an account that was changed, or says that it is no more.
func (i *importer) noteChanged(p person, err error) error {
	if errors.Is(err, repository.ErrNotFound) {
		return i.leaveOut(p, "the account was deleted here")
	}
	if err != nil {
		return err
	}
	i.counts.add(i.users.name, Changed, 1)
	return i.mapped(p, p.user.ID)
}

// isTaken tells whether another account has a name.
func (i *importer) isTaken(ctx context.Context, p person) (bool, error) {
	other, err := i.DB.Users().ByUsername(ctx, p.user.Username)
	if errors.Is(err, repository.ErrNotFound) {
		return false, nil
	}
	return err == nil && other.ID != p.user.ID, err
}

func (i *importer) replace(ctx context.Context, p person, columns []string) error {
	if !i.DryRun {
		err := i.DB.Imports(i.users.name).Replace(ctx, p.user, columns, p.row)
		if err == nil {
			i.changed(Change{Account: p.user.ID, Result: Changed, Columns: columns, Active: p.user.IsActive})
		}
		return err
	}
	_, err := i.DB.Users().ByID(ctx, p.user.ID)
	return err
}

// rename gives accounts the names that were others' before, as long as one of them becomes free.
func (i *importer) rename(ctx context.Context) error {
	for progress := true; progress && !i.DryRun; {
		progress = false
		for n, r := range slices.Backward(i.later) {
			err := i.replace(ctx, r.person, userColumns[:1])
			if errors.Is(err, repository.ErrUsernameTaken) {
				continue
			}
			if r.alone || err != nil {
				err = i.noteChanged(r.person, err)
			}
			if err != nil {
				return err
			}
			i.later, progress = slices.Delete(i.later, n, n+1), true
		}
	}
	for _, r := range i.later {
		if err := i.explain(ctx, r.person); err != nil {
			return err
		}
	}
	return nil
}
