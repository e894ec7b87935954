package server_test

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// django returns the encoding that Django makes of testserver.Password with so many iterations of PBKDF2.
func django(t *testing.T, iterations int) string {
	t.Helper()
	key, err := pbkdf2.Key(sha256.New, testserver.Password, []byte("salt"), iterations, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("pbkdf2_sha256$%d$salt$%s", iterations, base64.StdEncoding.EncodeToString(key))
}

// afterSpan calls a function each time that a server has done what a span is named by, before it goes on.
type afterSpan struct {
	name string
	call func()
}

func (a afterSpan) OnEnd(span sdktrace.ReadOnlySpan) {
	if span.Name() == a.name {
		a.call()
	}
}
func (afterSpan) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (afterSpan) Shutdown(context.Context) error                  { return nil }
func (afterSpan) ForceFlush(context.Context) error                { return nil }

// callAfter makes a server call f after each span of this name.
func callAfter(name string, f func()) func(*server.Config) {
	return func(c *server.Config) {
		c.Traces = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(afterSpan{name, f}))
	}
}

// callAfterHash makes a server call f after it has verified or encoded a password.
func callAfterHash(f func()) func(*server.Config) { return callAfter("hash a password", f) }

// changes are what can happen to an account while its password is verified, and what the login and the password change get then.
var changes = map[string]struct {
	change          func(t *testing.T, s *testserver.Server, id uuid.UUID) error
	always          bool // after each verification
	login, changing int
}{
	"renewed":           {renew, false, 200, 204},
	"renewed each time": {renew, true, 503, 503},
	"changed": {func(t *testing.T, s *testserver.Server, id uuid.UUID) error {
		return s.DB.Users().SetPassword(t.Context(), id, encode(t, "another-horse-9"), uuid.Nil)
	}, false, 400, 400},
	"deactivated": {func(t *testing.T, s *testserver.Server, id uuid.UUID) error {
		return s.DB.Users().SetActive(t.Context(), id, false)
	}, false, 400, 204},
	"deleted": {func(t *testing.T, s *testserver.Server, id uuid.UUID) error {
		return s.DB.Users().Delete(t.Context(), id)
	}, false, 400, 400},
}

// renew stores another encoding of the same password, as a login at another instance does.
func renew(t *testing.T, s *testserver.Server, id uuid.UUID) error {
	user, err := s.DB.Users().ByID(t.Context(), id)
	if err != nil {
		return err
	}
	return s.DB.Users().ReplacePassword(t.Context(), id, user.Password, encode(t, testserver.Password))
}

func encode(t *testing.T, plain string) string {
	t.Helper()
	encoded, err := password.New(testserver.CheapHashing).Encode(t.Context(), plain)
	if err != nil {
		t.Error(err)
	}
	return encoded
}

// A password that is right is not refused because its encoding was renewed after it was verified. An account that was changed in
// another way is refused.
func TestAccountChangesAfterVerification(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		for name, test := range changes {
			for _, login := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, login %t", name, login), func(t *testing.T) {
					var s *testserver.Server
					var id uuid.UUID
					armed := false
					s = testserver.Start(t, address, callAfterHash(func() {
						if armed {
							armed = test.always
							if err := test.change(t, s, id); err != nil {
								t.Error(err)
							}
						}
					}))
					username := uuid.NewString()
					text, token := s.Register(username)
					id, armed = uuid.MustParse(text), true
					if login {
						status := map[bool]int{true: 1}[test.login == 400]
						want(t, try(s, "", username, testserver.Password), test.login, "")
						wantEvents(t, s, map[server.Event]int{server.EventRefused: status})
						return
					}
					want(t, s.Do(testserver.Request{
						Method: "POST", Path: "/api/v1/users/" + text + "/password/", Token: token,
						Body: map[string]string{"current_password": testserver.Password, "new_password": "staple-battery-9"},
					}), test.changing, "")
				})
			}
		}
	})
}

// createOld stores an account whose password has an old encoding, and returns a token.
func createOld(t *testing.T, s *testserver.Server, username string) (id uuid.UUID, key string) {
	t.Helper()
	user := server.NewUser(username, "", "", "")
	user.Password = django(t, 20_000)
	token, key := repository.NewToken(user.ID, "")
	if err := s.DB.Users().CreateSignedIn(t.Context(), user, token); err != nil {
		t.Fatal(err)
	}
	return user.ID, key
}

// Of 48 logins, eight at once, none is refused or counted as a failure while they renew the encoding. Nor is a password change.
func TestRenewalRefusesNobody(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		limits := patient
		limits.Failures = 20 // more than are under way, fewer than there are
		s := throttled(t, address, limits)
		const accounts, atOnce = 6, 8
		for n := range accounts {
			username := fmt.Sprintf("old%d", n)
			createOld(t, s, username)
			var logins sync.WaitGroup
			for range atOnce {
				logins.Go(func() { want(t, try(s, "", username, testserver.Password), http.StatusOK, "") })
			}
			logins.Wait()
		}
		wantEvents(t, s, map[server.Event]int{server.EventSignedIn: accounts * atOnce, server.EventRefused: 0})
		for n := range accounts {
			username := fmt.Sprintf("changing%d", n)
			id, token := createOld(t, s, username)
			var all sync.WaitGroup
			for range atOnce / 2 {
				all.Go(func() { try(s, "", username, testserver.Password) }) // after the change it is wrong
			}
			all.Go(func() {
				a := s.Do(testserver.Request{
					Method: "POST", Path: "/api/v1/users/" + id.String() + "/password/", Token: token,
					Body: map[string]string{"current_password": testserver.Password, "new_password": "staple-battery-9"},
				})
				want(t, a, http.StatusNoContent, "")
			})
			all.Wait()
		}
	})
}
