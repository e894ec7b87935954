package server_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// logIn logs richard in, as a client of some name, and returns the token.
func logIn(t *testing.T, s *testserver.Server, plain, client string) string {
	t.Helper()
	a := s.Do(testserver.Request{
		Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": "richard", "password": plain},
		Header: map[string]string{"User-Agent": client},
	})
	token, _ := a.JSON["token"].(string)
	if token == "" {
		t.Fatalf("log in: %d %s", a.Status, a.Text)
	}
	return token
}

// wantSignedIn fails the test where a token is not good, or not refused, as it should be.
func wantSignedIn(t *testing.T, s *testserver.Server, tokens map[string]bool) {
	t.Helper()
	for token, good := range tokens {
		status := 401
		if good {
			status = 200
		}
		want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token}), status, "")
	}
}

func TestListAndRevokeTokens(t *testing.T) {
	each(t, func(t *testing.T, s *testserver.Server) {
		id, first := s.Register("richard")
		other, third := s.Register("other")
		second := logIn(t, s, testserver.Password, "curl/8 \xff")
		own := "/api/v1/users/" + id + "/tokens/"

		list := s.Do(testserver.Request{Method: "GET", Path: own, Token: second})
		var signIns []gen.SignIn
		if err := json.Unmarshal([]byte(list.Text), &signIns); err != nil || list.Status != 200 || len(signIns) != 2 {
			t.Fatalf("got %d %s", list.Status, list.Text)
		}
		if strings.Contains(list.Text, first) || strings.Contains(list.Text, second) {
			t.Error("the list holds a key")
		}
		latest, earlier := signIns[0], signIns[1]
		if !latest.Current || latest.Client != "curl/8 \uFFFD" || earlier.Current || earlier.Client != "Go-http-client/1.1" {
			t.Errorf("got %s", list.Text)
		}
		if age := time.Since(latest.CreatedAt); age < 0 || age > time.Minute || latest.LastUsedAt.Before(latest.CreatedAt) {
			t.Errorf("got %s", list.Text)
		}

		for _, method := range []string{"GET", "DELETE"} { // what is another's is out of reach
			want(t, s.Do(testserver.Request{Method: method, Path: own, Token: third}), 403, "")
		}
		revoke := testserver.Request{Method: "DELETE", Path: own + earlier.Id.String() + "/", Token: third}
		want(t, s.Do(revoke), 403, "")
		revoke.Path = "/api/v1/users/" + other + "/tokens/" + earlier.Id.String() + "/"
		want(t, s.Do(revoke), 404, "")
		wantSignedIn(t, s, map[string]bool{first: true, second: true, third: true})

		revoke = testserver.Request{Method: "DELETE", Path: own + earlier.Id.String() + "/", Token: second}
		want(t, s.Do(revoke), 204, "")
		want(t, s.Do(revoke), 404, "")
		wantSignedIn(t, s, map[string]bool{first: false, second: true})
		first = logIn(t, s, testserver.Password, "")
		want(t, s.Do(testserver.Request{Method: "DELETE", Path: own, Token: second}), 204, "")
		wantSignedIn(t, s, map[string]bool{first: false, second: false, third: true})
		want(t, s.Do(testserver.Request{Method: "GET", Path: own, Token: second}), 401, "")
	})
}

