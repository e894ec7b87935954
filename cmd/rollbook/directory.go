package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/directory/leavers"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
)

// ldap are the settings of a directory that operators make.
type ldap struct {
	URLs         []string      `name:"ldap-url" env:"LDAP_URL" placeholder:"URL,…" help:"The directory that knows the passwords of those who have no local account: ldaps://HOST, or ldap://HOST, which is encrypted by StartTLS. Of several the first is asked that answers. Default: none."`
	Kind         string        `name:"ldap-kind" env:"LDAP_KIND" enum:"openldap,ad" placeholder:"openldap|ad" default:"openldap" help:"What kind of directory it is, which is what the filter and the attributes are by default: OpenLDAP, or Active Directory. Default: ${default}."`
	Base         string        `name:"ldap-base" env:"LDAP_BASE" placeholder:"DN" help:"Below which DN everybody is, as in ou=people,dc=example,dc=org."`
	BindDN       string        `name:"ldap-bind-dn" env:"LDAP_BIND_DN" placeholder:"DN" help:"The account that searches. Default: none, the search is anonymous."`
	BindPassword string        `name:"ldap-bind-password" secret:"" env:"LDAP_BIND_PASSWORD" placeholder:"PASSWORD" help:"Its password. The environment is the better place for it."`
	PasswordFile string        `name:"ldap-bind-password-file" env:"LDAP_BIND_PASSWORD_FILE" placeholder:"FILE" help:"A file with the value of LDAP_BIND_PASSWORD on its one line."`
	CAFile       string        `name:"ldap-ca-file" env:"LDAP_CA_FILE" placeholder:"FILE" help:"Who vouches for the directory: certificates in PEM. Default: those of the system."`
	Cleartext    bool          `name:"ldap-cleartext" env:"LDAP_CLEARTEXT" help:"Do not encrypt ldap://, so that everybody on the way can read passwords. For a directory on the same machine."`
	Filter       string        `name:"ldap-filter" env:"LDAP_FILTER" placeholder:"FILTER" help:"Who may sign in; {username} stands for the name that was typed. Default: everybody of the kind of directory whose account is not disabled."`
	ID           string        `name:"ldap-id-attribute" env:"LDAP_ID_ATTRIBUTE" placeholder:"NAME" help:"The attribute that is somebody's for ever, by which accounts are known. Default: entryUUID or objectGUID."`
	Username     string        `name:"ldap-username-attribute" env:"LDAP_USERNAME_ATTRIBUTE" placeholder:"NAME" help:"That of the username. Default: uid or sAMAccountName."`
	FirstName    string        `name:"ldap-first-name-attribute" env:"LDAP_FIRST_NAME_ATTRIBUTE" placeholder:"NAME" default:"givenName" help:"That of the given name. Default: ${default}."`
	LastName     string        `name:"ldap-last-name-attribute" env:"LDAP_LAST_NAME_ATTRIBUTE" placeholder:"NAME" default:"sn" help:"That of the family name. Default: ${default}."`
	Changed      string        `name:"ldap-password-changed-attribute" env:"LDAP_PASSWORD_CHANGED_ATTRIBUTE" placeholder:"NAME" help:"The attribute whose value changes with the password. Sessions that began with another value end. Default: pwdChangedTime or pwdLastSet."`
	Email        string        `name:"ldap-email-attribute" env:"LDAP_EMAIL_ATTRIBUTE" placeholder:"NAME" default:"mail" help:"That of the email address. Default: ${default}."`
	Timeout      time.Duration `name:"ldap-timeout" env:"LDAP_TIMEOUT" placeholder:"DURATION" default:"5s" help:"How long the directory may take for a login before it is answered 503. Default: ${default}."`
	Connections  int           `name:"ldap-connections" env:"LDAP_CONNECTIONS" placeholder:"N" default:"16" help:"How many connections logins have to the directory at most. Default: ${default}."`
	Most         float64       `name:"ldap-deactivate-at-most" env:"LDAP_DEACTIVATE_AT_MOST" placeholder:"PERCENT" default:"10" help:"How many percent of the directory's active accounts may be missing in it; where more are, none is deactivated. Default: ${default}."`
}

