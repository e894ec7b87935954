package server_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/testserver"
)

func TestTrailingSlashMayBeMissing(t *testing.T) {
	s := sqlite(t)
	id, token := s.Register("richard")
	login := `{"username":"richard","password":"Correct-Horse-9"}`
	for _, r := range []testserver.Request{
		{Method: "GET", Path: "/api/v1/users/me", Token: token},
		{Method: "HEAD", Path: "/api/v1/users/me", Token: token},
		{Method: "GET", Path: "/api/v1/%75sers/m%65", Token: token},
		{Method: "GET", Path: "/api/v1/users/" + id, Token: token},
		{Method: "PUT", Path: "/api/v1/users/" + id, Token: token, Body: `{}`},
		{Method: "PATCH", Path: "/api/v1/users/" + id, Token: token, Body: `{}`},
		{Method: "POST", Path: "/api-token-auth", Body: login},
	} {
		want(t, s.Do(r), 200, "")
	}
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users", Body: strings.Replace(login, "richard", "r", 1)}), 201, "")
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-logout", Token: token}), 204, "")
}

func TestUnknownPaths(t *testing.T) {
	s := sqlite(t)
	id, token := s.Register("richard")
	for _, path := range []string{
		"/nope", "/api/", "/api/v1/", "/api/v1/users/" + id + "/x", "/api/v1/users/" + id + "//", "//api/v1/users/",
		"/healthz/", "/API/v1/users/", "/api/v1/users/me/me/", "/metrics", "/debug/pprof/", "/docs/../nope",
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "DELETE"} {
			want(t, s.Do(testserver.Request{Method: method, Path: path, Token: token}), 404, `{"detail":"Not found."}`)
		}
	}
}

func TestMethodsOfAPath(t *testing.T) {
	s := sqlite(t)
	id, token := s.Register("richard")
	all := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "FOO", "PROPFIND", "TRACE"}
	for path, allow := range map[string]string{
		"/api/v1/users/":          "POST, OPTIONS",
		"/api/v1/users/me/":       "GET, HEAD, OPTIONS",
		"/api/v1/users/" + id:     "GET, PUT, PATCH, HEAD, OPTIONS",
		"/api/v1/users/17/":       "GET, PUT, PATCH, HEAD, OPTIONS",
		"/api-token-auth/":        "POST, OPTIONS",
		"/api-token-logout/":      "POST, OPTIONS",
		"/healthz":                "GET, HEAD, OPTIONS",
		"/readyz":                 "GET, HEAD, OPTIONS",
		"/api/v1/users/" + nobody: "GET, PUT, PATCH, HEAD, OPTIONS",
	} {
		options := s.Do(testserver.Request{Method: "OPTIONS", Path: path})
		want(t, options, 204, "")
		if got := options.Header.Get("Allow"); got != allow {
			t.Errorf("OPTIONS %s: Allow is %q, want %q", path, got, allow)
		}
		for _, method := range all {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			for _, key := range []string{"", token} { // it is so for everyone
				got := s.Do(testserver.Request{Method: method, Path: path, Token: key})
				want(t, got, 405, `{"detail":"Method \"`+method+`\" not allowed."}`)
				if got.Header.Get("Allow") != allow {
					t.Errorf("%s %s: Allow is %q, want %q", method, path, got.Header.Get("Allow"), allow)
				}
			}
		}
	}
}

