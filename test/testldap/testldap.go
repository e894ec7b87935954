// Package testldap starts LDAP directories for tests: OpenLDAP's slapd, with certificates of its own.
package testldap

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/pasted"
	"github.com/rollbook/rollbook/test/testserver"
)

const (
	suffix = "dc=example,dc=org"
	// People is the base below which everybody is.
	People = "ou=people," + suffix
	// Searcher is the account that searches, which may read everything but passwords.
	Searcher = "cn=rollbook," + suffix
	// SearcherPassword is its password.
	SearcherPassword = "Searching-Password-1"

	admin, adminPassword = "cn=admin," + suffix, "Admin-Password-1"

	startTimeout = 20 * time.Second
)

// config is for slapd. Its values are the folder, the admin and their password, who searches, and more of its lines.
const config = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile %[1]s/pid
TLSCACertificateFile %[1]s/ca.pem
TLSCertificateFile %[1]s/server.pem
TLSCertificateKeyFile %[1]s/key.pem
sizelimit size.prtotal=unlimited
%[5]s
database mdb
suffix ` + suffix + `
directory %[1]s
rootdn %[2]s
rootpw %[3]s
overlay ppolicy
ppolicy_default cn=policy,` + suffix + `
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="%[4]s" read by * none
`

// Directory is a slapd of a test's own.
type Directory struct {
	Address, TLSAddress string // HOST:PORT of ldap:// and ldaps://
	CAFile              string

	program, folder string
	server          *exec.Cmd
}

// Start starts a directory in which there is nobody yet but who searches, with more lines of slapd.conf, if any. Where there is no slapd, the test is skipped.
func Start(t testing.TB, more ...string) *Directory {
	t.Helper()
	program := need.Program(t, "slapd", "/usr/sbin/slapd")
	need.File(t, "/etc/ldap/schema/inetorgperson.schema", "slapd of Debian has it")
	d := &Directory{program: program, Address: pasted.FreeAddress(t), TLSAddress: pasted.FreeAddress(t), folder: t.TempDir()}
	d.CAFile = filepath.Join(d.folder, "ca.pem")
	d.Certify(t, time.Now().Add(time.Hour))
	d.write(t, "slapd.conf", fmt.Sprintf(config, d.folder, admin, adminPassword, Searcher, strings.Join(more, "\n")))
	d.Begin(t)
	add := func(dn string, attributes map[string][]string) {
		d.change(t, func(c *ldap.Conn) error {
			request := ldap.NewAddRequest(dn, nil)
			for name, values := range attributes {
				request.Attribute(name, values)
			}
			return c.Add(request)
		})
	}
	add(suffix, map[string][]string{"objectClass": {"dcObject", "organization"}, "o": {"Example"}})
	add(People, map[string][]string{"objectClass": {"organizationalUnit"}})
	add("cn=policy,"+suffix, map[string][]string{
		"objectClass": {"organizationalRole", "pwdPolicy"}, "pwdAttribute": {"userPassword"}, "pwdLockout": {"TRUE"},
		"pwdMaxAge": {"31536000"}, // without an age, slapd sets pwdChangedTime when a password changes, but not when an entry is added
	})
	add(Searcher, map[string][]string{"objectClass": {"organizationalRole", "simpleSecurityObject"}, "userPassword": {SearcherPassword}})
	return d
}

func (d *Directory) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Begin starts a directory that was ended, at the same addresses and with the same people.
func (d *Directory) Begin(t testing.TB) {
	t.Helper()
	d.server = exec.CommandContext(t.Context(), d.program, "-d", "0", "-f", filepath.Join(d.folder, "slapd.conf"),
		"-h", "ldap://"+d.Address+"/ ldaps://"+d.TLSAddress+"/")
	testserver.EndWithParent(d.server)
	var said strings.Builder
	d.server.Stderr = &said
	if err := d.server.Start(); err != nil {
		t.Fatal(err)
	}
	server := d.server
	t.Cleanup(func() { _ = server.Wait() }) // it was killed with the test's context, or has ended before
	for until := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", d.TLSAddress)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(until) {
			t.Fatalf("slapd does not answer: %v", err)
		}
	}
}

// End ends the directory, as a machine does that loses its power.
func (d *Directory) End(t testing.TB) {
	t.Helper()
	if err := d.server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.server.Wait() // it was killed
}

// Settings are those of the directory as it is by default, by StartTLS.
func (d *Directory) Settings() directory.Settings {
	filter, attributes := directory.Preset("openldap")
	return directory.Settings{
		URLs: []string{"ldap://" + d.Address}, CAFile: d.CAFile, BindDN: Searcher, BindPassword: SearcherPassword, Base: People,
		Filter: filter, Attributes: attributes, Timeout: 5 * time.Second, Connections: 16,
	}
}

// Open is the directory with some of its settings changed.
func (d *Directory) Open(t testing.TB, changes ...func(*directory.Settings)) *directory.Directory {
	t.Helper()
	settings := d.Settings()
	for _, change := range changes {
		change(&settings)
	}
	opened, err := directory.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// DN is that of a person.
func DN(uid string) string { return "uid=" + ldap.EscapeDN(uid) + "," + People }

// Add adds people, with a name and an address each, of one password.
func (d *Directory) Add(t testing.TB, password string, uids ...string) {
	t.Helper()
	d.change(t, func(c *ldap.Conn) error {
		for _, uid := range uids {
			request := ldap.NewAddRequest(DN(uid), nil)
			for name, value := range map[string]string{
				"objectClass": "inetOrgPerson", "uid": uid, "cn": uid, "givenName": "Given " + uid, "sn": "Family",
				"mail": "someone@example.org", "userPassword": password,
			} {
				request.Attribute(name, []string{value})
			}
			if err := c.Add(request); err != nil {
				return err
			}
		}
		return nil
	})
}

// Set sets an attribute of a person, or removes it where there is no value.
func (d *Directory) Set(t testing.TB, uid, attribute string, values ...string) {
	t.Helper()
	d.change(t, func(c *ldap.Conn) error {
		request := ldap.NewModifyRequest(DN(uid), nil)
		request.Replace(attribute, values)
		return c.Modify(request)
	})
}

// ChangePassword changes the password of a person, until pwdChangedTime, which counts in seconds, has another value.
func (d *Directory) ChangePassword(t testing.TB, uid, password string) {
	t.Helper()
	for before := d.PasswordChanged(t, uid); d.PasswordChanged(t, uid) == before; time.Sleep(50 * time.Millisecond) {
		d.Set(t, uid, "userPassword", password)
	}
}

// PasswordChanged is the pwdChangedTime of a person.
func (d *Directory) PasswordChanged(t testing.TB, uid string) (value string) {
	t.Helper()
	d.change(t, func(c *ldap.Conn) error {
		found, err := c.Search(ldap.NewSearchRequest(DN(uid), ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)",
			[]string{"pwdChangedTime"}, nil))
		if err != nil {
			return err
		}
		value = found.Entries[0].GetAttributeValue("pwdChangedTime")
		return nil
	})
	return value
}

// Rename gives a person another name.
func (d *Directory) Rename(t testing.TB, uid, to string) {
	t.Helper()
	d.change(t, func(c *ldap.Conn) error { return c.ModifyDN(ldap.NewModifyDNRequest(DN(uid), "uid="+to, true, "")) })
}

// Remove removes people.
func (d *Directory) Remove(t testing.TB, uids ...string) {
	t.Helper()
	d.change(t, func(c *ldap.Conn) error {
		for _, uid := range uids {
			if err := c.Del(ldap.NewDelRequest(DN(uid), nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Refer adds an entry that refers to another directory.
func (d *Directory) Refer(t testing.TB, to string) {
	t.Helper()
	d.change(t, func(c *ldap.Conn) error {
		request := ldap.NewAddRequest("ou=elsewhere,"+People, []ldap.Control{ldap.NewControlManageDsaIT(true)})
		request.Attribute("objectClass", []string{"referral", "extensibleObject"})
		request.Attribute("ref", []string{to})
		return c.Add(request)
	})
}

// change does something as the admin.
func (d *Directory) change(t testing.TB, do func(*ldap.Conn) error) {
	t.Helper()
	c, err := ldap.DialURL("ldaps://"+d.TLSAddress, ldap.DialWithTLSConfig(&tls.Config{InsecureSkipVerify: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }() // what was asked has been answered
	if err := c.Bind(admin, adminPassword); err != nil {
		t.Fatal(err)
	}
	if err := do(c); err != nil {
		t.Fatal(err)
	}
}