// Validate refuses what makes no sense.
func (l ldap) Validate() error {
	if l.Timeout <= 0 || l.Timeout > maxRefuseAfter {
		return fmt.Errorf("--ldap-timeout must be more than 0, and %s at most", maxRefuseAfter)
	}
	if l.Connections < 1 {
		return errors.New("--ldap-connections must be more than 0")
	}
	if (l.BindDN == "") != (l.BindPassword == "") {
		return errors.New("--ldap-bind-dn and --ldap-bind-password belong together")
	}
	return checkPercent("--ldap-deactivate-at-most", l.Most)
}

// directory is the one that is set, and nil where none is.
func (l ldap) directory() (*directory.Directory, error) {
	if len(l.URLs) == 0 {
		return nil, nil //nolint:nilnil // as documented
	}
	filter, names := directory.Preset(l.Kind)
	d, err := directory.New(directory.Settings{
		URLs: l.URLs, Cleartext: l.Cleartext, CAFile: l.CAFile, BindDN: l.BindDN, BindPassword: l.BindPassword, Base: l.Base,
		Filter: cmp.Or(l.Filter, filter),
		Attributes: directory.Attributes{
			ID: cmp.Or(l.ID, names.ID), Username: cmp.Or(l.Username, names.Username), FirstName: l.FirstName, LastName: l.LastName, Email: l.Email,
			PasswordChanged: cmp.Or(l.Changed, names.PasswordChanged),
		},
		Timeout: l.Timeout, Connections: l.Connections,
	})
	if err != nil {
		return nil, fmt.Errorf("the settings of LDAP: %w", err)
	}
	return d, nil
}

type directoryCmd struct {
	Sync directorySync `cmd:"" help:"Deactivate accounts whose owners left the directory, and end sessions that began before the password changed there."`
}

type directorySync struct {
	database
	LDAP   ldap `embed:""`
	DryRun bool `help:"Show whose accounts would be deactivated and whose sessions would end, and do nothing."`
}

// reasons are why accounts are shown.
var reasons = map[server.Event]string{
	server.EventDeactivated:  "left the directory",
	server.EventTokenRevoked: "changed password",
}

// Run looks for leavers and changed passwords once.
func (c directorySync) Run(ctx context.Context, o output) error {
	d, err := c.LDAP.directory()
	if err != nil {
		return err
	}
	if d == nil {
		return errors.New("--ldap-url must say where the directory is")
	}
	return c.with(ctx, func(db *repository.DB) error {
		shown := tabwriter.NewWriter(o.out, 0, 0, 2, ' ', 0)
		counts, err := leavers.Sync(ctx, leavers.Options{
			DB: db, Directory: d, Most: c.LDAP.Most / 100, DryRun: c.DryRun,
			Show: func(event server.Event, user repository.User) error {
				_, err := fmt.Fprintf(shown, "%s\t%s\t%s\n", user.ID, printable(user.Username), reasons[event])
				return err
			},
			Audit: func(event server.Event, id uuid.UUID, more ...slog.Attr) { o.audit(ctx, event, id, more...) },
		})
		if err := errors.Join(shown.Flush(), err); err != nil {
			return err
		}
		counts.Warn(ctx, o.log)
		deactivated, ended := "deactivated", "sessions ended after a password change"
		if c.DryRun {
			deactivated, ended = "to deactivate", "sessions to end after a password change"
		}
		_, err = fmt.Fprintf(o.out, "%s: %d of %d accounts of the directory\n%s: %d of %d accounts\n",
			deactivated, counts.Left, counts.Active, ended, counts.Changed, counts.Active)
		return err
	})
}

// lookForLeavers does so at intervals, unless that is turned off. The function that it returns ends it, and waits for
// the end.
func (s serve) lookForLeavers(ctx context.Context, db *repository.DB, d *directory.Directory, o output) (end func()) {
	if d == nil || s.Directory.SyncInterval == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		leavers.Run(ctx, s.Directory.SyncInterval, leavers.Options{
			DB: db, Directory: d, Most: s.LDAP.Most / 100,
			Show: func(server.Event, repository.User) error { return nil },
			Audit: func(event server.Event, id uuid.UUID, more ...slog.Attr) {
				server.Audit(ctx, o.log, event, id, "directory sync", append(more, server.ActorAttr("directory sync"))...)
			},
		}, o.log)
	})
	return func() { cancel(); looking.Wait() }
}

// isLocal is an error where the directory knows an account's password.
func isLocal(user repository.User) error {
	if user.DirectoryID != nil {
		return fmt.Errorf("the password of %q is the one that the directory knows: it can be changed only there", user.Username)
	}
	return nil
}
