// Package directory validates passwords by an LDAP directory (RFC 4511), and tells who is in it.
package directory

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/google/uuid"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

var (
	// ErrCredentials means that the directory has nobody of this name and password, or does not let them sign in.
	ErrCredentials = errors.New("bad credentials")
	// ErrUnusable means that the directory has somebody of this name, but not as is needed: several, or one without an id.
	ErrUnusable = errors.New("unusable entry")
	// ErrUnavailable means that the directory cannot be asked for now, or does not answer as it should.
	ErrUnavailable = errors.New("directory unavailable")
	// ErrTried means that the password was sent to the directory, which may have counted it, but did not answer.
	ErrTried = errors.New("tried")
	// ErrNotAdmitted means that the caller did not allow the password to be tried.
	ErrNotAdmitted = errors.New("not admitted")
)

// Settings are where a directory is and what it calls things. All are needed but CAFile, BindDN and BindPassword; Preset has
// those that directories of a kind share.
type Settings struct {
	// URLs are ldap://HOST[:PORT], which is encrypted by StartTLS, or ldaps://HOST[:PORT]. The first that can be used is.
	URLs []string
	// Cleartext leaves ldap:// without encryption.
	Cleartext bool
	// CAFile has the certificates, in PEM, of those who may vouch for the directory; the system's by default.
	CAFile string
	// BindDN and BindPassword are those of the account that searches; without them, the search is anonymous.
	BindDN, BindPassword string
	// Base is the DN below which everybody is.
	Base string
	// Filter finds who may sign in (RFC 4515). It has {username} where the name stands that was typed, or * for everybody.
	Filter string
	// Attributes are those of everybody.
	Attributes Attributes
	// Timeout bounds a sign-in, waiting for a connection included.
	Timeout time.Duration
	// Connections is how many there are for sign-ins at once, at most.
	Connections int
}

// Attributes are the names of those that are read. ID never changes and is never given to another. PasswordChanged has
// another value after each change of the password.
type Attributes struct{ ID, Username, FirstName, LastName, Email, PasswordChanged string }

// Preset is the filter and the attributes of a kind of directory: "openldap", or "ad" for Active Directory, where who is disabled
// may not sign in.
func Preset(kind string) (filter string, a Attributes) {
	if kind == "ad" {
		// The bit 2 of userAccountControl is ADS_UF_ACCOUNTDISABLE.
		return "(&(objectCategory=person)(objectClass=user)(sAMAccountName={username})(!(userAccountControl:1.2.840.113556.1.4.803:=2)))",
			Attributes{"objectGUID", "sAMAccountName", "givenName", "sn", "mail", "pwdLastSet"}
	}
	return "(&(objectClass=inetOrgPerson)(uid={username}))", Attributes{"entryUUID", "uid", "givenName", "sn", "mail", "pwdChangedTime"}
}

// Person is what a directory says of somebody: nothing is checked but that it is UTF-8, and that there are an ID and a Username.
type Person struct {
	ID                                   string // a UUID is in lower case
	Username, FirstName, LastName, Email string
	// PasswordStamp is the value of Attributes.PasswordChanged, read before the password was verified. It is empty if
	// the directory has no value that can be stored. It is opaque: only its equality with another one means something.
	PasswordStamp string
}

// Directory is an LDAP directory. Its methods may be called by several goroutines at once.
type Directory struct {
	settings Settings
	servers  []*url.URL
	tls      *tls.Config
	slots    chan struct{}
}

// placeholder stands for the name in Settings.Filter.
const placeholder = "{username}"

// notForAll matches assertions in which * is no wildcard, but a value.
var notForAll = regexp.MustCompile(`[:~<>]=\{username\}`)

const (
	maxID    = 200 // bytes
	maxStamp = 64  // bytes
	pageSize = 500 // Active Directory's limit is 1000
	longest  = 5 * time.Minute
)

// maxAnswer is how long a message of the directory may be: what it says of one person, and of their photo.
const maxAnswer = 16 << 20

func init() { ber.MaxPacketLengthBytes = maxAnswer }

