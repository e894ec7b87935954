package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

type userCmd struct {
	Create      userCreate      `cmd:"" help:"Make an account. Its password is asked for, or read from a line of standard input."`
	List        userList        `cmd:"" help:"List the accounts."`
	Show        userShow        `cmd:"" help:"Show an account."`
	SetPassword userSetPassword `cmd:"" help:"Set an account's password, which is asked for or read from a line of standard input, and end all its sign-ins."`
	Invite      userInvite      `cmd:"" help:"Give an account a one-time code with which its owner sets a password."`
	Activate    userActivate    `cmd:"" help:"Let an account sign in."`
	Deactivate  userDeactivate  `cmd:"" help:"Let an account sign in no more, and end its sign-ins."`
	Delete      userDelete      `cmd:"" help:"Remove an account for good."`
}

// account is the argument of the commands that are about one.
type account struct {
	database
	Account string `arg:"" help:"Its username or id."`
}

type formatted struct {
	JSON bool `name:"json" help:"Write JSON, for programs."`
}

type userCreate struct {
	database
	formatted
	passwordSource
	Username  string `arg:"" help:"Its username."`
	FirstName string `help:"The user's given name."`
	LastName  string `help:"The user's family name."`
	Email     string `help:"The user's email address."`
	None      bool   `name:"no-password" help:"Set no password: the account cannot sign in until it has one."`
}

type userList struct {
	database
	formatted
}

type userShow struct {
	account
	formatted
}

type userSetPassword struct {
	account
	passwordSource
}

type userActivate struct{ account }

type userDeactivate struct{ account }

type userDelete struct {
	account
	Yes bool `help:"Do not ask. There is no way back."`
}

// wrongError says what is wrong with the fields of an account.
type wrongError map[string][]string

func (e wrongError) Error() string { return server.Explain(e) }

// with opens and migrates the database for a command.
func (d database) with(ctx context.Context, do func(*repository.DB) error) error {
	db, _, err := d.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

// with opens the database for a command about one account.
func (a account) with(ctx context.Context, do func(*repository.DB, repository.User) error) error {
	return a.database.with(ctx, func(db *repository.DB) error {
		user, err := find(ctx, db.Users(), a.Account)
		if errors.Is(err, repository.ErrNotFound) {
			return fmt.Errorf("there is no account %q", a.Account)
		}
		if err != nil {
			return err
		}
		return do(db, user)
	})
}

// find returns the account with an id or a username. An id comes first: anybody may register another's as a name.
func find(ctx context.Context, users *repository.Users, name string) (repository.User, error) {
	if id, err := uuid.Parse(name); err == nil {
		user, err := users.ByID(ctx, id)
		if !errors.Is(err, repository.ErrNotFound) {
			return user, err
		}
	}
	return users.ByUsername(ctx, norm.NFKC.String(strings.TrimSpace(name)))
}

// Run makes an account.
func (c userCreate) Run(ctx context.Context, o output) error {
	fields := map[string]string{"username": c.Username, "first_name": c.FirstName, "last_name": c.LastName, "email": c.Email}
	if !c.None {
		plain, err := c.read(o)
		if err != nil {
			return err
		}
		fields["password"] = plain
	}
	fields, err := c.check(ctx, fields)
	if err != nil {
		return err
	}
	user := server.NewUser(fields["username"], fields["first_name"], fields["last_name"], fields["email"])
	if plain, ok := fields["password"]; ok {
		if user.Password, err = password.New(password.Options{}).Encode(ctx, plain); err != nil {
			return err
		}
	}
	return c.with(ctx, func(db *repository.DB) error {
		err := db.Users().Create(ctx, user)
		if errors.Is(err, repository.ErrUsernameTaken) {
			return wrongError{"username": {server.UsernameTaken}}
		}
		if err != nil {
			return err
		}
		o.audit(ctx, server.EventRegistered, user.ID)
		if user, err = db.Users().ByID(ctx, user.ID); err != nil { // with its times
			return err
		}
		return o.users(c.formatted, user)
	})
}

// check returns the canonical fields of an account, or what is wrong with them.
func (p policyFlags) check(ctx context.Context, fields map[string]string) (canonical map[string]string, err error) {
	rules, closeList, err := p.rules()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeList()) }()
	canonical, wrong, err := rules.Check(ctx, fields)
	if err == nil && len(wrong) > 0 {
		err = wrongError(wrong)
	}
	return canonical, err
}

