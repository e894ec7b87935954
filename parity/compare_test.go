package parity_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/parity"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// spoiled is a server whose answers are changed: in what has one text, another is put in its place.
func spoiled(t *testing.T, handler http.Handler, from, to string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		for name, values := range recorder.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(recorder.Code)
		_, _ = io.Copy(w, bytes.NewReader(bytes.ReplaceAll(recorder.Body.Bytes(), []byte(from), []byte(to)))) // a client may hang up
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Two servers that answer alike have no differences, and each change of an answer is found; no token is told.
func TestCompare(t *testing.T) {
	t.Parallel()
	old := testserver.Start(t, testdb.SQLite(t))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for name, test := range map[string]struct{ from, to, found string }{
		"nothing":          {"x", "x", ""},
		"a word":           {"This field is required.", "This field is needed.", "register / missing username, step 1: the body is map[username:[This field is needed.]], DRF's was map[username:[This field is required.]]"},
		"a name of a user": {"Richard", "Rich", "register / seed example, step 1: the body is map[auth_token:{{token}} email:richard@piedpiper.com first_name:Rich "},
		"another id":       {`{"id":"`, `{"id":"0`, "profile / own profile, step 2: the status is 404"},
		"a member":         {`"email":`, `"e_mail":`, "register / seed example, step 1: the body is map[auth_token:{{token}} e_mail:richard@"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh := testserver.Start(t, testdb.SQLite(t))
			servers := parity.Servers{Old: old.URL, New: spoiled(t, fresh.Handler, test.from, test.to), Client: client}
			var said []string
			for _, c := range load(t) {
				d, err := servers.Case(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if d != nil && d.Row == 0 {
					said = append(said, d.Where+": "+strings.Join(d.What, "; "))
				}
			}
			all := strings.Join(said, "\n")
			if test.found == "" && all != "" || !strings.Contains(all, test.found) {
				t.Errorf("got %s, want %s", all, test.found)
			}
		})
	}
}

// What explains a difference explains no other.
func TestExplanations(t *testing.T) {
	t.Parallel()
	body := func(text string) *string { return &text }
	answer := func(status int, body any) parity.Answer { return parity.Answer{Status: status, Body: body} }
	fields := func(name, message string) map[string]any { return map[string]any{name: []any{message}} }
	detail := func(text string) map[string]any { return map[string]any{"detail": text} }
	json := map[string]string{"content-type": "application/json"}
	for name, test := range map[string]struct {
		request  parity.Step
		old, new parity.Answer
		row      int
	}{
		"a method in lower case": {parity.Step{Method: "post", Path: "/api-token-auth/"}, answer(200, nil), answer(405, detail(`Method "post" not allowed.`)), 23},
		"a method":               {parity.Step{Method: "POST", Path: "/api-token-auth/"}, answer(200, nil), answer(405, detail(`Method "POST" not allowed.`)), 0},
		"a weak password":        {parity.Step{Headers: json, Body: body(`{"password":"x"}`)}, answer(201, nil), answer(400, fields("password", "This password is too short. It must contain at least 8 characters.")), 3},
		"a weak password and a wrong name": {parity.Step{Headers: json, Body: body(`{"password":"x"}`)}, answer(201, nil), parity.Answer{Status: 400, Body: map[string]any{
			"password": []any{"This password is too common."}, "username": []any{"Enter a valid username."},
		}}, 0},
		"a number":                {parity.Step{Headers: json, Body: body(`{"first_name":1}`)}, answer(201, nil), answer(400, fields("first_name", "Not a valid string.")), 4},
		"no number":               {parity.Step{Headers: json, Body: body(`{"first_name":"x"}`)}, answer(201, nil), answer(400, fields("first_name", "Not a valid string.")), 0},
		"throttled":               {parity.Step{}, answer(400, nil), parity.Answer{Status: 429, Headers: map[string]string{"Retry-After": "1"}}, 8},
		"the database is away":    {parity.Step{}, answer(200, nil), answer(503, nil), 0},
		"a broken registration":   {parity.Step{Method: "POST", Path: "/api/v1/users/", Headers: map[string]string{"Authorization": "Token x"}}, answer(401, nil), answer(500, nil), 0},
		"a weak first name":       {parity.Step{}, answer(200, nil), answer(400, fields("first_name", "Ensure this field has no more than 128 characters.")), 0},
		"broken":                  {parity.Step{}, answer(200, nil), answer(500, nil), 0},
		"away, both":              {parity.Step{}, answer(502, nil), answer(503, nil), 0},
		"inactive":                {parity.Step{}, answer(401, detail("User inactive or deleted.")), answer(401, detail("Invalid token.")), 14},
		"invalid for no reason":   {parity.Step{}, answer(200, nil), answer(401, detail("Invalid token.")), 0},
		"an id without hyphens":   {parity.Step{Path: "/api/v1/users/6d5f9baea31b4b7b82c43853eda2b011/"}, answer(200, nil), answer(404, nil), 7},
		"an id with hyphens":      {parity.Step{Path: "/api/v1/users/6d5f9bae-a31b-4b7b-82c4-3853eda2b011/"}, answer(200, nil), answer(404, nil), 0},
		"a username in NFKC":      {parity.Step{Method: "POST", Path: "/api-token-auth/", Headers: json, Body: body(`{"username":"\ufb01"}`)}, answer(400, nil), answer(200, nil), 13},
		"a password with a space": {parity.Step{Method: "POST", Path: "/api-token-auth/", Headers: json, Body: body(`{"password":" x"}`)}, answer(400, nil), answer(200, nil), 2},
		"a form, with a space":    {parity.Step{Method: "POST", Path: "/api/v1/users/", Headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, Body: body("password=x+&username=a")}, answer(400, nil), answer(200, nil), 2},
		"a form, without":         {parity.Step{Headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, Body: body("password=x&username=a+")}, answer(400, nil), answer(200, nil), 0},
		"a part, with a space":    {parity.Step{Method: "POST", Path: "/api/v1/users/", Body: body("--B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nx \r\n--B--\r\n")}, answer(400, nil), answer(200, nil), 2},
		"a part, without":         {parity.Step{Body: body("--B\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nx\r\n--B--\r\n")}, answer(400, nil), answer(200, nil), 0},
		"a name with a space":     {parity.Step{Headers: json, Body: body(`{"first_name":" x"}`)}, answer(400, nil), answer(200, nil), 0},
		"Bearer":                  {parity.Step{Headers: map[string]string{"Authorization": "bearer x"}}, answer(401, nil), answer(200, nil), 12},
		"Token":                   {parity.Step{Headers: map[string]string{"Authorization": "Token x"}}, answer(401, nil), answer(200, nil), 0},
		"too long, and more": {parity.Step{}, answer(400, map[string]any{"email": []any{"Ensure this field has no more than 254 characters.", "Enter a valid email address."}}),
			answer(400, fields("email", "Ensure this field has no more than 254 characters.")), 24},
		"too long, and another field": {parity.Step{}, answer(400, map[string]any{"email": []any{"Ensure this field has no more than 254 characters.", "Enter a valid email address."}, "username": []any{"This field is required."}}),
			answer(400, fields("email", "Ensure this field has no more than 254 characters.")), 0},
		"too long for one only": {parity.Step{}, answer(400, fields("email", "Enter a valid email address.")),
			answer(400, fields("email", "Ensure this field has no more than 254 characters.")), 0},
		"taken, beside others": {parity.Step{}, answer(400, map[string]any{"username": []any{"A user with that username already exists."}, "email": []any{"Enter a valid email address."}}),
			answer(400, fields("email", "Enter a valid email address.")), 9},
	} {
		if got := (parity.Exchange{Request: test.request, Old: test.old, New: test.new}).Row(); got != test.row {
			t.Errorf("%s: row %d, want %d", name, got, test.row)
		}
	}
}
