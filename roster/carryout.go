package roster

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// action is what to do for a student.
type action struct {
	*student
	exists   bool
	revision repository.Revision // of an account that exists
	code     *repository.Code    // to store
}

// planBatch decides about students.
func (i *importer) planBatch(ctx context.Context, batch []*student) error {
	_, err := i.decide(ctx, batch, func(s *student) remembered { return i.codes[keyOf(s.Username)] })
	for _, s := range batch {
		if s.Code != "" { // it is in the report again
			delete(i.codes, keyOf(s.Username))
		}
	}
	return err
}

// carryOutBatch decides again, since the accounts may be others by now, and does it. The plan has the codes.
func (i *importer) carryOutBatch(ctx context.Context, batch []*student) error {
	planned := map[*student]remembered{}
	for _, s := range batch {
		row, err := i.plan.next()
		if err != nil || row.Line != s.Line || row.Username != s.Username {
			return errors.Join(errChanged, err)
		}
		planned[s] = remembered{row.Username, row.Code, row.Expires, true}
	}
	todo := batch
	for len(todo) > 0 {
		actions, err := i.decide(ctx, todo, func(s *student) remembered { return planned[s] })
		if err != nil {
			return err
		}
		if todo, err = i.do(ctx, actions); err != nil {
			return err
		}
	}
	return nil
}

// decide sets what is to be done for the students whose lines are not wrong.
func (i *importer) decide(ctx context.Context, batch []*student, codeOf func(*student) remembered) ([]action, error) {
	var names []string
	for _, s := range batch {
		if s.Result != Wrong {
			names = append(names, s.Username)
		}
	}
	existing, err := i.DB.Users().ByUsernames(ctx, names)
	if err != nil {
		return nil, err
	}
	var ids []uuid.UUID
	for _, user := range existing {
		if !password.IsSet(user.Password) {
			ids = append(ids, user.ID)
		}
	}
	live, err := i.DB.Codes().Of(ctx, ids...)
	if err != nil {
		return nil, err
	}
	var actions []action
	for _, s := range batch {
		if s.Result == Wrong {
			continue
		}
		a := action{student: s}
		user, exists := existing[s.Username]
		if user.DirectoryID != nil {
			s.Result, s.Reason = Wrong, "username: This account is as the directory says."
			continue
		}
		if exists {
			a.exists, a.revision = true, s.revise(user)
			s.wanted.IsActive = s.has[colActive] && s.wanted.IsActive || !s.has[colActive] && user.IsActive
		} else {
			s.Result, s.Reason, user = Added, "", s.wanted
		}
		if s.needsCode() && !password.IsSet(user.Password) {
			i.giveCode(&a, user.ID, live, codeOf(s))
		}
		actions = append(actions, a)
	}
	return actions, nil
}

// giveCode gives an account a one-time code, unless it has one. Which one that is, is known where it was remembered.
func (i *importer) giveCode(a *action, user uuid.UUID, live map[uuid.UUID]repository.Code, old remembered) {
	if code, ok := live[user]; ok {
		if code.Is(old.plain) {
			a.Code, a.Expires = old.plain, code.ExpiresAt
		}
		return
	}
	if !old.planned || old.plain == "" || !old.expires.After(i.DB.Now()) {
		old = remembered{plain: repository.NewCode(), expires: i.DB.Now().Add(i.CodeTTL).Truncate(time.Second)}
	}
	code := repository.CodeFor(user, old.plain, old.expires)
	a.Code, a.Expires, a.code = old.plain, code.ExpiresAt, &code
	if a.exists {
		a.revision.Code = &code
		a.Result, a.Reason = Changed, strings.TrimPrefix(a.Reason+", code", ", ")
	}
}

// do carries actions out, and returns the students for whom somebody else has made an account or code meanwhile.
func (i *importer) do(ctx context.Context, actions []action) (again []*student, err error) {
	if err := i.encode(ctx, actions); err != nil {
		return nil, err
	}
	slices.SortFunc(actions, func(a, b action) int { return strings.Compare(a.Username, b.Username) })
	var users []repository.User
	var codes []repository.Code
	var revisions []repository.Revision
	var invited []uuid.UUID // by a revision
	for _, a := range actions {
		switch {
		case !a.exists:
			users = append(users, a.wanted)
			if a.code != nil {
				codes = append(codes, *a.code)
			}
		case a.Result == Changed:
			revisions = append(revisions, a.revision)
			if a.code != nil {
				invited = append(invited, a.revision.ID)
			}
		}
	}
	stored, err := i.DB.Users().CreateMissing(ctx, users, codes)
	if err != nil {
		return nil, err
	}
	if err := i.DB.Users().Revise(ctx, revisions); err != nil {
		return nil, err
	}
	if err := i.clearLimits(ctx, actions); err != nil {
		return nil, err
	}
	live, err := i.DB.Codes().Of(ctx, invited...)
	if err != nil {
		return nil, err
	}
	for _, a := range actions {
		if !a.exists && !stored[a.wanted.ID] || a.exists && a.code != nil && !live[a.revision.ID].Is(a.Code) {
			a.Code, a.Expires = "", time.Time{}
			again = append(again, a.student)
			continue
		}
		i.audit(a)
	}
	return again, nil
}

// clearLimits removes the rate limits of accounts that get a code or a password.
func (i *importer) clearLimits(ctx context.Context, actions []action) error {
	var names []string
	for _, a := range actions {
		if a.exists && a.Result == Changed && (a.code != nil || a.revision.Password != nil) {
			user := a.wanted
			user.ID = a.revision.ID
			names = append(names, server.AccountNames(user)...)
		}
	}
	if len(names) == 0 {
		return nil
	}
	limits, err := i.DB.Limits(ctx)
	if err != nil {
		return err
	}
	var keys [][]byte
	for _, name := range names {
		keys = append(keys, server.LimitAccount(limits, name))
	}
	_, err = limits.Clear(ctx, repository.LimitFilter{Accounts: keys})
	return err
}

// audit tells what has happened to an account.
func (i *importer) audit(a action) {
	if !a.exists {
		i.Audit(server.EventRegistered, a.wanted.ID)
	} else if a.Result != Changed {
		return
	}
	id := a.wanted.ID
	if a.exists {
		id = a.revision.ID
	}
	if a.code != nil {
		i.Audit(server.EventInvited, id)
	}
	if a.revision.Password != nil {
		i.Audit(server.EventPasswordChanged, id)
	}
	if active := a.revision.Active; active != nil && *active {
		i.Audit(server.EventActivated, id)
	} else if active != nil {
		i.Audit(server.EventDeactivated, id)
	}
}

// encode encodes the passwords that are to be stored, on all cores.
func (i *importer) encode(ctx context.Context, actions []action) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, a := range actions {
		if a.plain == "" || a.wanted.Password != "" || a.exists && a.revision.Password == nil {
			continue
		}
		group.Go(func() (err error) {
			a.wanted.Password, err = i.Hasher.Encode(ctx, a.plain) // the revision, if any, points there
			return err
		})
	}
	return group.Wait()
}
