package server_test

import (
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/testserver"
)

// Each verdict is that of Django's EmailValidator.
func TestEmails(t *testing.T) {
	s := sqlite(t)
	id, token := s.Register("richard")
	const (
		bad     = "Enter a valid email address."
		tooLong = "Ensure this field has no more than 254 characters."
	)
	label := strings.Repeat("x", 63)
	long := strings.Repeat("y", 60) + "."
	for email, messages := range map[string][]string{
		"": nil, "a@b.org": nil, "a+b@x.org": nil, "o'neil@x.org": nil, "a@localhost": nil, "a@[127.0.0.1]": nil, "a@[::1]": nil,
		"a@ä.org": nil, "a@x.äö": nil, "a@xn--4ca.org": nil, "a@x.12": nil, "a@x.-org": nil, "a@x.c-m": nil, "a@x。org": nil,
		`"\"a"@x.org`: nil, `"a\ b"@x.org`: nil, "a@ß.org": nil, "a@a\u0300.org": nil, "A@B.ORG": nil, `"x\y"@x.org`: nil,
		"a@" + label + ".org": nil, "a@x." + label: nil, `""@x.org`: nil,
		"a": {bad}, "@": {bad}, "a@": {bad}, "@x.org": {bad}, "a@b": {bad}, "a@b.c": {bad}, "a@[1.2.3]": {bad}, "a@[::1%eth0]": {bad},
		`"a b"@x.org`: {bad}, "a@x..org": {bad}, "a@-x.org": {bad}, "a@x-.org": {bad}, ".a@x.org": {bad}, "a..b@x.org": {bad},
		"ä@x.org": {bad}, "a@x.org.": {bad}, "a@x_y.org": {bad}, "a@x.o": {bad}, "a@b@x.org": {bad}, "(a)@x.org": {bad}, "a@.org": {bad},
		"a@x.org-": {bad}, "a@LOCALHOST": {bad}, "a@。org": {bad}, "a@[IPv6:::1]": {bad}, "a@1.1.1.1": {bad}, "a b@x.org": {bad},
		"a@" + label + "x.org": {bad}, "a@x." + label + "x": {bad}, `"a\"@x.org`: {bad}, `"a"b@x.org`: {bad}, "a@x.org\nb": {bad},
		strings.Repeat("x", 60) + "@" + strings.Repeat(long, 4) + "org": {tooLong},
		strings.Repeat("x", 255): {tooLong},
	} {
		got := s.Do(testserver.Request{
			Method: "PATCH", Path: "/api/v1/users/" + id + "/", Token: token, Body: map[string]string{"email": email},
		})
		if messages == nil {
			if got.Status != 200 || got.JSON["email"] != email {
				t.Errorf("%s: got %d %s", email, got.Status, got.Text)
			}
			continue
		}
		want(t, got, 400, `{"email":["`+strings.Join(messages, `","`)+`"]}`)
	}
}

func TestUsernames(t *testing.T) {
	s := sqlite(t)
	for username, stored := range map[string]string{
		"a": "a", "A@b.c+d-e_f": "A@b.c+d-e_f", "äö": "äö", "名前": "名前", "١٢": "١٢", "Ａb": "Ab", "Ⅷ": "VIII", "a\u0301": "á",
		" trimmed\n": "trimmed", strings.Repeat("é", 150): strings.Repeat("é", 150),
		"a b": "", "a/b": "", "a\u0302\u0325": "", "कि": "", "😀": "", "½": "", "a!": "", "a:b": "", "a`": "", "a{": "", "a[": "",
	} {
		got := s.Do(testserver.Request{
			Method: "POST", Path: "/api/v1/users/", Body: map[string]string{"username": username, "password": testserver.Password},
		})
		if stored == "" {
			want(t, got, 400, `{"username":["`+badName+`"]}`)
		} else if got.Status != 201 || got.JSON["username"] != stored {
			t.Errorf("%q: got %d %s", username, got.Status, got.Text)
		}
	}
}