func TestChangePassword(t *testing.T) {
	s := sqlite(t)
	id, _ := s.Register("richard")
	_, other := s.Register("other")
	path := "/api/v1/users/" + id + "/password/"
	current := testserver.Password
	for i, contentType := range []string{"application/json", form, multi} {
		before, token := logIn(t, s, current, ""), logIn(t, s, current, "")
		next := " staple-battery-" + strings.Repeat("9", i+1) + " "
		body := map[string]string{
			"application/json": `{"current_password":"` + current + `","new_password":"` + next + `"}`,
			form:               "current_password=" + strings.ReplaceAll(current, " ", "+") + "&new_password=" + strings.ReplaceAll(next, " ", "+"),
			multi:              part("current_password", current, "") + part("new_password", next, "") + "--B--",
		}[contentType]
		r := testserver.Request{Method: "POST", Path: path, Token: token, Body: body, Header: map[string]string{"Content-Type": contentType}}
		want(t, s.Do(r), 204, "")
		wantSignedIn(t, s, map[string]bool{before: false, token: true, other: true})
		want(t, s.Do(r), 400, `{"current_password":["Your old password was entered incorrectly. Please enter it again."]}`)
		old := map[string]string{"username": "richard", "password": current}
		want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: old}), 400, "")
		logIn(t, s, next, "")
		current = next
	}
	token := logIn(t, s, current, "")
	for body, answer := range map[string]string{
		`{}`: `{"current_password":["This field is required."],"new_password":["This field is required."]}`,
		`{"current_password":"","new_password":"12345678"}`: `{"current_password":["This field may not be blank."],` +
			`"new_password":["This password is too common.","This password is entirely numeric."]}`,
		`{"current_password":"x","new_password":"hendriks1"}`: `{"new_password":["The password is too similar to the last name."]}`,
	} {
		want(t, s.Do(testserver.Request{Method: "POST", Path: path, Token: token, Body: body}), 400, answer)
	}
	for _, contentType := range []string{form, multi} {
		body := map[string]string{form: "new_password=x", multi: part("new_password", "x", "") + "--B--"}[contentType]
		r := testserver.Request{Method: "POST", Path: path, Token: token, Body: body, Header: map[string]string{"Content-Type": contentType}}
		want(t, s.Do(r), 400, `{"current_password":["This field is required."],"new_password":["This password is too short. It must contain at least 8 characters.","This password is too common."]}`)
	}
	want(t, s.Do(testserver.Request{Method: "POST", Path: path, Token: other, Body: `{}`}), 403, "")
	want(t, s.Do(testserver.Request{Method: "POST", Path: path, Token: token, Body: `{"current_password":"x","new_password":"long-enough-9"}`}), 400, "")
	wantSignedIn(t, s, map[string]bool{token: true})
}

// The policy's verdict comes in the same answer as that of the contract, and knows the fields beside the password.
func TestPolicyAtRegistration(t *testing.T) {
	s := sqlite(t)
	for body, answer := range map[string]string{
		`{"username":"a b","password":"1234567"}`:                                        `{"password":["This password is too short. It must contain at least 8 characters.","This password is too common.","This password is entirely numeric."],"username":["` + badName + `"]}`,
		`{"username":"gilfoyle","password":"GILFOYLE9"}`:                                 `{"password":["The password is too similar to the username."]}`,
		`{"username":"u","password":"elyoflig","first_name":"Gilfoyle"}`:                 `{"password":["The password is too similar to the first name."]}`,
		`{"username":"u","password":"pied.piper.com","email":"x@piedpiper.com"}`:         `{"password":["The password is too similar to the email address."]}`,
		`{"username":"u","password":"` + strings.Repeat("x9", 65) + `"}`:                 `{"password":["Ensure this field has no more than 128 characters."]}`,
		`{"username":"u","password":"password\u0000"}`:                                   `{"password":["` + noNUL + `"]}`,
		`{"username":["u"],"password":"` + strings.Repeat("1", 129) + `","email":false}`: `{"email":["Enter a valid email address."],"password":["Ensure this field has no more than 128 characters."],"username":["` + noString + `"]}`,
	} {
		want(t, s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: body}), 400, answer)
	}
	strict := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.Policy.MinLength = 16 })
	want(t, strict.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: `{"username":"u","password":"Correct-Horse-9"}`}), 400,
		`{"password":["This password is too short. It must contain at least 16 characters."]}`)
}

// A password that Django encoded, or that was encoded at another cost, is encoded anew when its owner logs in.
func TestEncodingIsRenewedAtLogin(t *testing.T) {
	s := sqlite(t)
	const encoded = "pbkdf2_sha256$1000$salt$NVOXqUWzM+MOzlpOVJEabKxmsd32dlIKaT3ugG4EHxY=" // of testserver.Password, as Django has it
	user := repository.User{Profile: repository.Profile{ID: uuid.New(), Username: "richard"}, Password: encoded, IsActive: true}
	token, _ := repository.NewToken(user.ID, "")
	if err := s.DB.Users().CreateSignedIn(t.Context(), user, token); err != nil {
		t.Fatal(err)
	}
	wrong := map[string]string{"username": "richard", "password": "wrong-horse"}
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: wrong}), 400, "")
	if got, err := s.DB.Users().ByID(t.Context(), user.ID); err != nil || got.Password != user.Password {
		t.Errorf("a wrong password changed the encoding: %s, %v", got.Password, err)
	}
	logIn(t, s, testserver.Password, "")
	renewed, err := s.DB.Users().ByID(t.Context(), user.ID)
	if err != nil || password.New(testserver.CheapHashing).Outdated(renewed.Password) {
		t.Errorf("the encoding is %s, %v", renewed.Password, err)
	}
	logIn(t, s, testserver.Password, "")
	if again, err := s.DB.Users().ByID(t.Context(), user.ID); err != nil || again.Password != renewed.Password {
		t.Errorf("it was renewed twice: %v", err)
	}
}
