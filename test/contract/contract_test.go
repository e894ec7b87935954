package contract_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/contract"
)

// A check that cannot fail shows nothing: each answer here but the first of its kind has a fault.
func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		profile = `{"id":"6d5f9bae-a31b-4b7b-82c4-3853eda2b011","username":"r","first_name":"","last_name":"","email":""}`
		detail  = `{"detail":"x"}`
		token   = "WWW-Authenticate: Token"
	)
	for name, test := range map[string]struct {
		request string
		status  int
		header  string
		body    string
		fault   string
	}{
		"as declared":             {"GET /api/v1/users/me/", 200, "", profile, ""},
		"without the slash":       {"GET /api/v1/users/me", 200, "", profile, ""},
		"an undeclared status":    {"GET /api/v1/users/me/", 404, "", detail, "status is not supported"},
		"a member too many":       {"GET /api/v1/users/me/", 200, "", strings.Replace(profile, "{", `{"password":"x",`, 1), "password"},
		"a member too few":        {"GET /api/v1/users/me/", 200, "", `{"id":"6d5f9bae-a31b-4b7b-82c4-3853eda2b011"}`, "username"},
		"another type":            {"GET /api/v1/users/me/", 200, "", strings.Replace(profile, `"r"`, "1", 1), "string"},
		"an id that is none":      {"GET /api/v1/users/me/", 200, "", strings.Replace(profile, "6d5f", "", 1), "uuid"},
		"errors without any":      {"POST /api-token-auth/", 400, "", "{}", "at least 1"},
		"like a documentation":    {"GET /openapi.exe", 200, "", "{}", "in no contract"},
		"no JSON":                 {"GET /api/v1/users/me/", 200, "", "hello", "decode"},
		"401":                     {"GET /api/v1/users/me/", 401, token, detail, ""},
		"401 without a challenge": {"GET /api/v1/users/me/", 401, "", detail, "WWW-Authenticate"},
		"another challenge":       {"GET /api/v1/users/me/", 401, "WWW-Authenticate: Bearer", detail, "enum"},
		"503":                     {"GET /readyz", 503, "Retry-After: 1", detail, ""},
		"503 without a time":      {"GET /readyz", 503, "", detail, "Retry-After"},
		"204":                     {"POST /api-token-logout/", 204, "", "", ""},
		"204 with a body":         {"POST /api-token-logout/", 204, "", "x", "with a body"},
		"no such path":            {"GET /nope", 404, "", detail, ""},
		"no such path, a page":    {"GET /nope", 404, "", "<html>", "should be a detail"},
		"no such path, served":    {"GET /nope", 200, "", "{}", "in no contract"},
		"no such method":          {"DELETE /api/v1/users/x/", 405, "Allow: GET", detail, ""},
		"405 without Allow":       {"DELETE /api/v1/users/x/", 405, "", detail, "no Allow"},
		"405 for 404":             {"PUT /api/v1/users/me/", 404, "", detail, "should be 405"},
		"OPTIONS":                 {"OPTIONS /healthz", 204, "Allow: GET, OPTIONS", "", ""},
		"OPTIONS without Allow":   {"OPTIONS /healthz", 204, "", "", "Allow"},
	} {
		t.Run(name, func(t *testing.T) {
			method, path, _ := strings.Cut(test.request, " ")
			resp := &http.Response{StatusCode: test.status, Header: http.Header{"X-Request-Id": {"x"}}}
			resp.Header.Set("Content-Type", "application/json")
			if key, value, ok := strings.Cut(test.header, ": "); ok {
				resp.Header.Set(key, value)
			}
			err := contract.Check(httptest.NewRequest(method, path, nil), resp, []byte(test.body))
			switch {
			case test.fault == "" && err != nil:
				t.Errorf("found %v", err)
			case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
				t.Errorf("found %v, want %q", err, test.fault)
			}
		})
	}
}
