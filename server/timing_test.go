//go:build !race

// The race detector slows some of what is timed here down more than the rest.

package server_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// A refused login tells nothing about the account: one status, one body, and no time that a test of rank sums can tell
// from another. Without the fixed time of refusal the same test must tell them apart.
func TestLongRefusedLoginsAreAlike(t *testing.T) {
	need.Long(t)
	for name, test := range map[string]struct {
		refuseAfter time.Duration
		rounds      int
		alike       bool
	}{"as shipped": {100 * time.Millisecond, usualRounds, true}, "without the fixed time": {0, 4 * usualRounds, false}} {
		t.Run(name, func(t *testing.T) {
			s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.RefuseAfter = test.refuseAfter })
			for _, kinds := range []map[string]map[string]string{createAccounts(t, s), veryLong} {
				apart := toldApart(timeRefusals(t, s, kinds, test.rounds))
				if test.alike && len(apart) > 0 {
					t.Errorf("told apart: %q", apart)
				}
				if !test.alike && !strings.Contains(strings.Join(apart, "\n"), "old encoding") {
					t.Errorf("the test cannot tell an old encoding from others: %q", apart)
				}
			}
		})
	}
}

// Nor does it tell who is in a directory.
func TestLongRefusedByTheDirectoryAreAlike(t *testing.T) {
	need.Long(t)
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.RefuseAfter, c.Directory = 100*time.Millisecond, d.Open(t) })
	kinds := createAccounts(t, s)
	kinds["a wrong password in the directory"] = map[string]string{"username": "anna", "password": "wrong"}
	if apart := toldApart(timeRefusals(t, s, kinds, usualRounds)); len(apart) > 0 {
		t.Errorf("told apart: %q", apart)
	}
}

// toldApart are the pairs of kinds that can be told from each other by the time they took.
func toldApart(times map[string][]time.Duration) (apart []string) {
	for a, timesA := range times {
		for b, timesB := range times {
			if z := rankSum(timesA, timesB); a < b && math.Abs(z) > 5 { // once in 1.7 million by chance
				apart = append(apart, fmt.Sprintf("%s and %s, z = %.1f", a, b, z))
			}
		}
	}
	return apart
}

// createAccounts makes an account of each kind and returns credentials that are refused, by what is wrong with them.
func createAccounts(t *testing.T, s *testserver.Server) map[string]map[string]string {
	t.Helper()
	encoded, err := password.New(testserver.CheapHashing).Encode(t.Context(), testserver.Password)
	if err != nil {
		t.Fatal(err)
	}
	for name, user := range map[string]repository.User{
		"today":    {Password: encoded, IsActive: true},
		"inactive": {Password: encoded},
		"none":     {IsActive: true},
		"old":      {Password: "pbkdf2_sha256$20000$salt$fjBOEZCJo0jWJIv1ZqtOJ/1VCYBJQYdG3VDO9VNt6gM=", IsActive: true},
	} {
		user.ID, user.Username = uuid.New(), name
		token, _ := repository.NewToken(user.ID, "")
		if err := s.DB.Users().CreateSignedIn(t.Context(), user, token); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]map[string]string{
		"an unknown name":     {"username": "nobody", "password": testserver.Password},
		"a wrong password":    {"username": "today", "password": "wrong"},
		"an inactive account": {"username": "inactive", "password": testserver.Password},
		"no password":         {"username": "none", "password": testserver.Password},
		"an old encoding":     {"username": "old", "password": testserver.Password},
	}
}

// veryLong are credentials whose password is. They take longer to read than others, which tells nothing but what was sent.
var veryLong = map[string]map[string]string{
	"a very long one, and an unknown name": {"username": "nobody", "password": strings.Repeat("x", 4096)},
	"a very long one for an old encoding":  {"username": "old", "password": strings.Repeat("x", 4096)},
}

// usualRounds is how often each of the credentials is tried. The z of rank sums is 6 at most then.
const usualRounds = 25

// timeRefusals logs in with each of the credentials in turn, so many times, and returns how long each took.
func timeRefusals(t *testing.T, s *testserver.Server, credentials map[string]map[string]string, rounds int) map[string][]time.Duration {
	t.Helper()
	var kinds []string
	bodies := map[string][]byte{}
	for kind, c := range credentials {
		kinds = append(kinds, kind)
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		bodies[kind] = text
	}
	times := map[string][]time.Duration{}
	for range rounds {
		rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, kind := range kinds {
			began := time.Now()
			a := s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth/", Body: bodies[kind]})
			times[kind] = append(times[kind], time.Since(began))
			want(t, a, 400, `{"non_field_errors":["Unable to log in with provided credentials."]}`)
		}
	}
	return times
}

// rankSum is the z of the Wilcoxon rank-sum test: about normal, with mean 0 and deviation 1, where two samples are of one
// distribution.
func rankSum(a, b []time.Duration) float64 {
	type ranked struct {
		time time.Duration
		ofA  bool
	}
	var all []ranked
	for _, d := range a {
		all = append(all, ranked{d, true})
	}
	for _, d := range b {
		all = append(all, ranked{d, false})
	}
	slices.SortFunc(all, func(x, y ranked) int { return cmp.Compare(x.time, y.time) })
	sum := 0.0
	for i, r := range all {
		if r.ofA {
			sum += float64(i + 1)
		}
	}
	n, m := float64(len(a)), float64(len(b))
	mean, deviation := n*(n+m+1)/2, math.Sqrt(n*m*(n+m+1)/12)
	return (sum - mean) / deviation
}
