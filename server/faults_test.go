package server_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

const unavailable = `{"detail":"Service temporarily unavailable, try again later."}`

// A database that is away is 503 for whoever needs it, and nobody's token is called invalid meanwhile.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	line := testdb.NewLine(t, testdb.Postgres(t))
	s := testserver.Start(t, line.Address)
	id, token := s.Register("richard")
	login := `{"username":"richard","password":"Correct-Horse-9"}`
	requests := []testserver.Request{
		{Method: "GET", Path: "/api/v1/users/me/", Token: token},
		{Method: "GET", Path: "/api/v1/users/" + nobody + "/", Token: token},
		{Method: "PATCH", Path: "/api/v1/users/" + id + "/", Token: token, Body: `{"first_name":"x"}`},
		{Method: "PUT", Path: "/api/v1/users/" + id + "/", Token: token, Body: `{"first_name":"y"}`},
		{Method: "POST", Path: "/api-token-auth/", Body: login},
		{Method: "POST", Path: "/api/v1/users/", Body: strings.Replace(login, "richard", "other", 1)},
		{Method: "GET", Path: "/readyz"},
		{Method: "GET", Path: "/api/v1/users/" + id + "/tokens/", Token: token},
		{Method: "POST", Path: "/api/v1/users/" + id + "/password/", Token: token, Body: `{}`},
		{Method: "DELETE", Path: "/api/v1/users/" + id + "/tokens/" + nobody + "/", Token: token},
		{Method: "DELETE", Path: "/api/v1/users/" + id + "/tokens/", Token: token},
		{Method: "POST", Path: "/api-token-logout/", Token: token},
		{Method: "POST", Path: "/api/v1/users/password/", Body: `{"username":"richard","code":"x","new_password":"staple-battery-7"}`},
	}
	line.Cut()
	for _, r := range requests {
		got := s.Do(r)
		want(t, got, 503, unavailable)
		if got.Header.Get("Retry-After") != "1" || got.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s %s: headers %v", r.Method, r.Path, got.Header)
		}
	}
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/healthz"}), 200, `{"status":"ok"}`)
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/nope"}), 404, "")
	line.Mend()
	for i, status := range []int{200, 404, 200, 200, 200, 201, 200, 200, 400, 404, 204, 401, 400} {
		want(t, s.Do(requests[i]), status, "")
	}
}

// Who waits too long for a hash is asked to come back. A login of an unknown name costs a hash as well.
func TestBusyHashing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]testserver.Request{
		"register":             {Method: "POST", Path: "/api/v1/users/", Body: `{"username":"u","password":"Correct-Horse-9"}`},
		"log in, unknown name": {Method: "POST", Path: "/api-token-auth/", Body: `{"username":"u","password":"Correct-Horse-9"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) {
				c.Hasher = password.New(password.Options{
					Params: password.Params{Memory: 64 << 10, Time: 12, Threads: 1}, Slots: 1, Wait: 10 * time.Millisecond,
				})
			})
			const callers = 4
			answers := make(chan testserver.Answer, callers)
			for range callers {
				go func() { answers <- s.Do(r) }()
			}
			busy := 0
			for range callers {
				if a := <-answers; a.Status == 503 {
					busy++
					want(t, a, 503, unavailable)
					if a.Header.Get("Retry-After") != "1" {
						t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
					}
				}
			}
			if busy == 0 || busy == callers {
				t.Errorf("%d of %d were turned away, want some", busy, callers)
			}
		})
	}
}

// A bug is a 500 that tells the client nothing and the log all.
func TestPanic(t *testing.T) {
	t.Parallel()
	log := &testserver.Log{}
	handler, err := server.New(server.Config{DB: &repository.DB{}, Log: slog.New(slog.NewTextHandler(log, nil))}) // it was never opened
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if rec.Code != 500 || rec.Body.String() != `{"detail":"A server error occurred."}`+"\n" {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "nil pointer") ||
		!strings.Contains(log.String(), "repository.go") {
		t.Errorf("the log does not tell where: %s", log)
	}
}