// Run lists the accounts.
func (c userList) Run(ctx context.Context, o output) error {
	const page = 500
	return c.with(ctx, func(db *repository.DB) error {
		var all []repository.User
		for last := ""; ; {
			users, err := db.Users().After(ctx, last, page)
			if err != nil {
				return err
			}
			all = append(all, users...)
			if len(users) < page {
				return o.users(c.formatted, all...)
			}
			last = users[len(users)-1].Username
		}
	})
}

// Run shows an account.
func (c userShow) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(_ *repository.DB, user repository.User) error { return o.users(c.formatted, user) })
}

// Run sets a password.
func (c userSetPassword) Run(ctx context.Context, o output) error {
	return c.with(ctx, func(db *repository.DB, user repository.User) error {
		if err := isLocal(user); err != nil {
			return err
		}
		plain, err := c.read(o)
		if err != nil {
			return err
		}
		_, err = c.check(ctx, map[string]string{
			"username": user.Username, "first_name": user.FirstName, "last_name": user.LastName, "email": user.Email, "password": plain,
		})
		if wrong, ok := errors.AsType[wrongError](err); ok && len(wrong["password"]) > 0 {
			return wrongError{"password": wrong["password"]}
		} else if err != nil && !ok {
			return err
		}
		encoded, err := password.New(password.Options{}).Encode(ctx, plain)
		if err != nil {
			return err
		}
		if err := db.Users().SetPassword(ctx, user.ID, encoded, uuid.Nil); err != nil {
			return err
		}
		o.audit(ctx, server.EventPasswordChanged, user.ID)
		return clearLimits(ctx, db, user)
	})
}

// Run activates an account.
func (c userActivate) Run(ctx context.Context, o output) error {
	return setActive(ctx, o, c.account, true, server.EventActivated)
}

// Run deactivates an account.
func (c userDeactivate) Run(ctx context.Context, o output) error {
	return setActive(ctx, o, c.account, false, server.EventDeactivated)
}

func setActive(ctx context.Context, o output, a account, active bool, event server.Event) error {
	return a.with(ctx, func(db *repository.DB, user repository.User) error {
		if err := db.Users().SetActive(ctx, user.ID, active); err != nil {
			return err
		}
		o.audit(ctx, event, user.ID)
		return nil
	})
}

// Run deletes an account.
func (c userDelete) Run(ctx context.Context, o output) error {
	if !c.Yes {
		return errors.New("there is no way back: say --yes to delete the account")
	}
	return c.with(ctx, func(db *repository.DB, user repository.User) error {
		if err := db.Users().Delete(ctx, user.ID); err != nil {
			return err
		}
		o.audit(ctx, server.EventDeleted, user.ID)
		return nil
	})
}

// shownUser is an account as it is printed. The encoded password is not.
type shownUser struct {
	ID          uuid.UUID `json:"id"`
	Username    string    `json:"username"`
	FirstName   string    `json:"first_name"`
	LastName    string    `json:"last_name"`
	Email       string    `json:"email"`
	Active      bool      `json:"active"`
	HasPassword bool      `json:"has_password"`
	DirectoryID string    `json:"directory_id,omitempty"` // of who has the account in the directory that knows their password
	CreatedAt   time.Time `json:"created_at"`
}

func (o output) users(f formatted, users ...repository.User) error {
	shown := make([]shownUser, len(users))
	for i, u := range users {
		shown[i] = shownUser{
			u.ID, u.Username, u.FirstName, u.LastName, u.Email, u.IsActive, password.IsSet(u.Password), "", u.CreatedAt.UTC(),
		}
		if u.DirectoryID != nil {
			shown[i].DirectoryID = *u.DirectoryID
		}
	}
	return printRows(o.out, f, []string{"ID", "USERNAME", "NAME", "EMAIL", "ACTIVE", "PASSWORD", "CREATED"}, shown, func(u shownUser) []string {
		known := yesNo(u.HasPassword)
		if u.DirectoryID != "" {
			known = "directory"
		}
		return []string{
			u.ID.String(), u.Username, strings.TrimSpace(u.FirstName + " " + u.LastName), u.Email, yesNo(u.Active), known,
			u.CreatedAt.Format(time.DateTime),
		}
	})
}
