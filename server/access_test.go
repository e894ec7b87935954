package server_test

import (
	"testing"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

func TestClosedRegistration(t *testing.T) {
	t.Parallel()
	const sentence = "Accounts come from the school office."
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.Closed = sentence })
	for _, body := range []string{`{"username":"richard","password":"Correct-Horse-9"}`, `{}`, `{`} { // before the body is looked at
		want(t, s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: body}), 403, `{"detail":"`+sentence+`"}`)
	}
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: `{}`}), 400, "")
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/"}), 405, "")
}

func TestOwnProfilesOnly(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.OwnProfilesOnly = true })
	id, token := s.Register("richard")
	other, _ := s.Register("other")
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/" + id + "/", Token: token}), 200, "")
	for _, another := range []string{other, nobody} { // alike
		want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/" + another + "/", Token: token}), 404, `{"detail":"Not found."}`)
	}
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	const ours, theirs = "https://school.example", "https://evil.example"
	with := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.Origins = []string{ours} })
	without := testserver.Start(t, testdb.SQLite(t))
	for origin, s := range map[string]*testserver.Server{ours: with, theirs: with, "https://other.example": without} {
		allowed := ""
		if origin == ours {
			allowed = ours
		}
		preflight := s.Do(testserver.Request{Method: "OPTIONS", Path: "/api/v1/users/me/", Header: map[string]string{
			"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization",
		}})
		want(t, preflight, 204, "")
		get := s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Header: map[string]string{"Origin": origin}})
		want(t, get, 401, "")
		for what, a := range map[string]testserver.Answer{"preflight": preflight, "GET": get} {
			if got := a.Header.Get("Access-Control-Allow-Origin"); got != allowed {
				t.Errorf("%s from %s: Access-Control-Allow-Origin is %q, want %q", what, origin, got, allowed)
			}
			if a.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %s: cookies are allowed", what, origin)
			}
		}
	}
}
