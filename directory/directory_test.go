package directory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/test/testldap"
)

const password = "Correct-Horse-9"

// one is the person of the tests that need one.
func one(t *testing.T) *testldap.Directory {
	d := testldap.Start(t)
	d.Add(t, password, "anna")
	return d
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	d := one(t)
	d.Add(t, password, "bela*", "c(a)", `d\61`)
	d.Set(t, "anna", "mail", "anna@example.org")
	encrypted := d.Open(t, func(s *directory.Settings) { s.URLs = []string{"ldaps://" + d.TLSAddress} })
	byMail := d.Open(t, func(s *directory.Settings) { s.Filter = "(|(uid={username})(mail={username})(cn={username}))" })
	d.Set(t, "anna", "cn", "anna", "an")
	for name, test := range map[string]struct {
		directory          *directory.Directory
		username, password string
		want               error // nil is anna
	}{
		"right":                      {d.Open(t), "anna", password, nil},
		"right, encrypted at once":   {encrypted, "anna", password, nil},
		"right, in another case":     {d.Open(t), "ANNA", password, nil},
		"right, wide":                {d.Open(t), "ａｎｎａ", password, nil},
		"right, by address":          {byMail, "Anna@example.org", password, nil},
		"wrong password":             {d.Open(t), "anna", password + "x", directory.ErrCredentials},
		"empty password":             {d.Open(t), "anna", "", directory.ErrCredentials},
		"unknown":                    {d.Open(t), "nobody", password, directory.ErrCredentials},
		"no name":                    {d.Open(t), "", password, directory.ErrCredentials},
		"another name of an entry":   {byMail, "an", password, directory.ErrCredentials},
		"blanks that slapd ignores":  {d.Open(t), " anna ", password, directory.ErrCredentials},
		"a star":                     {d.Open(t), "*", password, directory.ErrCredentials},
		"a star behind":              {d.Open(t), "ann*", password, directory.ErrCredentials},
		"a filter":                   {d.Open(t), "anna)(uid=*", password, directory.ErrCredentials},
		"a filter that is always so": {d.Open(t), "x)(|(uid=anna)", password, directory.ErrCredentials},
		"an escaped name":            {d.Open(t), `\61nna`, password, directory.ErrCredentials},
		"NUL":                        {d.Open(t), "anna\x00", password, directory.ErrCredentials},
		"no UTF-8":                   {d.Open(t), "anna\xff", password, directory.ErrCredentials},
		"a DN":                       {d.Open(t), testldap.DN("anna"), password, directory.ErrCredentials},
		"a password with NUL":        {d.Open(t), "anna", password + "\x00", directory.ErrCredentials},
		"a long name":                {d.Open(t), strings.Repeat("x", 5000), password, directory.ErrCredentials},
	} {
		got, err := test.directory.Authenticate(t.Context(), test.username, test.password, nil)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
		if test.want == nil && (got.Username != "anna" || got.FirstName != "Given anna" || got.LastName != "Family" || got.Email != "anna@example.org" || len(got.ID) != 36) {
			t.Errorf("%s: got %+v", name, got)
		}
		if test.want != nil && got != (directory.Person{}) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	for _, name := range []string{"bela*", "c(a)", `d\61`} {
		if got, err := d.Open(t).Authenticate(t.Context(), name, password, nil); err != nil || got.Username != name {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// Who is locked, or has no password, or is one of two, is refused, and no person is returned.
func TestRefused(t *testing.T) {
	t.Parallel()
	d := one(t)
	d.Add(t, password, "locked", "bare", "twin1", "twin2")
	d.Set(t, "locked", "pwdAccountLockedTime", "000001010000Z")
	d.Set(t, "bare", "userPassword")
	d.Set(t, "twin1", "employeeNumber", "7")
	d.Set(t, "twin2", "employeeNumber", "7")
	byNumber := d.Open(t, func(s *directory.Settings) { s.Filter = "(employeeNumber={username})" })
	noID := d.Open(t, func(s *directory.Settings) { s.Attributes.ID = "carLicense" })
	noName := d.Open(t, func(s *directory.Settings) { s.Attributes.Username = "carLicense" })
	for name, test := range map[string]struct {
		directory *directory.Directory
		username  string
		want      error
	}{
		"locked":          {d.Open(t), "locked", directory.ErrCredentials},
		"no password":     {d.Open(t), "bare", directory.ErrCredentials},
		"two of one name": {byNumber, "7", directory.ErrUnusable},
		"no id":           {noID, "anna", directory.ErrUnusable},
		"no username":     {noName, "anna", directory.ErrUnusable},
	} {
		if got, err := test.directory.Authenticate(t.Context(), test.username, password, nil); !errors.Is(err, test.want) || got != (directory.Person{}) {
			t.Errorf("%s: got %+v, %v, want %v", name, got, err, test.want)
		}
	}
}

// Everybody is listed, or nobody.
func TestPasswordStamps(t *testing.T) {
	t.Parallel()
	d := one(t)
	var names []string
	for n := range 1200 { // several pages
		names = append(names, fmt.Sprint("student", n))
	}
	d.Add(t, password, names...)
	opened := d.Open(t)
	person, err := opened.Authenticate(t.Context(), "anna", password, nil)
	if err != nil {
		t.Fatal(err)
	}
	stamps, err := opened.PasswordStamps(t.Context())
	if err != nil || len(stamps) != 1201 || stamps[person.ID] != person.PasswordStamp || person.PasswordStamp != d.PasswordChanged(t, "anna") {
		t.Fatalf("%d people, anna %q, who signed in with %q: %v", len(stamps), stamps[person.ID], person.PasswordStamp, err)
	}
	proxy := d.Proxy(t)
	for name, test := range map[string]struct {
		passes int64
		stalls bool
		change func(*directory.Settings)
		want   error
	}{
		"cut off in the middle":   {50_000, false, func(*directory.Settings) {}, directory.ErrUnavailable},
		"cut off at the end":      {0, false, func(*directory.Settings) {}, directory.ErrUnavailable},
		"silent in the middle":    {50_000, true, func(*directory.Settings) {}, directory.ErrUnavailable},
		"an entry without the id": {-1, false, func(s *directory.Settings) { s.Attributes.ID = "carLicense" }, directory.ErrUnusable},
		"no such base":            {-1, false, func(s *directory.Settings) { s.Base = "dc=example,dc=com" }, directory.ErrUnavailable},
	} {
		proxy.Passes.Store(test.passes)
		proxy.Stalls.Store(test.stalls)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		got, err := d.Open(t, func(s *directory.Settings) {
			s.URLs, s.Cleartext = []string{"ldap://" + proxy.Address}, true
			test.change(s)
		}).PasswordStamps(ctx)
		if !errors.Is(err, test.want) || got != nil {
			t.Errorf("%s: %d ids, %v", name, len(got), err)
		}
	}
	d.Refer(t, "ldap://elsewhere.example.org/ou=people,dc=example,dc=org")
	if got, err := opened.PasswordStamps(t.Context()); !errors.Is(err, directory.ErrUnusable) || got != nil || !strings.Contains(err.Error(), "elsewhere.example.org") {
		t.Errorf("with a referral: %d ids, %v", len(got), err)
	}
	if _, err := opened.Authenticate(t.Context(), "anna", password, nil); err != nil {
		t.Errorf("a referral keeps anna from signing in: %v", err)
	}
}

// The stamp is the one from before the password was verified. If the password changes meanwhile, the next sync ends the
// session.
func TestPasswordStampIsReadBeforeTheBind(t *testing.T) {
	t.Parallel()
	const bind, after = 3, 4 // requests of a sign-in: bind as the searcher, search, bind as the person; no more
	for name, test := range map[string]struct {
		before int // the request before which the password changes
		typed  string
	}{
		"changed between search and bind": {bind, "New-Horse-9"},
		"changed after the bind":          {after, password},
	} {
		d := one(t)
		proxy := d.Proxy(t)
		changed := false
		change := func(request int) {
			if request == test.before {
				d.ChangePassword(t, "anna", "New-Horse-9")
				changed = true
			}
		}
		proxy.BeforeRequest.Store(&change)
		through := d.Open(t, func(s *directory.Settings) { s.URLs, s.Cleartext = []string{"ldap://" + proxy.Address}, true })
		old := d.PasswordChanged(t, "anna")
		got, err := through.Authenticate(t.Context(), "anna", test.typed, nil)
		if !changed {
			change(test.before)
		}
		if err != nil || got.PasswordStamp != old || old == d.PasswordChanged(t, "anna") {
			t.Errorf("%s: got %q, %v, want %q", name, got.PasswordStamp, err, old)
		}
	}
}

// A limit of the directory is no end of the people in it.
func TestLimitedPasswordStamps(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t, "sizelimit size.prtotal=100")
	var names []string
	for n := range 150 {
		names = append(names, fmt.Sprint("student", n))
	}
	d.Add(t, password, names...)
	if got, err := d.Open(t).PasswordStamps(t.Context()); !errors.Is(err, directory.ErrUnavailable) || got != nil {
		t.Errorf("%d ids, %v", len(got), err)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	filter, attributes := directory.Preset("ad")
	good := directory.Settings{URLs: []string{"ldaps://dc1.example.org", "ldap://[::1]:3389"}, Base: "dc=example,dc=org", Filter: filter, Attributes: attributes, Timeout: time.Second, Connections: 1}
	if _, err := directory.New(good); err != nil {
		t.Errorf("the preset of Active Directory: %v", err)
	}
	if attributes.PasswordChanged != "pwdLastSet" {
		t.Errorf("Active Directory's password changes are seen by %q", attributes.PasswordChanged)
	}
	for want, change := range map[string]func(*directory.Settings){
		"must be as in ldaps://HOST": func(s *directory.Settings) { s.URLs = []string{"ldap.example.org"} },
		"address must be":            func(s *directory.Settings) { s.URLs = []string{"http://example.org"} },
		"directory's address":        func(s *directory.Settings) { s.URLs = []string{"ldap://cn=a:secret@example.org"} },
		"the base":                   func(s *directory.Settings) { s.Base = "" },
		"is no DN":                   func(s *directory.Settings) { s.Base = "people" },
		"must have {username}":       func(s *directory.Settings) { s.Filter = "(uid=%s)" },
		"behind a plain =":           func(s *directory.Settings) { s.Filter = "(uid:caseExactMatch:={username})" },
		"cannot be read":             func(s *directory.Settings) { s.Filter = "(uid={username}" },
		"CA certificates":            func(s *directory.Settings) { s.CAFile = "nowhere.pem" },
		"no certificate in PEM":      func(s *directory.Settings) { s.CAFile = "directory.go" },
	} {
		s := good
		change(&s)
		if _, err := directory.New(s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	names := map[string]string{"Anna": "anna", "ＡＮＮＡ": "anna", "ANNÁ": "anná", "Straße": "strasse", "ﬁ": "fi", "Σίσυφος": "σίσυφοσ"}
	for name := range maps.Keys(names) {
		if got := directory.Fold(name); got != names[name] {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
