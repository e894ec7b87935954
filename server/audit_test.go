package server_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// Each event has one line with the account, the address and the request's id, in JSON as well as in text.
func TestAudit(t *testing.T) {
	t.Parallel()
	log := &testserver.Log{}
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) {
		c.Log = slog.New(slog.NewJSONHandler(log, nil))
		queues, err := c.DB.Limits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.Throttle, c.Limits = server.Throttle{Successes: 3}, queues
	})
	id, token := s.Register("richard")
	own := "/api/v1/users/" + id + "/"
	login := func(username, plain string) testserver.Request {
		return testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": username, "password": plain}}
	}
	const typed = "not-a-name-but-a-password"
	want(t, s.Do(login("richard", "wrong-"+typed)), 400, "")
	want(t, s.Do(login(typed, "x")), 400, "")
	third := logIn(t, s, testserver.Password, "")
	want(t, s.Do(testserver.Request{Method: "DELETE", Path: own + "tokens/", Token: third}), 204, "")
	second := logIn(t, s, testserver.Password, "")
	change := map[string]string{"current_password": "wrong", "new_password": "staple-battery-9"}
	want(t, s.Do(testserver.Request{Method: "POST", Path: own + "password/", Token: second, Body: change}), 400, "")
	change["current_password"] = testserver.Password
	want(t, s.Do(testserver.Request{Method: "POST", Path: own + "password/", Token: second, Body: change}), 204, "")
	want(t, s.Do(login("richard", "staple-battery-9")), 429, "")
	want(t, s.Do(testserver.Request{Method: "GET", Path: own, Token: token}), 401, "")
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-logout/", Token: second}), 204, "")

	var got []string
	for line := range bytes.Lines([]byte(log.String())) {
		var entry struct{ Msg, Event, Account, Address, ID string }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if entry.Msg != "audit" {
			continue
		}
		account := entry.Account
		if account == id {
			account = "richard"
		}
		got = append(got, entry.Event+" "+account)
		if entry.Address != "127.0.0.1" || len(entry.ID) < 20 || !strings.Contains(log.String(), `"msg":"request","id":"`+entry.ID+`"`) {
			t.Errorf("it does not say who asked: %s", line)
		}
	}
	expected := "registered richard, refused richard, refused unknown, signed in richard, all tokens revoked richard, signed in richard, refused richard, password changed richard, " +
		"throttled richard, token revoked richard"
	if strings.Join(got, ", ") != expected {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), expected)
	}
	s.Secrets.Check(t, log.String())
	if strings.Contains(log.String(), typed) { // as a username
		t.Errorf("the log holds %s", typed)
	}
}
