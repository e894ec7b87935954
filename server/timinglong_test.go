//go:build !race

package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// Whether a name has an account is to show in the time of refusals by no more than apartAtMost, as the area under the ROC curve
// (0.5 is a guess). The same measurement without decoys must find at least apartAtLeast.
const (
	apartAtMost, apartAtLeast = 0.55, 0.7
	// names is how many of each kind are tried, and guesses how many logins each gets at once, as many as the throttle allows.
	names, guesses = 1000, 5
	// scale is by how much costs are divided, so that thousands of trials take seconds: a million iterations of PBKDF2 are ten
	// thousand here and today's argon2id takes a hundredth of the memory. refuseAfter is divided by the same, so that the wait for a
	// slot exceeds it as often.
	scale       = 100
	refuseAfter = 300 * time.Millisecond / scale
)

var todayScaled = password.Params{Memory: password.DefaultParams.Memory / scale, Time: password.DefaultParams.Time, Threads: 1}

// Refusals do not distinguish accounts from unknown names by their time, also of five at once and for any mix of encodings.
func TestLongRefusalsOfFiveAtOnce(t *testing.T) {
	need.Long(t)
	million, usual := django(t, 1_000_000/scale), django(t, 600_000/scale)
	bcrypt := "bcrypt$$2b$06$" + strings.Repeat(".", 53)
	today, err := password.New(password.Options{Params: todayScaled}).Encode(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		encodings []string // one account in turn has each
	}{
		{"a million iterations", []string{million}}, {"600,000 iterations", []string{usual}},
		{"a mix", []string{million, million, usual, today, today, today, bcrypt, bcrypt, bcrypt, bcrypt}},
	} {
		for database, fresh := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
			t.Run(test.name+", "+database, func(t *testing.T) {
				address := fresh(t)
				createMany(t, testdb.Open(t, address), test.encodings)
				apart := measureFive(t, address, names, withDecoys(t))
				t.Logf("area with decoys: %.3f", apart)
				if apart > apartAtMost {
					t.Errorf("accounts can be told from unknown names: %.3f", apart)
				}
				if test.name != "a million iterations" {
					return // without decoys, the area is about as the limit
				}
				apart = measureFive(t, address, names/5)
				t.Logf("area without decoys: %.3f", apart)
				if apart < apartAtLeast {
					t.Errorf("the measurement finds nothing without decoys: %.3f", apart)
				}
			})
		}
	}
}

