package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

const badCode = `{"non_field_errors":["The code is wrong, was used or has expired. Please ask for a new one."]}`

// invite gives an account a code that is good until a time.
func invite(t *testing.T, s *testserver.Server, id string, until time.Time) string {
	t.Helper()
	code := repository.NewCode()
	if err := s.DB.Codes().Put(t.Context(), repository.CodeFor(uuid.MustParse(id), code, until)); err != nil {
		t.Fatal(err)
	}
	return code
}

// setPassword sets a password from an address.
func setPassword(s *testserver.Server, from, username, code, plain string) testserver.Answer {
	return s.Do(testserver.Request{
		Method: "POST", Path: "/api/v1/users/password/", Header: map[string]string{"X-Forwarded-For": from},
		Body: map[string]string{"username": username, "code": code, "new_password": plain},
	})
}

func TestSetPasswordWithACode(t *testing.T) {
	each(t, func(t *testing.T, s *testserver.Server) {
		id, token := s.Register("richard")
		other, another := s.Register("other")
		code := invite(t, s, id, time.Now().Add(time.Hour))
		otherCode := invite(t, s, other, time.Now().Add(time.Hour))
		const plain = " staple-battery-7 "
		for why, a := range map[string]testserver.Answer{
			"a wrong code":    setPassword(s, "", "richard", repository.NewCode(), plain),
			"no code":         setPassword(s, "", "richard", "-", plain),
			"another's code":  setPassword(s, "", "richard", otherCode, plain),
			"the wrong user":  setPassword(s, "", "other", code, plain),
			"an unknown user": setPassword(s, "", "nobody", code, plain),
		} {
			if a.Status != 400 || strings.TrimSpace(a.Text) != badCode {
				t.Errorf("%s: %d %s", why, a.Status, a.Text)
			}
		}
		wantSignedIn(t, s, map[string]bool{token: true, another: true})
		// A weak password does not use the code up, and what it is held against is not only in the request.
		want(t, setPassword(s, "", "richard", code, "12345678"), 400,
			`{"new_password":["This password is too common.","This password is entirely numeric."]}`)
		want(t, setPassword(s, "", "richard", code, "hendriks-1"), 400, `{"new_password":["The password is too similar to the last name."]}`)
		want(t, setPassword(s, "", " ｒichard ", strings.ToLower(strings.ReplaceAll(code, "-", " ")), plain), 204, "")
		wantSignedIn(t, s, map[string]bool{token: false, another: true})
		want(t, setPassword(s, "", "richard", code, plain), 400, badCode) // twice
		logIn(t, s, plain, "")

		late := invite(t, s, id, time.Now().Add(-time.Second))
		want(t, setPassword(s, "", "richard", late, plain), 400, badCode)
		if err := s.DB.Users().SetActive(t.Context(), uuid.MustParse(id), false); err != nil {
			t.Fatal(err)
		}
		inactive := invite(t, s, id, time.Now().Add(time.Hour))
		want(t, setPassword(s, "", "richard", inactive, plain), 400, badCode)
	})
}

// One-time codes are limited by address, never by account. A weak password is no failure and does not use up the code.
func TestCodesAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		limits := patient
		limits.PerAddress = 20
		s := throttled(t, address, limits)
		id, _ := s.Register("richard")
		code := invite(t, s, id, time.Now().Add(time.Hour))
		guess := func(from, username string) int {
			return setPassword(s, from, username, repository.NewCode(), "staple-battery-7").Status
		}
		count := map[int]int{}
		for n := range 100 {
			count[guess("192.0.2.1", []string{"richard", "nobody"}[n%2])]++
		}
		if count[400] != limits.PerAddress || count[429] != 100-limits.PerAddress {
			t.Errorf("got %v, want %d times 400 and the rest 429", count, limits.PerAddress)
		}
		count = map[int]int{}
		for n := range 100 { // each /56 of a /48 has few, but they are as many as one site has
			count[guess(fmt.Sprintf("2001:db8:0:%x00::1", n), "richard")]++
		}
		if count[400] != 4*limits.PerAddress || count[429] != 100-4*limits.PerAddress {
			t.Errorf("one /48: got %v, want %d times 400 and the rest 429", count, 4*limits.PerAddress)
		}
		want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "") // another limit
		want(t, setPassword(s, "192.0.2.2", "richard", code, "12345678"), 400, "")
		for range limits.PerAddress {
			want(t, setPassword(s, "192.0.2.2", "richard", code, "hendriks-1"), 400, "")
		}
		want(t, setPassword(s, "192.0.2.2", "richard", code, "staple-battery-7"), 204, "")
	})
}

// The time of a refusal does not tell whether there is such an account.
func TestBadCodesAreRefusedAtOneTime(t *testing.T) {
	t.Parallel()
	const refuseAfter = 200 * time.Millisecond
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.RefuseAfter = refuseAfter })
	s.Register("richard")
	for _, username := range []string{"richard", "nobody"} {
		began := time.Now()
		want(t, setPassword(s, "", username, repository.NewCode(), "staple-battery-7"), 400, badCode)
		if took := time.Since(began); took < refuseAfter {
			t.Errorf("%s was refused after %s", username, took)
		}
	}
}
