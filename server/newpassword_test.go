package server_test

import (
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// listOf opens a list of breached passwords.
func listOf(t *testing.T, plain string) *password.Breached {
	t.Helper()
	path := filepath.Join(t.TempDir(), "breached.txt")
	line := fmt.Sprintf("%X:3\r\n", sha1.Sum([]byte(plain)))
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	breached, err := password.OpenBreached(path)
	if err != nil {
		t.Fatal(err)
	}
	return breached
}

// newPasswords are requests that set a password: registration, change, and by a one-time code.
func newPasswords(t *testing.T, s *testserver.Server) map[string]func(plain string) testserver.Request {
	t.Helper()
	id, token := s.Register("richard")
	other, _ := s.Register("gilfoyle")
	code := invite(t, s, other, time.Now().Add(time.Hour))
	return map[string]func(string) testserver.Request{
		"password": func(plain string) testserver.Request {
			return testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: map[string]string{"username": "monica", "password": plain}}
		},
		"new_password": func(plain string) testserver.Request {
			return testserver.Request{Method: "POST", Path: "/api/v1/users/" + id + "/password/", Token: token, Body: map[string]string{
				"current_password": testserver.Password, "new_password": plain,
			}}
		},
		"new_password by code": func(plain string) testserver.Request {
			return testserver.Request{Method: "POST", Path: "/api/v1/users/password/", Body: map[string]string{
				"username": "gilfoyle", "code": code, "new_password": plain,
			}}
		},
	}
}

// Every operation that sets a password refuses those that are blank, common, breached or made of the site's words.
func TestNewPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	const breached = "battery-staple-77"
	testdb.Each(t, func(t *testing.T, address string) {
		list := listOf(t, breached)
		t.Cleanup(func() { _ = list.Close() })
		s := testserver.Start(t, address, func(c *server.Config) {
			c.Policy = password.Policy{Words: []string{"Springfield"}, Breached: list}
		})
		for path, request := range newPasswords(t, s) {
			field, _, _ := strings.Cut(path, " ")
			for plain, message := range map[string]string{
				"        ": "This field may not be blank.", " \t\u2003\u00a0\x1c\x1f\u0085\u3000": "This field may not be blank.",
				"password1234": "This password is too common.", "P@ssw0rd": "This password is too common.",
				"Password123": "This password is too common.", "happiness": "This password is too common.",
				breached: "This password is too common.", "springfield-99": "This password is too common.",
				strings.Repeat("é", 129): "Ensure this field has no more than 128 characters.",
			} {
				want(t, s.Do(request(plain)), 400, fmt.Sprintf(`{%q:[%q]}`, field, message))
			}
			if a := s.Do(request("battery-staple-78")); a.Status >= 300 {
				t.Errorf("%s: %d %s", path, a.Status, a.Text)
			}
		}
	})
}

// A new password that cannot be looked up gets 503 and is not accepted; logins do not need the list.
func TestUnreadableBreachedListIs503(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		list := listOf(t, "x")
		s := testserver.Start(t, address, func(c *server.Config) { c.Policy.Breached = list })
		requests := newPasswords(t, s)
		if err := list.Close(); err != nil {
			t.Fatal(err)
		}
		for path, request := range requests {
			if a := s.Do(request("battery-staple-78")); a.Status != 503 || a.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", path, a.Status, a.Text)
			}
		}
		for _, wrong := range []testserver.Request{ // the list is read for those who may set a password alone
			{Path: "/api/v1/users/password/", Body: map[string]string{"username": "gilfoyle", "code": "x", "new_password": "battery-staple-78"}},
			{Path: requests["new_password"]("").Path, Token: requests["new_password"]("").Token, Body: map[string]string{
				"current_password": "x", "new_password": "battery-staple-78",
			}},
		} {
			wrong.Method = "POST"
			want(t, s.Do(wrong), 400, "")
		}
		logIn(t, s, testserver.Password, "")
		if log := s.Log.String(); strings.Count(log, password.ErrBreachedList.Error()) != len(requests) {
			t.Errorf("the log does not tell the cause: %s", log)
		}
	})
}

// An account that has a password of white space alone can log in with it, and change it.
func TestBlankPasswordsStillWork(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		s := testserver.Start(t, address)
		const blank = "        "
		encoded, err := password.New(testserver.CheapHashing).Encode(t.Context(), blank)
		if err != nil {
			t.Fatal(err)
		}
		user := repository.User{Profile: repository.Profile{ID: uuid.New(), Username: "richard"}, Password: encoded, IsActive: true}
		if err := s.DB.Users().Create(t.Context(), user); err != nil {
			t.Fatal(err)
		}
		token := logIn(t, s, blank, "")
		want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": "richard", "password": blank + " "}}), 400, "")
		want(t, s.Do(testserver.Request{
			Method: "POST", Path: "/api/v1/users/" + user.ID.String() + "/password/", Token: token,
			Body: map[string]string{"current_password": blank, "new_password": "battery-staple-78"},
		}), 204, "")
		logIn(t, s, "battery-staple-78", "")
	})
}
