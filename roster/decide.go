package roster

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// Result is what an import does with a line or an account.
type Result string

// The results.
const (
	Added       Result = "added"
	Changed     Result = "changed"
	Unchanged   Result = "unchanged"
	Deactivated Result = "deactivated"
	Wrong       Result = "wrong" // the line is; nothing was done
)

// Row is what a report says of a line of the roster, or of an account that is not on it.
type Row struct {
	Line     int // 0 where the account is not on the roster
	Username string
	Result   Result
	Reason   string // what is wrong, or what changes
	Code     string // the account's one-time code, where it is known
	Expires  time.Time
}

// student is a line of a roster that was checked.
type student struct {
	Row
	wanted repository.User // of a new account, with an encoded password or none
	plain  string          // a password that is not encoded yet
	has    map[string]bool // the columns that say something

	nameless bool // it is not sure whose line it is
}

// check reads a record. What it says is held against the rules of the API, in the words of the API.
func (i *importer) check(ctx context.Context, r record) (student, error) {
	s := student{Row: Row{Line: r.line, Username: r.cells[colUsername]}, has: map[string]bool{}}
	if r.wrong != "" {
		s.Result, s.Reason, s.nameless = Wrong, r.wrong, true
		return s, nil
	}
	fields := map[string]string{}
	for name, cell := range r.cells {
		s.has[name] = name != colActive && name != colPassword && name != colHash || strings.TrimSpace(cell) != ""
		if s.has[name] && name != colHash && name != colActive {
			fields[name] = cell
		}
	}
	fields, wrong, err := i.Rules.Check(ctx, fields)
	if err != nil {
		return student{}, err
	}
	s.wanted = server.NewUser(fields[colUsername], fields[colFirstName], fields[colLastName], fields[colEmail])
	s.Username, s.plain = s.wanted.Username, fields[colPassword]
	problems := maps.Clone(wrong)
	if problems == nil {
		problems = map[string][]string{}
	}
	if s.has[colActive] {
		var ok bool
		if s.wanted.IsActive, ok = parseBool(r.cells[colActive]); !ok {
			problems[colActive] = []string{"Must be a valid boolean."}
		}
	}
	if s.has[colHash] {
		s.wanted.Password = strings.TrimSpace(r.cells[colHash])
		switch {
		case s.has[colPassword]:
			problems[colHash] = []string{"There is a password, too. Give one of the two."}
		case !password.IsSet(s.wanted.Password): // Django's mark that there is none
			s.wanted.Password, s.has[colHash] = "", false
		case password.CheckEncoding(s.wanted.Password) != nil:
			problems[colHash] = []string{"This is not an encoded password that can be verified."}
		}
	}
	s.nameless = len(problems[colUsername]) > 0
	if len(problems) > 0 {
		s.Result, s.Reason = Wrong, server.Explain(problems)
	}
	return s, nil
}

func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "yes", "1", "t", "y":
		return true, true
	case "false", "no", "0", "f", "n":
		return false, true
	}
	return false, false
}

// needsCode tells whether a student has no way to sign in but a one-time code.
func (s student) needsCode() bool {
	return s.wanted.IsActive && s.plain == "" && s.wanted.Password == ""
}

// revise says what to change of an account so that it is as the roster says, and how. A password of the roster is for
// accounts that have none: people change theirs.
func (s *student) revise(user repository.User) repository.Revision {
	r := repository.Revision{ID: user.ID, OldPassword: user.Password}
	var changed []string
	for _, field := range []struct {
		name        string
		was, wanted string
		into        **string
	}{
		{colFirstName, user.FirstName, s.wanted.FirstName, &r.FirstName},
		{colLastName, user.LastName, s.wanted.LastName, &r.LastName},
		{colEmail, user.Email, s.wanted.Email, &r.Email},
	} {
		if s.has[field.name] && field.was != field.wanted {
			*field.into = &field.wanted
			changed = append(changed, field.name)
		}
	}
	if s.has[colActive] && user.IsActive != s.wanted.IsActive {
		r.Active = &s.wanted.IsActive
		changed = append(changed, colActive)
	}
	if !password.IsSet(user.Password) && (s.has[colHash] || s.has[colPassword]) {
		r.Password = &s.wanted.Password // a plain one is encoded before it is stored
		changed = append(changed, colPassword)
	}
	s.Result, s.Reason = Unchanged, ""
	if len(changed) > 0 {
		s.Result, s.Reason = Changed, strings.Join(changed, ", ")
	} else if !user.IsActive && !s.has[colActive] {
		s.Reason = "the account is not active"
	}
	return r
}