// New returns a directory, which is not asked anything yet. The error says which setting is wrong.
func New(s Settings) (*Directory, error) {
	d := &Directory{settings: s, slots: make(chan struct{}, s.Connections)}
	for _, text := range s.URLs {
		server, err := url.Parse(text)
		if err != nil || server.Scheme != "ldap" && server.Scheme != "ldaps" || server.Hostname() == "" || server.User != nil {
			return nil, errors.New("the directory's address must be as in ldaps://HOST or ldap://HOST:PORT")
		}
		d.servers = append(d.servers, server)
	}
	if _, err := ldap.ParseDN(s.Base); err != nil || s.Base == "" {
		return nil, fmt.Errorf("the base %q is no DN, as in ou=people,dc=example,dc=org", s.Base)
	}
	if !strings.Contains(s.Filter, placeholder) {
		return nil, fmt.Errorf("the filter must have %s where the name is to stand", placeholder)
	}
	if notForAll.MatchString(s.Filter) {
		return nil, fmt.Errorf("in the filter %s must stand behind a plain =, since * is put in its place to find everybody", placeholder)
	}
	if _, err := ldap.CompileFilter(d.filter("x")); err != nil {
		return nil, fmt.Errorf("the filter cannot be read: %w", err)
	}
	var err error
	if d.tls, err = trust(s.CAFile); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Directory) filter(escaped string) string {
	return strings.ReplaceAll(d.settings.Filter, placeholder, escaped)
}

// maxName is how many bytes of a name are folded: more than anybody's has.
const maxName = 1024

// Fold makes names alike that differ in case or in how Unicode spells them, which directories mostly do not tell apart. A
// name of more than maxName bytes stays as it is.
func Fold(name string) string {
	if len(name) > maxName {
		return name
	}
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(name)))
}

// Authenticate returns whose name and password these are. The name is that of the directory but for what Fold makes alike, or the
// email address where the filter looks for it: others that the directory takes for the same are not let in, so that nobody gets more
// tries by spelling a name in another way. It is ErrCredentials, ErrUnusable or ErrUnavailable where that is nobody; whether there
// is somebody of the name, the directory is asked as much. The password is tried once admit has returned nil for the ID of
// the entry, or for "" if there is none: its error is returned with ErrNotAdmitted. A nil admits everybody.
func (d *Directory) Authenticate(
	ctx context.Context, username, password string, admit func(ctx context.Context, id string) error,
) (Person, error) {
	if username == "" || password == "" { // with which many directories let everybody bind (RFC 4513, section 5.1.2)
		return Person{}, ErrCredentials
	}
	ctx, cancel := context.WithTimeout(ctx, d.settings.Timeout)
	defer cancel()
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return Person{}, unavailable("wait for a connection", ctx.Err())
	}
	var found Person
	err := d.with(ctx, func(c *ldap.Conn) error {
		dn, person, missing := d.find(c, username)
		if errors.Is(missing, ErrUnavailable) {
			return missing
		}
		if missing != nil {
			dn = d.nobody()
		}
		if err := admitted(ctx, admit, person.ID); err != nil {
			return err
		}
		switch bound := c.Bind(dn, password); {
		case bound != nil && !refused(bound):
			return fmt.Errorf("%w: %w", ErrTried, unavailable("bind as who signs in", bound))
		case missing != nil:
			return missing
		case bound != nil:
			return ErrCredentials
		}
		found = person
		return nil
	})
	return found, err
}

func admitted(ctx context.Context, admit func(context.Context, string) error, id string) error {
	if admit == nil {
		return nil
	}
	if err := admit(ctx, id); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	}
	return nil
}

// nobody is a DN that nobody has.
func (d *Directory) nobody() string { return "cn=" + rand.Text() + "," + d.settings.Base }

// find returns who has a name, and their DN.
func (d *Directory) find(c *ldap.Conn, username string) (dn string, p Person, err error) {
	const most = 2 // to see that there are several
	result, err := c.Search(d.request(ldap.EscapeFilter(username), most, d.settings.Attributes.all()...))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return "", Person{}, fmt.Errorf("%w: several entries have one name", ErrUnusable)
	}
	if err != nil {
		return "", Person{}, unavailable("search", err)
	}
	switch len(result.Entries) {
	case 0:
		return "", Person{}, ErrCredentials
	case 1:
	default:
		return "", Person{}, fmt.Errorf("%w: several entries have one name", ErrUnusable)
	}
	entry := result.Entries[0]
	if p, err = d.person(entry); err != nil {
		return "", Person{}, err
	}
	if typed := Fold(username); typed != Fold(p.Username) && typed != Fold(p.Email) {
		return "", Person{}, ErrCredentials
	}
	return entry.DN, p, nil
}

