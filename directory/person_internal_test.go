package directory

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func TestPersonIsUTF8(t *testing.T) {
	t.Parallel()
	_, attributes := Preset("openldap")
	entry := ldap.NewEntry("cn=x", map[string][]string{"entryUUID": {"7"}, "uid": {"anna"}, "sn": {"B\xe9rg"}, "GIVENNAME": {"Anna", "Second"}})
	got, err := (&Directory{settings: Settings{Attributes: attributes}}).person(entry)
	if want := (Person{ID: "7", Username: "anna", FirstName: "Anna", LastName: "B\uFFFDrg"}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPasswordStampIsBoundedText(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []string
		want   string
	}{
		"a GeneralizedTime":     {[]string{"20261127051700.123456Z"}, "20261127051700.123456Z"},
		"Active Directory":      {[]string{"133772482345678901"}, "133772482345678901"},
		"to be changed at once": {[]string{"0"}, "0"},
		"as long as can be":     {[]string{strings.Repeat("7", maxStamp)}, strings.Repeat("7", maxStamp)},
		"too long":              {[]string{strings.Repeat("7", maxStamp+1)}, ""},
		"several":               {[]string{"1", "2"}, ""},
		"none":                  {nil, ""},
		"empty":                 {[]string{""}, ""},
		"NUL, for PostgreSQL":   {[]string{"1\x00"}, ""},
		"no UTF-8":              {[]string{"\xff"}, ""},
		"more than ASCII":       {[]string{"١"}, ""},
		"a line feed":           {[]string{"1\n"}, ""},
	} {
		entry := ldap.NewEntry("cn=x", map[string][]string{"PWDCHANGEDTIME": test.values})
		if got := passwordStamp(entry, "pwdChangedTime"); got != test.want {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// The GUID of Active Directory is as MS-DTYP, section 2.3.4.2, lays it out.
func TestID(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		attribute string
		value     string
		want      string // "" is ErrUnusable
	}{
		"Active Directory":           {"objectGUID", "\x2a\x02\x9f\x8e\x41\x46\x53\x4e\x8b\x9c\x01\x02\x03\x04\x05\x06", "8e9f022a-4641-4e53-8b9c-010203040506"},
		"too short":                  {"objectGUID", "\x2a", ""},
		"OpenLDAP":                   {"entryUUID", "8E9F022A-4641-4e53-8b9c-010203040506", "8e9f022a-4641-4e53-8b9c-010203040506"},
		"text of another attribute":  {"employeeNumber", "Ä7", "Ä7"},
		"text in two cases":          {"employeeNumber", "aB3", "aB3"},
		"bytes of another attribute": {"jpegPhoto", "\xff\xd8", ""},
		"too long":                   {"employeeNumber", strings.Repeat("x", maxID+1), ""},
		"none":                       {"employeeNumber", "", ""},
	} {
		entry := ldap.NewEntry("cn=x", map[string][]string{strings.ToUpper(test.attribute): {test.value}})
		got, err := id(entry, test.attribute)
		if got != test.want || (test.want == "") != errors.Is(err, ErrUnusable) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}
