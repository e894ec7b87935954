// Package sdk_test lets clients that were generated from the contract talk to a running server.
package sdk_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/gen/client"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// The clients in TypeScript do what the one in Go does below; `make sdk` generates and compiles them.
func TestTypeScriptRoundTrips(t *testing.T) {
	t.Parallel()
	node := need.Program(t, "node")
	s := testserver.Start(t, testdb.SQLite(t))
	for _, name := range []string{"openapi-fetch", "hey-api"} {
		t.Run(name, func(t *testing.T) {
			script := "build/roundtrip/" + name + ".js"
			need.File(t, script, "run `make sdk`")
			cmd := exec.CommandContext(t.Context(), node, script)
			cmd.Env = append(os.Environ(), "BASE_URL="+s.URL)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "ok\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestGoRoundTrip(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t))
	newClient := func(token string) *client.ClientWithResponses {
		c, err := client.NewClientWithResponses(s.URL, client.WithHTTPClient(testserver.Client(t)),
			client.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
				req.Header.Set("Authorization", "Token "+token)
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	open := newClient("")
	registered, err := open.RegisterUserWithResponse(t.Context(), client.UserRegistration{
		Username: "oapi-codegen", Password: testserver.Password, FirstName: new("Ann"),
	})
	if err != nil || registered.JSON201 == nil {
		t.Fatalf("register: %v, %v", registered, err)
	}
	id, c := registered.JSON201.Id, newClient(registered.JSON201.AuthToken)

	profile, err := c.GetUserWithResponse(t.Context(), id)
	if err != nil || profile.JSON200 == nil || profile.JSON200.FirstName != "Ann" || profile.JSON200.Id != id {
		t.Errorf("read: %v, %v", profile, err)
	}
	updated, err := c.PatchUserWithResponse(t.Context(), id, client.UserUpdate{LastName: new("Lee")})
	if err != nil || updated.JSON200 == nil || updated.JSON200.LastName != "Lee" {
		t.Errorf("update: %v, %v", updated, err)
	}
	refused, err := c.UpdateUserWithResponse(t.Context(), id, client.UserUpdate{Email: new("nope")})
	if err != nil || refused.JSON400 == nil || refused.JSON400.Email == nil ||
		!slices.Equal(*refused.JSON400.Email, client.Messages{"Enter a valid email address."}) {
		t.Errorf("a bad update: %v, %v", refused, err)
	}
	login, err := open.LogInWithResponse(t.Context(), client.Credentials{Username: "oapi-codegen", Password: testserver.Password})
	if err != nil || login.JSON200 == nil {
		t.Fatalf("log in: %v, %v", login, err)
	}
	second := newClient(login.JSON200.Token)
	if out, err := second.LogOutWithResponse(t.Context()); err != nil || out.StatusCode() != http.StatusNoContent {
		t.Errorf("log out: %v, %v", out, err)
	}
	dead, err := second.GetCurrentUserWithResponse(t.Context())
	if err != nil || dead.JSON401 == nil || dead.JSON401.Detail != "Invalid token." {
		t.Errorf("with a dead token: %v, %v", dead, err)
	}
}