// createMany stores the accounts local0, local1 and so on.
func createMany(t *testing.T, db *repository.DB, encodings []string) {
	t.Helper()
	var users []repository.User
	for n := range names {
		user := server.NewUser(fmt.Sprint("local", n), "", "", "")
		user.Password = encodings[n%len(encodings)]
		users = append(users, user)
	}
	for some := range slices.Chunk(users, repository.MostAtOnce) {
		if _, err := db.Users().CreateMissing(t.Context(), some, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// measureFive guesses five times at once for each of so many accounts and as many unknown names, and returns the area.
func measureFive(t *testing.T, address string, each int, changes ...func(*server.Config)) float64 {
	t.Helper()
	s := testserver.Start(t, address, append(changes, func(c *server.Config) {
		c.RefuseAfter, c.Hasher = refuseAfter, password.New(password.Options{Params: todayScaled, Slots: 2})
	})...)
	kinds := map[string]bool{}
	for n := range each {
		kinds[fmt.Sprint("local", n*names/each)], kinds[fmt.Sprint("nobody", n)] = true, false
	}
	times := map[bool][]time.Duration{}
	for name, known := range kinds { // in random order
		took := guess(t, func(string) *testserver.Server { return s }, name)
		times[known] = append(times[known], took[name])
	}
	return area(times[true], times[false])
}

// guess sends all guesses for all names at once and returns how long those of each name took together.
func guess(t *testing.T, serverOf func(name string) *testserver.Server, names ...string) map[string]time.Duration {
	t.Helper()
	took := map[string]time.Duration{}
	var mu sync.Mutex
	var all sync.WaitGroup
	start := make(chan struct{})
	var sent []string
	for _, name := range names {
		sent = append(sent, slices.Repeat([]string{name}, guesses)...)
	}
	rand.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	for _, name := range sent {
		body, err := json.Marshal(map[string]string{"username": name, "password": "wrong"})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api-token-auth/", strings.NewReader(string(body)))
			req.Header.Set("Content-Type", "application/json")
			answer := httptest.NewRecorder()
			<-start
			began := time.Now()
			serverOf(name).Handler.ServeHTTP(answer, req)
			mu.Lock()
			defer mu.Unlock()
			took[name] += time.Since(began)
			if answer.Code != http.StatusBadRequest {
				t.Errorf("%s: got %d %s", name, answer.Code, answer.Body)
			}
		})
	}
	close(start)
	all.Wait()
	return took
}

// area is that under the ROC curve of who takes the longer of two times for the one kind, or for the other, if that is more.
func area(a, b []time.Duration) float64 {
	n, m := float64(len(a)), float64(len(b))
	return 0.5 + math.Abs(rankSum(a, b))*math.Sqrt((n+m+1)/(12*n*m))
}

// Nor do they show which names are local where there is a directory, under 85 logins at once.
func TestLongRefusalsBesideADirectory(t *testing.T) {
	need.Long(t)
	d := testldap.Start(t)
	var people []string
	for n := range names {
		people = append(people, fmt.Sprint("person", n))
	}
	d.Add(t, testserver.Password, people...)
	for database, fresh := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		t.Run(database, func(t *testing.T) {
			address := fresh(t)
			createMany(t, testdb.Open(t, address), []string{django(t, 2_000_000/scale)})
			opened := d.Open(t, func(to *directory.Settings) { to.Cleartext, to.Timeout = true, time.Minute })
			hashing := password.Options{Params: todayScaled, Slots: 2, Wait: time.Minute}
			begin := func(hashing password.Options, changes ...func(*server.Config)) *testserver.Server {
				return testserver.Start(t, address, append(changes, func(c *server.Config) {
					c.RefuseAfter, c.Directory, c.Hasher = refuseAfter, opened, password.New(hashing)
				})...)
			}
			s := begin(hashing, withDecoys(t))
			apart := measureCrowd(t, s, s, names)
			t.Logf("area with decoys: %.3f", apart)
			if apart > apartAtMost {
				t.Errorf("local names can be told from others: %.3f", apart)
			}
			// Other names do not wait for the hashes of local ones, as if they had no decoy. With one slot, those wait for longer than
			// the directory takes.
			hashing.Slots = 1
			apart = measureCrowd(t, begin(hashing), begin(password.Options{Params: testserver.CheapHashing.Params, Slots: 100}), names/5)
			t.Logf("area without decoys: %.3f", apart)
			if apart < apartAtLeast {
				t.Errorf("the measurement finds nothing without decoys: %.3f", apart)
			}
		})
	}
}

// measureCrowd sends 85 guesses at once, five for each of 17 names, and returns the area of local names and others, of which half are
// in the directory. Each kind is tried so many times, at a server of its own.
func measureCrowd(t *testing.T, locals, others *testserver.Server, each int) float64 {
	t.Helper()
	serverOf := map[string]*testserver.Server{}
	for n := range each {
		serverOf[fmt.Sprint("local", n)] = locals
		serverOf[fmt.Sprint([]string{"nobody", "person"}[n%2], n)] = others
	}
	all := slices.Collect(maps.Keys(serverOf))
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	times := map[bool][]time.Duration{}
	for crowd := range slices.Chunk(all, 17) {
		for name, took := range guess(t, func(name string) *testserver.Server { return serverOf[name] }, crowd...) {
			isLocal := strings.HasPrefix(name, "local")
			times[isLocal] = append(times[isLocal], took)
		}
	}
	return area(times[true], times[false])
}
