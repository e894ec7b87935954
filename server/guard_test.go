package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/testserver"
)

const nobody = "00000000-0000-4000-8000-000000000000"

// What the contract says of who may call is decided before the body is looked at.
func TestOrderOfRefusals(t *testing.T) {
	s := sqlite(t)
	own, token := s.Register("richard")
	other, _ := s.Register("other")
	for name, test := range map[string]struct {
		id, token, contentType string
		status                 int
	}{
		"no token, bad body":           {own, "", "application/json", 401},
		"no token, no such account":    {nobody, "", "application/json", 401},
		"no such account, bad body":    {nobody, token, "application/json", 404},
		"no id at all, bad body":       {"17", token, "application/json", 404},
		"another's account, bad body":  {other, token, "application/json", 403},
		"another's account, bad media": {other, token, "text/plain", 403},
		"own account, bad media":       {own, token, "text/plain", 415},
		"own account, bad body":        {own, token, "application/json", 400},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"PUT", "PATCH"} {
				got := s.Do(testserver.Request{
					Method: method, Path: "/api/v1/users/" + test.id + "/", Token: test.token, Body: "{",
					Header: map[string]string{"Content-Type": test.contentType},
				})
				want(t, got, test.status, "")
			}
		})
	}
}

func TestIDs(t *testing.T) {
	s := sqlite(t)
	own, token := s.Register("richard")
	other, _ := s.Register("other")
	for id, status := range map[string]int{
		own:                                   200,
		strings.ToUpper(own):                  200,
		other:                                 200, // any signed-in user may read any profile
		nobody:                                404,
		strings.ReplaceAll(own, "-", ""):      404,
		"{" + own + "}":                       404,
		"urn:uuid:" + own:                     404,
		own + "0":                             404,
		"17":                                  404,
		"%00":                                 404,
		strings.Repeat("x", 5000):             404,
		strings.Replace(own, "-", "%2D", 1):   200,
		"../users/" + own:                     404,
		strings.Replace(own, own[:1], "g", 1): 404,
	} {
		got := s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/" + id + "/", Token: token})
		if got.Status != status {
			t.Errorf("%.80s: got %d, want %d", id, got.Status, status)
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	s := sqlite(t)
	_, token := s.Register("richard")
	const (
		none    = "Authentication credentials were not provided."
		invalid = "Invalid token."
	)
	for header, detail := range map[string]string{
		"Token " + token:                  "",
		"token " + token:                  "",
		"TOKEN\t" + token:                 "",
		"Token  " + token:                 "",
		"Bearer " + token:                 "",
		"bEARER " + token:                 "",
		"":                                none,
		"Basic dTpw":                      none,
		"Tokens " + token:                 none,
		"Token\xa0" + token:               none,
		token:                             none,
		"Token":                           "Invalid token header. No credentials provided.",
		"Bearer":                          "Invalid token header. No credentials provided.",
		"Token a b":                       "Invalid token header. Token string should not contain spaces.",
		"Token " + token + ", Token x":    "Invalid token header. Token string should not contain spaces.",
		"Token a\xe4":                     "Invalid token header. Token string should not contain invalid characters.",
		"Token ä":                         invalid,
		"Token " + strings.ToUpper(token): invalid,
		"Token " + token[:39]:             invalid,
		"Token " + token + "0":            invalid,
		"Token ' OR 1=1--":                "Invalid token header. Token string should not contain spaces.",
	} {
		got := s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Header: map[string]string{"Authorization": header}})
		if detail == "" {
			want(t, got, 200, "")
			continue
		}
		want(t, got, 401, `{"detail":"`+detail+`"}`)
		if challenge := got.Header.Values("WWW-Authenticate"); len(challenge) != 1 || challenge[0] != "Token" {
			t.Errorf("%q: WWW-Authenticate is %q", header, challenge)
		}
	}
}

// Two headers count as one, joined by a comma, as WSGI servers join them.
func TestTwoAuthorizationHeaders(t *testing.T) {
	s := sqlite(t)
	_, token := s.Register("richard")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/v1/users/me/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Authorization"] = []string{"Token " + token, "Token " + token}
	resp, err := testserver.Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d, %v; want 401", resp.StatusCode, err)
	}
}

func TestOpenOperationsIgnoreTheToken(t *testing.T) {
	s := sqlite(t)
	s.Register("richard")
	stale := strings.Repeat("0", 40)
	login := `{"username":"richard","password":"Correct-Horse-9"}`
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Token: stale, Body: login}), 200, "")
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Token: stale, Body: `{}`}), 400, "")
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/healthz", Token: stale}), 200, `{"status":"ok"}`)
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/readyz", Token: stale}), 200, `{"status":"ok"}`)
}
