package server_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// Once a revocation is acknowledged, the token is refused by every instance, whatever else goes on.
func TestRevokedMeansRevoked(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		instances := []*testserver.Server{testserver.Start(t, address), testserver.Start(t, address)}
		id, _ := instances[0].Register("richard")
		const rounds, users = 20, 4
		for i := range rounds {
			here, there := instances[i%2], instances[(i+1)%2]
			token := logIn(t, here, testserver.Password, "")
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range users { // the token is in use all the while
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							if a := there.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/" + id + "/", Token: token}); a.Status != 200 && a.Status != 401 {
								t.Errorf("got %d %s", a.Status, a.Text)
							}
						}
					}
				})
			}
			want(t, here.Do(testserver.Request{Method: "POST", Path: "/api-token-logout/", Token: token}), 204, "")
			for _, s := range instances {
				want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token}), 401, `{"detail":"Invalid token."}`)
			}
			close(stop)
			wg.Wait()
		}
	})
}

// A token counts in the Authorization header and nowhere else.
func TestTokenElsewhereIsNoToken(t *testing.T) {
	s := sqlite(t)
	_, token := s.Register("richard")
	for name, r := range map[string]testserver.Request{
		"in the query":       {Path: "/api/v1/users/me/?token=" + token + "&auth_token=" + token + "&Authorization=Token+" + token},
		"in a cookie":        {Path: "/api/v1/users/me/", Header: map[string]string{"Cookie": "token=" + token + "; auth_token=" + token + "; sessionid=" + token}},
		"in other headers":   {Path: "/api/v1/users/me/", Header: map[string]string{"X-Auth-Token": token, "Proxy-Authorization": "Token " + token}},
		"as a user's secret": {Path: "/api/v1/users/me/", Header: map[string]string{"Authorization": "Basic " + token}},
	} {
		r.Method = "GET"
		if a := s.Do(r); a.Status != 401 {
			t.Errorf("%s: got %d", name, a.Status)
		}
	}
}

// Fields that an operation does not list change nothing, by whatever name or body they come.
func TestMassAssignment(t *testing.T) {
	s := sqlite(t)
	id, token := s.Register("richard")
	fields := map[string]string{
		"id": nobody, "username": "root", "Username": "root", "password": "staple-battery-9", "is_active": "false", "IsActive": "false",
		"is_staff": "true", "is_superuser": "true", "auth_token": "x", "created_at": "x", "first_name\x00": "x", "last_name.x": "x", "__proto__": "x",
	}
	form, parts := "", ""
	for name, text := range fields {
		form += "&" + strings.ReplaceAll(name, "\x00", "%00") + "=" + text
		parts += part(name, text, "")
	}
	before := s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token}).Text
	for contentType, body := range map[string]any{
		"application/json": fields, "application/x-www-form-urlencoded": form, multi: parts + "--B--",
	} {
		got := s.Do(testserver.Request{
			Method: "PATCH", Path: "/api/v1/users/" + id + "/", Token: token, Body: body, Header: map[string]string{"Content-Type": contentType},
		})
		if got.Status != 200 || got.Text != before {
			t.Errorf("%s: got %d %s, want %s", contentType, got.Status, got.Text, before)
		}
	}
	logIn(t, s, testserver.Password, "")
}

// What a client puts into its headers comes back in none, and breaks no line of the log.
func TestHeaderInjection(t *testing.T) {
	s := sqlite(t)
	const forged = "x\tlevel=INFO msg=audit event=forged"
	a := s.Do(testserver.Request{Method: "GET", Path: "/nope%0d%0aSet-Cookie:%20x=1", Header: map[string]string{
		"X-Request-Id": forged, "User-Agent": forged, "X-Forwarded-For": forged, "Host": "evil.example", "X-Forwarded-Host": "evil.example",
		"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/readyz",
	}})
	want(t, a, 404, `{"detail":"Not found."}`)
	for name, values := range a.Header {
		if text := strings.Join(values, " "); strings.Contains(text, "forged") || strings.Contains(text, "evil") || name == "Set-Cookie" {
			t.Errorf("%s: %s", name, text)
		}
	}
	if strings.Contains(s.Log.String(), "event=forged") {
		t.Errorf("the log has a line that a client wrote: %s", s.Log)
	}
}
