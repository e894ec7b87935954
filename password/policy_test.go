package password_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/password"
)

var richard = []password.Attribute{
	{Name: "username", Value: "richard.hendriks"}, {Name: "first name", Value: "Richard"},
	{Name: "last name", Value: "Hendriks"}, {Name: "email address", Value: "rich@piedpiper.com"},
}

// The verdicts are those of Django 3.2 with its default validators.
func TestPolicy(t *testing.T) {
	t.Parallel()
	const (
		username = "The password is too similar to the username."
		email    = "The password is too similar to the email address."
		short    = "This password is too short. It must contain at least 8 characters."
		common   = "This password is too common."
		numeric  = "This password is entirely numeric."
	)
	for plain, want := range map[string][]string{
		"richard.hendriks": {username}, "drahcirx": {username}, "hendriksx9": {username}, "hendrik_": {username},
		"skirdneh": {username}, "r.hendriks": {username}, "riched": {username, short},
		"piedpiper": {email}, "PiedPiper.com": {email}, "rich@piedpiper.com": {email}, "pied-piper": {email}, "ipedpier": {email},
		"moc": {email, short}, "chirzz": {email, short}, "rich1": {email, short},
		"short": {short, common}, "": {short}, "ééééééé": {short},
		"12345678": {common, numeric}, "password": {common}, "Password1": {common}, "PASSWORD": {common}, "  password  ": {common},
		"qwertyuiop": {common}, "iloveyou": {common}, "trustno1": {common}, "1234567": {short, common, numeric},
		"٣٤٥٦٧٨٩٠": {numeric}, "98765432109876543": {numeric},
		"correct-horse": nil, "Correct-Horse-9": nil, "comcomcom": nil, "xrichardxyzuvw": nil, "richardrichardrichard": nil,
		"Größe-Horse": nil, "éééééééé": nil, "zzrichzz": nil,
	} {
		if got := policyErrors(t, password.Policy{}, plain, richard); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", plain, got, want)
		}
	}
}

func TestPolicyMayAskForMore(t *testing.T) {
	t.Parallel()
	got := policyErrors(t, password.Policy{MinLength: 15}, "Correct-Horse-", richard)
	if len(got) != 1 || !strings.Contains(got[0], "at least 15 characters") {
		t.Errorf("got %q", got)
	}
	if got := policyErrors(t, password.Policy{MinLength: 1}, "Correkt", nil); len(got) != 1 {
		t.Errorf("a policy asks for less than 8 characters: %q", got)
	}
}

// policyErrors returns everything that is wrong with a password.
func policyErrors(t *testing.T, p password.Policy, plain string, attributes []password.Attribute) []string {
	t.Helper()
	if messages := p.Check(plain, attributes); len(messages) > 0 {
		return messages
	}
	messages, err := p.CheckBreached(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}
