package django_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/django"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// crowd is so many users, with tokens.
func crowd(n int) []person {
	var people []person
	for i := range n {
		people = append(people, person{"username": fmt.Sprintf("u%04d", i), "password": "!", "token": true})
	}
	return people
}

func (h *house) status(method, path, token string, body any) int {
	h.Helper()
	return h.server.Do(testserver.Request{Method: method, Path: path, Token: token, Body: body}).Status
}

// Run again, an import carries over what has changed in Django, and leaves what has changed only here.
func TestMoveInAgain(t *testing.T) {
	eachHouse(t, func(h *house) {
		people := h.service.fill(crowd(40)...)
		h.moveIn()
		at := func(i int) made { return people[fmt.Sprintf("u%04d", i)] }
		here := func(i int) string { return "/api/v1/users/" + h.id(at(i).ID) + "/" }

		// Here one is renamed, one logs out, one is deleted, one is deactivated.
		if got := h.status("PATCH", here(0), at(0).Token, map[string]string{"first_name": "Here"}); got != 200 {
			h.Fatalf("patch: %d", got)
		}
		if got := h.status("POST", "/api-token-logout/", at(1).Token, nil); got != 204 {
			h.Fatalf("log out: %d", got)
		}
		user := func(i int) repository.User {
			user, err := h.server.DB.Users().ByUsername(h.Context(), fmt.Sprintf("u%04d", i))
			if err != nil {
				h.Fatal(err)
			}
			return user
		}
		if err := h.server.DB.Users().Delete(h.Context(), user(2).ID); err != nil {
			h.Fatal(err)
		}
		if err := h.server.DB.Users().SetActive(h.Context(), user(3).ID, false); err != nil {
			h.Fatal(err)
		}
		if err := h.server.DB.Users().SetPassword(h.Context(), user(15).ID, "local", uuid.Nil); err != nil {
			h.Fatal(err)
		}
		// There some are changed, one logs out, one is deleted, one is deactivated and another, and there are new ones.
		change := func(i int, fields map[string]any) map[string]any {
			return map[string]any{"username": fmt.Sprintf("u%04d", i), "fields": fields}
		}
		h.service.change(change(4, map[string]any{"first_name": "There", "email": "t@x.org"}), change(5, map[string]any{"username": "renamed"}),
			change(6, map[string]any{"is_active": false}), map[string]any{"username": "u0007", "drop_token": true},
			map[string]any{"username": "u0003", "new_token": true}, // who is not active here
			map[string]any{"username": "u0008", "delete": true}, change(2, map[string]any{"first_name": "Gone here"}),
			change(9, map[string]any{"username": "u\uff10\uff10\uff11\uff10"}), // is u0010 in NFKC
			map[string]any{"username": "u0012", "delete": true},
			change(14, map[string]any{"username": "x0014"}), change(13, map[string]any{"username": "u0014", "is_active": false}),
			change(15, map[string]any{"email": "t@x.org"}),
			change(17, map[string]any{"username": "x0017"}), change(16, map[string]any{"username": "u0017"}))
		more := h.service.fill(person{"username": "new", "token": true}, person{"username": "u0012", "first_name": "another", "token": true})

		dry := h.moveIn(func(o *django.Options) { o.DryRun = true })
		counts := h.moveIn()
		if dry["authtoken_token"][django.Added] != 3 || h.status("GET", "/api/v1/users/me/", more["new"].Token, nil) != 200 {
			h.Errorf("the dry run counts %v", dry)
		}
		if got := fmt.Sprint(counts[userTable(counts)]); got != "map[added:2 changed:8 left out:2 removed:2 unchanged:28]" {
			h.Errorf("users: %s", got)
		}
		if got := fmt.Sprint(counts["authtoken_token"]); got != "map[added:2 left out:1 removed:6 unchanged:34]" {
			h.Errorf("tokens: %s", got)
		}
		h.wantReport(`"u0002" left out: the account was deleted here`, `"u0010" left out: its username is that of the account`,
			`authtoken_token "" left out: 1 tokens are of accounts that are not active here`)
		if user(12).FirstName != "another" || user(15).Password != "local" || user(15).Email != "t@x.org" || user(14).IsActive || user(14).ID.String() != h.id(at(13).ID) {
			h.Errorf("got %+v, %+v, %+v", user(12), user(14), user(15))
		}
		for i, want := range map[int]int{0: 200, 1: 401, 2: 401, 3: 401, 4: 200, 5: 200, 6: 401, 7: 401, 8: 401, 9: 200, 10: 200, 12: 401, 13: 401, 14: 200} {
			if got := h.status("GET", "/api/v1/users/me/", at(i).Token, nil); got != want {
				h.Errorf("the token of u%04d: %d, want %d", i, got, want)
			}
		}
		if h.status("GET", here(8), at(0).Token, nil) != 404 || user(0).FirstName != "Here" || user(4).FirstName != "There" || user(4).Email != "t@x.org" {
			h.Errorf("got %+v, %+v", user(0), user(4))
		}
		if got := user(17).ID.String(); got != h.id(at(16).ID) {
			h.Errorf("u0017 is %s", got)
		}
		if got := fmt.Sprint(h.moveIn()[userTable(counts)]); got != "map[left out:2 removed:0 unchanged:38]" {
			h.Errorf("and again: %s", got)
		}
		// Active again there, it has its token back here.
		h.service.change(change(6, map[string]any{"is_active": true}))
		h.moveIn()
		if got := h.status("GET", "/api/v1/users/me/", at(6).Token, nil); got != http.StatusOK {
			h.Errorf("the token of who is active again: %d", got)
		}

		// Where the users have joined at other times it is another database, and nothing is taken from it.
		if userTable(counts) == "auth_user" { // whose keys are the same
			stranger := newService(h.T, djangoSQLite(h), true)
			stranger.fill(crowd(40)...)
			_, err := django.Import(h.Context(), django.Options{
				DB: h.server.DB, From: stranger.database, MostGone: 0.1, Report: func(django.Row) error { return nil },
			})
			if err == nil || !strings.Contains(err.Error(), "have joined at another time: is it the right database?") || user(4).FirstName != "There" {
				h.Errorf("another database: %v", err)
			}
		}

		// Where too much is gone it may be the wrong database.
		var gone []map[string]any
		for i := 20; i < 25; i++ {
			gone = append(gone, map[string]any{"username": fmt.Sprintf("u%04d", i), "delete": true})
		}
		h.service.change(gone...)
		_, err := django.Import(h.Context(), django.Options{
			DB: h.server.DB, From: h.from, MostGone: 0.1, Report: func(django.Row) error { return nil },
		})
		if err == nil || !strings.Contains(err.Error(), "5 are gone in Django, and 0 have joined at another time: is it the right database?") {
			h.Errorf("got %v", err)
		}
		if user(20).Username != "u0020" {
			h.Error("it was removed all the same")
		}
		h.moveIn(func(o *django.Options) { o.MostGone = 0.5 })
		if _, err := h.server.DB.Users().ByUsername(h.Context(), "u0020"); err == nil {
			h.Error("what is gone there is still here")
		}
	})
}