// Methods are told apart by case, so that a proxy's rule for POST holds for all that is served as POST. Only patch is served as
// PATCH, as browsers send it in the case in which a page wrote it.
func TestMethodsAreCaseSensitive(t *testing.T) {
	s := sqlite(t)
	id, token := s.Register("richard")
	want(t, s.Do(testserver.Request{Method: "patch", Path: "/api/v1/users/" + id + "/", Token: token, Body: `{"first_name":""}`}), 200, "")
	want(t, s.Do(testserver.Request{Method: "patch", Path: "/api-token-auth/", Token: token}), 405, `{"detail":"Method \"PATCH\" not allowed."}`)
	for _, method := range []string{"Patch", "pATCH", "PATCh", "post", "Post", "POSt", "get", "Get", "put", "pUT", "delete", "head", "options", "Options", "trace"} {
		for _, path := range []string{
			"/api/v1/users/", "/api/v1/users/me/", "/api/v1/users/" + id + "/", "/api-token-auth/", "/api-token-logout/", "/healthz", "/readyz", "/api/v1/users/" + id,
			"/docs/", "/openapi.yaml", "/",
		} {
			got := s.Do(testserver.Request{Method: method, Path: path, Token: token, Body: map[string]string{"username": "richard", "password": testserver.Password}})
			want(t, got, 405, `{"detail":"Method \"`+method+`\" not allowed."}`)
			if allow := got.Header.Get("Allow"); allow == "" || allow != strings.ToUpper(allow) {
				t.Errorf("%s %s: Allow is %q", method, path, allow)
			}
		}
		want(t, s.Do(testserver.Request{Method: method, Path: "/nope", Token: token}), 404, `{"detail":"Not found."}`)
	}
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token}), 200, "") // nobody was logged out
}

// A method may be as long as a header, and the log holds the beginning of it.
func TestMethodNamesInTheLog(t *testing.T) {
	s := sqlite(t)
	long := strings.Repeat("X", 10<<10)
	for _, path := range []string{"/api-token-auth/", "/docs/", "/nope"} {
		if got := s.Do(testserver.Request{Method: long, Path: path}); got.Status != 405 && got.Status != 404 {
			t.Errorf("%s: %d", path, got.Status)
		}
	}
	if log := s.Log.String(); strings.Contains(log, long[:30]) || strings.Count(log, "method="+long[:20]+"… ") != 3 {
		t.Errorf("the log holds %d bytes: %.500s", len(log), log)
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	s := sqlite(t)
	id, token := s.Register("richard")
	for _, r := range []testserver.Request{
		{Path: "/api/v1/users/" + id + "/", Token: token},
		{Path: "/api/v1/users/" + id + "/"},
		{Path: "/api/v1/users/17/", Token: token},
		{Path: "/api/v1/users/me/", Token: token},
		{Path: "/healthz"}, {Path: "/readyz"}, {Path: "/nope"}, {Path: "/docs/"}, {Path: "/openapi.yaml"},
	} {
		r.Method = "GET"
		get := s.Do(r)
		r.Method = "HEAD"
		head := s.Do(r)
		if head.Status != get.Status || head.Text != "" || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("%s: HEAD is %d %q of %s, GET %d", r.Path, head.Status, head.Text, head.Header.Get("Content-Type"), get.Status)
		}
	}
}

func TestHeaders(t *testing.T) {
	s := sqlite(t)
	_, token := s.Register("richard")
	seen := map[string]bool{}
	for _, r := range []testserver.Request{
		{Method: "GET", Path: "/api/v1/users/me/", Token: token},
		{Method: "GET", Path: "/api/v1/users/me/"},
		{Method: "GET", Path: "/nope"},
		{Method: "POST", Path: "/api-token-auth/", Header: map[string]string{"X-Request-Id": "forged"}},
	} {
		got := s.Do(r).Header
		for name, value := range map[string]string{
			"Content-Type":            "application/json",
			"Cache-Control":           "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
			"Referrer-Policy":         "no-referrer",
			"X-Content-Type-Options":  "nosniff",
			"X-Frame-Options":         "DENY",
		} {
			if got.Get(name) != value {
				t.Errorf("%s %s: %s is %q, want %q", r.Method, r.Path, name, got.Get(name), value)
			}
		}
		id := got.Get("X-Request-Id")
		if seen[id] || id == "forged" || !strings.Contains(s.Log.String(), "id="+id) {
			t.Errorf("the request id %q is no fresh one that was logged", id)
		}
		seen[id] = true
	}
	s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/?auth_token=" + token, Token: token})
	s.Do(testserver.Request{Method: "GET", Path: "/api-token-auth/" + token})
	if strings.Contains(s.Log.String(), token) {
		t.Error("the log holds a token")
	}
}
