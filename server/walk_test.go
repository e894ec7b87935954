package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// each runs a test against a server on every kind of database.
func each(t *testing.T, f func(t *testing.T, s *testserver.Server)) {
	t.Helper()
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) { f(t, testserver.Start(t, address)) })
}

// sqlite starts a server for a test to which the database does not matter.
func sqlite(t *testing.T) *testserver.Server {
	t.Helper()
	t.Parallel()
	return testserver.Start(t, testdb.SQLite(t))
}

// want fails the test where an answer is not of this status and, where one is given, this body.
func want(t *testing.T, got testserver.Answer, status int, body string) {
	t.Helper()
	if got.Status != status || body != "" && got.Text != body+"\n" {
		t.Errorf("got %d %swant %d %s", got.Status, got.Text, status, body)
	}
}

func TestTheDocumentedWalk(t *testing.T) {
	each(t, func(t *testing.T, s *testserver.Server) {
		registered := s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: `{"username":"richard",
			"password":"Correct-Horse-9","first_name":"Richard","last_name":"Hendriks","email":"richard@PiedPiper.com"}`})
		id, _ := registered.JSON["id"].(string)
		token, _ := registered.JSON["auth_token"].(string)
		profile := func(first, last, email string) string {
			return `{"id":"` + id + `","username":"richard","first_name":"` + first + `","last_name":"` + last + `","email":"` + email + `"}`
		}
		original := profile("Richard", "Hendriks", "richard@piedpiper.com")
		want(t, registered, http.StatusCreated, original[:len(original)-1]+`,"auth_token":"`+token+`"}`)
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
			t.Errorf("the id %s is no random UUID", id)
		}

		own := "/api/v1/users/" + id + "/"
		want(t, s.Do(testserver.Request{Method: "GET", Path: own, Token: token}), 200, original)
		want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: token}), 200, original)
		put := s.Do(testserver.Request{Method: "PUT", Path: own, Token: token, Body: `{"first_name":"Dick"}`})
		want(t, put, 200, profile("Dick", "Hendriks", "richard@piedpiper.com"))
		patch := s.Do(testserver.Request{Method: "PATCH", Path: own, Token: token, Body: `{"last_name":"H","email":""}`})
		want(t, patch, 200, profile("Dick", "H", ""))

		login := s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: `{"username":"richard","password":"Correct-Horse-9"}`})
		second, _ := login.JSON["token"].(string)
		want(t, login, 200, `{"token":"`+second+`"}`)
		if second == token {
			t.Error("the login gave the token of the registration again")
		}

		logout := testserver.Request{Method: "POST", Path: "/api-token-logout/", Token: second}
		want(t, s.Do(logout), 204, "")
		want(t, s.Do(logout), 401, `{"detail":"Invalid token."}`)
		want(t, s.Do(testserver.Request{Method: "GET", Path: own, Token: second}), 401, `{"detail":"Invalid token."}`)
		want(t, s.Do(testserver.Request{Method: "GET", Path: own, Token: token}), 200, profile("Dick", "H", ""))
	})
}

func TestOneUsernameIsRegisteredOnce(t *testing.T) {
	each(t, func(t *testing.T, s *testserver.Server) {
		const callers = 100
		statuses := make(chan int, callers)
		for range callers {
			go func() {
				a := s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: `{"username":"richard","password":"Correct-Horse-9"}`})
				if a.Status == 400 && a.Text != `{"username":["A user with that username already exists."]}`+"\n" {
					t.Errorf("got %s", a.Text)
				}
				statuses <- a.Status
			}()
		}
		count := map[int]int{}
		for range callers {
			count[<-statuses]++
		}
		if count[201] != 1 || count[400] != callers-1 {
			t.Errorf("got %v, want one 201 and the rest 400", count)
		}
	})
}

func TestLoginAnswersAlike(t *testing.T) {
	s := sqlite(t)
	s.Register("richard")
	const refused = `{"non_field_errors":["Unable to log in with provided credentials."]}`
	for name, test := range map[string]struct {
		username, password string
		status             int
	}{
		"right":                {"richard", testserver.Password, 200},
		"spaces round a name":  {"  richard ", testserver.Password, 200},
		"another Unicode form": {"ｒichard", testserver.Password, 200},
		"another case":         {"Richard", testserver.Password, 400},
		"unknown":              {"nobody", testserver.Password, 400},
		"wrong":                {"richard", "nope", 400},
		"spaces round it":      {"richard", " " + testserver.Password, 400},
		"one letter more":      {"richard", testserver.Password + "x", 400},
	} {
		t.Run(name, func(t *testing.T) {
			body := map[string]string{"username": test.username, "password": test.password}
			got := s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: body})
			if got.Status != test.status || test.status == 400 && got.Text != refused+"\n" {
				t.Errorf("got %d %s", got.Status, got.Text)
			}
		})
	}
}

// An account that is not active, or has no password, is refused as if the password were wrong.
func TestAccountsThatCannotLogIn(t *testing.T) {
	s := sqlite(t)
	encoded, err := password.New(testserver.CheapHashing).Encode(t.Context(), testserver.Password)
	if err != nil {
		t.Fatal(err)
	}
	for name, user := range map[string]repository.User{
		"active":      {Password: encoded, IsActive: true},
		"inactive":    {Password: encoded},
		"no password": {IsActive: true},
		"unreadable":  {Password: "sha1$salt$hash", IsActive: true},
	} {
		user.ID, user.Username = uuid.New(), strings.ReplaceAll(name, " ", "")
		token, key := repository.NewToken(user.ID, "test")
		if err := s.DB.Users().CreateSignedIn(t.Context(), user, token); err != nil {
			t.Fatal(err)
		}
		status, read := 400, 200
		if name == "active" {
			status = 200
		}
		if name == "inactive" {
			read = 401
		}
		body := map[string]string{"username": user.Username, "password": testserver.Password}
		want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: body}), status, "")
		want(t, s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/", Token: key}), read, "")
	}
}

func TestPasswordsAreTakenAsTheyAre(t *testing.T) {
	s := sqlite(t)
	const plain = "  both ends  "
	body := map[string]string{"username": "richard", "password": plain}
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api/v1/users/", Body: body}), 201, "")
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: body}), 200, "")
	body["password"] = "both ends"
	want(t, s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: body}), 400, "")
}