// A dry run says what the first one will do, and does nothing.
func TestDryMoveIn(t *testing.T) {
	eachHouse(t, func(h *house) {
		h.service.fill(school()...)
		dry := h.moveIn(func(o *django.Options) { o.DryRun = true })
		h.wantReport(`"md5" without password`, `"" left out: the username is blank`, `"fiona" left out: its username is that of another row`, `"fiona" renamed`,
			`authtoken_token "" left out: its user was left out`, `authtoken_token "" left out: its user was left out`)
		users, err := h.server.DB.Users().After(h.Context(), "", 10)
		if err != nil || len(users) != 0 {
			h.Errorf("it has made %d accounts, %v", len(users), err)
		}
		counts := h.moveIn()
		if table := userTable(counts); fmt.Sprint(dry[table]) != fmt.Sprint(counts[table]) {
			h.Errorf("it has counted %v, and then %v", dry[table], counts[table])
		}
	})
}

func TestImportExplains(t *testing.T) {
	t.Parallel()
	db := testdb.Open(t, testdb.SQLite(t))
	from := djangoSQLite(t)
	newService(t, from, true).fill(crowd(1)...)
	empty := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]django.Options{
		"must begin with postgres://": {From: "mysql://u:hunter2@h/d"},
		"no such file":                {From: "sqlite:" + filepath.Join(t.TempDir(), "none.db")},
		"nobody is no table of users": {From: from, UserTable: "nobody"},
		"failed to connect":           {From: "postgres://u:hunter2@127.0.0.1:1/d"},
		"Say --user-table=NAME: those with the columns id, username and password are none": {From: "sqlite:" + empty},
	} {
		o.DB, o.Report = db, func(django.Row) error { return nil }
		_, err := django.Import(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
