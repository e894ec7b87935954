// Package django_test moves in from a real Django REST Framework, and compares with it.
package django_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/django"
	"github.com/rollbook/rollbook/parity"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

const plain = "Correct-Horse-9"

// hashers are those of Django whose encodings are verified, with how what they make begins.
var hashers = map[string]string{
	"pbkdf2_sha256": "pbkdf2_sha256$", "pbkdf2_sha1": "pbkdf2_sha1$", "argon2": "argon2$argon2", "bcrypt_sha256": "bcrypt_sha256$$2b$", "bcrypt": "bcrypt$$2b$",
}

// school is the users of a service that is moved in from.
func school() []person {
	people := []person{
		{"username": "inactive", "password": plain, "hasher": "argon2", "is_active": false, "token": true},
		{"username": "unusable", "password": "!x", "token": true},
		{"username": "md5", "password": plain, "hasher": "unsalted_md5", "token": true},
		{"username": "\ufb01ona", "first_name": "ligature", "token": true}, {"username": "fio\uff4ea", "first_name": "wide", "token": true},
		{"username": "", "token": true}, {"username": "two words", "password": plain, "hasher": "bcrypt", "token": true},
		{"username": "odd", "first_name": " x\n", "last_name": strings.Repeat("é", 150), "email": "A@B.Org", "token": true},
		{"username": "no-token", "password": plain, "hasher": "pbkdf2_sha1"},
	}
	for name := range hashers {
		people = append(people, person{
			"username": "u-" + name, "password": plain, "hasher": name, "first_name": "Richard", "last_name": name, "email": "r@x.org", "token": true,
		})
	}
	return people
}

// house is a service, and the server that it moves into.
type house struct {
	*testing.T
	service *service
	from    string
	server  *testserver.Server
	ids     map[string]string // here, of Django's where they are no UUIDs
	report  []string
}

// moveIn runs an import and returns its counts.
func (h *house) moveIn(changes ...func(*django.Options)) django.Counts {
	h.Helper()
	h.report, h.ids = nil, map[string]string{}
	o := django.Options{
		DB: h.server.DB, From: h.from, MostGone: 0.1,
		Report: func(r django.Row) error {
			h.report = append(h.report, fmt.Sprintf("%s %q %s: %s", r.Table, r.Username, r.Result, r.Reason))
			return nil
		},
		Mapping: func(key string, id uuid.UUID, _ string) error {
			h.ids[key] = id.String()
			return nil
		},
	}
	for _, change := range changes {
		change(&o)
	}
	counts, err := django.Import(h.Context(), o)
	if err != nil {
		h.Fatal(err)
	}
	return counts
}

// id is the id here of an account with that id there.
func (h *house) id(there string) string {
	if here, ok := h.ids[there]; ok {
		return here
	}
	return there
}

// servers are both. The answers of the new one are held against the contract.
func (h *house) servers() parity.Servers {
	client := testserver.Client(h)
	client.Transport = judged{h.server.URL, client.Transport}
	return parity.Servers{Old: h.service.URL, New: h.server.URL, Client: client}
}

// judged sends requests to a server by a transport that judges the answers, and others as they are.
type judged struct {
	base  string
	judge http.RoundTripper
}

func (j judged) RoundTrip(r *http.Request) (*http.Response, error) {
	if "http://"+r.URL.Host == j.base {
		return j.judge.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// wantProfile fails the test where the two servers answer a token otherwise, but for a row, which must be the reason then; -1
// is none, and 0 a difference without a row.
func (h *house) wantProfile(there made, row int) {
	h.Helper()
	difference, err := h.servers().Profile(h.Context(), there.ID, h.id(there.ID), there.Token)
	if err != nil {
		h.Fatal(err)
	}
	if (difference == nil) != (row < 0) || difference != nil && difference.Row != row {
		h.Errorf("got %+v, want row %d", difference, row)
	}
}

func (h *house) wantReport(want ...string) {
	h.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(h.report, func(r string) bool { return strings.Contains(r, w) }) {
			h.Errorf("the report has no %q", w)
		}
	}
	if len(h.report) != len(want) {
		h.Errorf("the report has %d rows, want %d:\n%s", len(h.report), len(want), strings.Join(h.report, "\n"))
	}
}

// eachHouse runs a test on services over SQLite and PostgreSQL, with UUIDs and integers, moving into either.
func eachHouse(t *testing.T, f func(h *house)) {
	t.Parallel()
	for name, test := range map[string]struct {
		from, to func(testing.TB) string
		integers bool
	}{
		"UUIDs from SQLite to PostgreSQL":    {djangoSQLite, testdb.Postgres, false},
		"integers from PostgreSQL to SQLite": {testdb.EmptyPostgres, testdb.SQLite, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := test.from(t)
			f(&house{T: t, service: newService(t, from, test.integers), from: from, server: testserver.Start(t, test.to(t))})
		})
	}
}

func djangoSQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "django ?.db") }

func TestMoveIn(t *testing.T) {
	eachHouse(t, func(h *house) {
		people := h.service.fill(school()...)
		h.service.serve()
		counts := h.moveIn()
		h.wantReport(`"md5" without password: the password's encoding`, `"" left out: the username is blank`,
			`"fiona" left out: its username is that of the account`, `"fiona" renamed`, `authtoken_token "" left out: its user was left out`, `authtoken_token "" left out: its user was left out`)
		if got := fmt.Sprint(counts[userTable(counts)]); got != "map[added:12 left out:2 removed:0 without password:1]" {
			h.Errorf("users: %s", got)
		}
		if got := fmt.Sprint(counts["authtoken_token"]); got != "map[added:10 left out:2 removed:0]" {
			h.Errorf("tokens: %s", got)
		}
		for name, there := range people {
			switch {
			case there.Token == "" || name == "" || h.isLeftOut(there):
			case name == "inactive":
				h.wantProfile(there, 14)
			case strings.Contains(name, "\ufb01") || strings.Contains(name, "\uff4e"):
				h.wantProfile(there, 0) // its name is in NFKC here
			default:
				h.wantProfile(there, -1)
			}
		}
		for name := range hashers {
			h.wantRehashed("u-" + name)
		}
		h.wantRehashed("two words")
		for _, name := range []string{"md5", "inactive", "unusable", "nobody"} {
			login := testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": name, "password": plain}}
			if a := h.server.Do(login); a.Status != http.StatusBadRequest {
				h.Errorf("%s logs in: %d %s", name, a.Status, a.Text)
			}
		}
	})
}

// userTable is the table of the counts that is not that of the tokens.
func userTable(counts django.Counts) string {
	for table := range counts {
		if table != "authtoken_token" {
			return table
		}
	}
	return ""
}

// isLeftOut tells whether an account is not here. Which of two names that are one is left out is not said.
func (h *house) isLeftOut(there made) bool {
	id, err := uuid.Parse(h.id(there.ID))
	if err != nil {
		return true
	}
	_, err = h.server.DB.Users().ByID(h.Context(), id)
	return err != nil
}

// wantRehashed logs an account in with the password that it had, and fails the test where its encoding is not renewed.
func (h *house) wantRehashed(username string) {
	h.Helper()
	before, err := h.server.DB.Users().ByUsername(h.Context(), username)
	if err != nil {
		h.Fatal(err)
	}
	if began := hashers[strings.TrimPrefix(username, "u-")]; !strings.HasPrefix(before.Password, began) {
		h.Errorf("%s has the password %s", username, before.Password)
	}
	if before.CreatedAt.IsZero() {
		h.Errorf("%s has no date", username)
	}
	request := parity.Step{
		Method: "POST", Path: "/api-token-auth/", Headers: map[string]string{"Content-Type": "application/json"},
		Body: new(`{"username":"` + username + `","password":"` + plain + `"}`),
	}
	x, _, err := h.servers().Ask(h.Context(), request)
	if err != nil || x.Old.Status != http.StatusOK || x.New.Status != http.StatusOK {
		h.Errorf("%s logs in: %+v, %v", username, x, err)
	}
	after, err := h.server.DB.Users().ByUsername(h.Context(), username)
	if err != nil || !strings.HasPrefix(after.Password, "$argon2id$") {
		h.Errorf("%s has the password %s, %v", username, after.Password, err)
	}
}
