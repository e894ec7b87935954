package server_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
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

// Names that differ in something invisible would look the same. Letters and numbers are all that a name may have, and the few of
// those that are invisible are refused, too.
func TestInvisibleInUsernames(t *testing.T) {
	s := sqlite(t)
	letters := []rune{0x115f, 0x1160, 0x3164, 0xffa0, 0x13441, 0x13442}
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		letter := unicode.IsLetter(r) || unicode.IsNumber(r)
		if letter && unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && !slices.Contains(letters, r) {
			letters = append(letters, r) // of a newer Unicode
		}
	}
	others := []rune{
		0xad, 0x34f, 0x61c, 0x17b4, 0x17b5, 0x180b, 0x180e, 0x200b, 0x200c, 0x200d, 0x200e, 0x202e, 0x2060, 0x2063, 0x2065, 0x206f, 0x2800, 0x3000, 0xfe00, 0xfe0f,
		0xfeff, 0xfff9, 0xfff0, 0x16fe4, 0x1bca0, 0x1d159, 0x1d173, 0xe0001, 0xe0020, 0xe007f, 0xe0100, 0xe0fff,
	}
	register := func(username string) testserver.Answer {
		return s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: map[string]string{"username": username, "password": testserver.Password}})
	}
	for _, r := range slices.Concat(letters, others) {
		for _, username := range []string{"richard" + string(r) + "x", "\u1112" + string(r) + "\u1161"} { // the second is of Hangul itself
			want(t, register(username), 400, `{"username":["`+badName+`"]}`)
		}
		if slices.Contains(letters, r) {
			want(t, register(string(r)), 400, `{"username":["`+badName+`"]}`)
		}
	}
	for i, username := range []string{"한글", "\u1112\u1161\u11ab", "ﾊﾝ", "ᄒ", "𓀀"} {
		if got := register(username); got.Status != 201 {
			t.Errorf("%d %s: %d %s", i, username, got.Status, got.Text)
		}
	}
}

// An account that was taken over with such a name still signs in.
func TestInvisibleUsernameSignsIn(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := testserver.Start(t, address)
		encoded, err := password.New(testserver.CheapHashing).Encode(t.Context(), testserver.Password)
		if err != nil {
			t.Fatal(err)
		}
		user := repository.User{Profile: repository.Profile{ID: uuid.New(), Username: "richard\u1160"}, Password: encoded, IsActive: true}
		if err := s.DB.Users().Create(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		for _, typed := range []string{"richard\u1160", "richard\u3164"} { // NFKC makes them one
			want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": typed, "password": testserver.Password}}), 200, "")
		}
	})
}