// request searches for what the filter finds with a name, which is escaped.
func (d *Directory) request(name string, most int, attributes ...string) *ldap.SearchRequest {
	return ldap.NewSearchRequest(d.settings.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, most, 0, false, d.filter(name), attributes, nil)
}

func (a Attributes) all() []string {
	return []string{a.ID, a.Username, a.FirstName, a.LastName, a.Email, a.PasswordChanged}
}

func (d *Directory) person(entry *ldap.Entry) (p Person, err error) {
	a := d.settings.Attributes
	if p.ID, err = id(entry, a.ID); err != nil {
		return p, err
	}
	text := func(attribute string) string {
		return strings.ToValidUTF8(entry.GetEqualFoldAttributeValue(attribute), "\uFFFD")
	}
	p.Username, p.FirstName, p.LastName, p.Email = text(a.Username), text(a.FirstName), text(a.LastName), text(a.Email)
	p.PasswordStamp = passwordStamp(entry, a.PasswordChanged)
	if p.Username == "" {
		return p, fmt.Errorf("%w: an entry has no %s that can be read", ErrUnusable, a.Username)
	}
	return p, nil
}

// passwordStamp returns the value of an attribute if there is exactly one, of at most maxStamp printable ASCII
// characters, and otherwise "". A GeneralizedTime and an INTEGER (RFC 4517) are such values.
func passwordStamp(entry *ldap.Entry, attribute string) string {
	values := entry.GetEqualFoldAttributeValues(attribute)
	if len(values) != 1 || len(values[0]) > maxStamp {
		return ""
	}
	unprintable := func(r rune) bool { return r < ' ' || r > '~' }
	if strings.ContainsFunc(values[0], unprintable) {
		return ""
	}
	return values[0]
}

// id is an entry's. That of Active Directory is 16 bytes, of which the first three groups are little-endian (MS-DTYP, section 2.3.4.2).
func id(entry *ldap.Entry, attribute string) (string, error) {
	raw := entry.GetEqualFoldRawAttributeValue(attribute)
	if len(raw) == 0 {
		return "", fmt.Errorf("%w: an entry has no %s that can be read", ErrUnusable, attribute)
	}
	if !strings.EqualFold(attribute, "objectGUID") {
		if len(raw) > maxID || !utf8.Valid(raw) {
			return "", fmt.Errorf("%w: an entry's %s is no text, or too long", ErrUnusable, attribute)
		}
		text := string(raw)
		if uuid.Validate(text) == nil { // which are the same in either case
			text = strings.ToLower(text)
		}
		return text, nil
	}
	guid, err := uuid.FromBytes(raw)
	if err != nil {
		return "", fmt.Errorf("%w: an entry's %s has %d bytes", ErrUnusable, attribute, len(raw))
	}
	slices.Reverse(guid[:4])
	slices.Reverse(guid[4:6])
	slices.Reverse(guid[6:8])
	return guid.String(), nil
}

// PasswordStamps returns the password stamps of all people who may sign in, by their IDs; a stamp is empty as
// Person.PasswordStamp is. It returns ErrUnusable or ErrUnavailable, and no stamps, unless the directory lists
// everybody within five minutes. Referrals to other directories are not followed, and are ErrUnusable.
func (d *Directory) PasswordStamps(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	stamps := map[string]string{}
	a := d.settings.Attributes
	err := d.with(ctx, func(c *ldap.Conn) error {
		result, err := c.SearchWithPaging(d.request("*", 0, a.ID, a.PasswordChanged), pageSize)
		if err != nil {
			return unavailable("search", err)
		}
		if len(result.Referrals) > 0 {
			return fmt.Errorf("%w: it refers to other directories, as %s, which are not asked: narrow the base, or ask one that has everybody",
				ErrUnusable, result.Referrals[0])
		}
		for _, entry := range result.Entries {
			id, err := id(entry, a.ID)
			if err != nil {
				return err
			}
			stamps[id] = passwordStamp(entry, a.PasswordChanged)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return stamps, nil
}
