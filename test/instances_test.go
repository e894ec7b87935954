package test

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// eachWay runs a test on each way in which several instances use one PostgreSQL.
func eachWay(t *testing.T, f func(t *testing.T, address string)) {
	t.Helper()
	for name, way := range map[string]func(t *testing.T) string{
		"directly":              func(t *testing.T) string { return testdb.Postgres(t) },
		"through pgbouncer":     func(t *testing.T) string { return testdb.PgBouncer(t, testdb.Postgres(t)) },
		"serializable":          func(t *testing.T) string { return testdb.Postgres(t) + "&default_transaction_isolation=serializable" },
		"migrated by pgbouncer": func(t *testing.T) string { return testdb.PgBouncer(t, testdb.EmptyPostgres(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, way(t))
		})
	}
}

// instances are servers over one database. Throttling is on, with limits that the test does not reach.
func instances(t *testing.T, address string) []*testserver.Server {
	t.Helper()
	db := testdb.Open(t, address)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var servers []*testserver.Server
	for range 2 {
		servers = append(servers, testserver.Start(t, address, func(c *server.Config) {
			queues, err := c.DB.Limits(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.Limits, c.Trusted = queues, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			c.Throttle = server.Throttle{Failures: 5, Backoff: time.Minute, BackoffMax: time.Hour, PerAccount: 1000, PerAddress: 100_000, Registrations: 100_000}
		}))
	}
	return servers
}

// What is done at one instance counts at the other, whichever way they use PostgreSQL, with everybody doing all of it at once.
func TestInstances(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, address string) {
		servers := instances(t, address)
		const people, rounds = 8, 5
		var wg sync.WaitGroup
		for n := range people {
			wg.Go(func() { liveThrough(t, servers, fmt.Sprint("u", n), rounds) })
		}
		wg.Wait()
	})
}

// liveThrough registers an account and uses it at both instances in turn.
func liveThrough(t *testing.T, servers []*testserver.Server, username string, rounds int) {
	want := func(a testserver.Answer, status int) testserver.Answer {
		if a.Status != status {
			t.Errorf("%s: got %d %s, want %d", username, a.Status, a.Text, status)
		}
		return a
	}
	do := func(n int, method, path, token string, body map[string]string) testserver.Answer {
		r := testserver.Request{Method: method, Path: path, Token: token, Header: map[string]string{"X-Forwarded-For": "192.0.2.1"}}
		if body != nil {
			r.Body = body
		}
		return servers[n%len(servers)].Do(r)
	}
	credentials := map[string]string{"username": username, "password": testserver.Password}
	made := want(do(0, "POST", "/api/v1/users/", "", credentials), http.StatusCreated)
	id, _ := made.JSON["id"].(string)
	own := "/api/v1/users/" + id + "/"
	want(do(1, "POST", "/api/v1/users/", "", credentials), http.StatusBadRequest)
	for n := range rounds {
		token, _ := want(do(n, "POST", "/api-token-auth/", "", credentials), http.StatusOK).JSON["token"].(string)
		name := fmt.Sprint("name ", n)
		want(do(n+1, "PATCH", own, token, map[string]string{"first_name": name}), http.StatusOK)
		if got := want(do(n, "GET", own, token, nil), http.StatusOK); got.JSON["first_name"] != name {
			t.Errorf("%s: a stale profile: %s", username, got.Text)
		}
		want(do(n, "POST", "/api-token-auth/", "", map[string]string{"username": username, "password": "wrong"}), http.StatusBadRequest)
		want(do(n, "POST", "/api-token-logout/", token, nil), http.StatusNoContent)
		want(do(n+1, "GET", own, token, nil), http.StatusUnauthorized)
	}
}
