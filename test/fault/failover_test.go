package fault_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
)

// execute runs statements at a database.
func execute(t *testing.T, address string, statements ...string) {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// hostOf is the host and port of an address.
func hostOf(address string) string {
	_, host, _ := strings.Cut(address, "@")
	host, _, _ = strings.Cut(host, "/")
	return host
}

// When the primary is gone and its standby is promoted, an instance that was given both goes on at the new one, without a restart,
// and with synchronous replication nothing that was acknowledged is lost.
func TestLongFailover(t *testing.T) {
	begin(t)
	primary := testdb.NewCluster(t)
	standby := primary.Standby(t)
	execute(t, primary.Address, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	both := strings.Replace(primary.Address, hostOf(primary.Address), hostOf(primary.Address)+","+hostOf(standby.Address), 1) + "&target_session_attrs=read-write"
	p := start(t, both)
	c := newClient(p.URL)
	const accounts = 20
	var kept, ended []string
	for n := range accounts {
		a := c.do(t.Context(), "POST", users, "", credentials(fmt.Sprint("u", n)))
		if a.status != 201 {
			t.Fatalf("register: %s", a)
		}
		token := a.text("auth_token")
		if n%2 == 0 {
			kept = append(kept, token)
			continue
		}
		if a := c.do(t.Context(), "POST", logout, token, ""); a.status != 204 {
			t.Fatalf("log out: %s", a)
		}
		ended = append(ended, token)
	}
	s := watch(t, p)
	primary.Kill(t, "QUIT")
	within(t, time.Second, "readyz is red", func() bool { return ready(t, p) == 503 })
	time.Sleep(500 * time.Millisecond)
	if answers, _, strange := s.take(); len(strange) > 0 {
		t.Errorf("before the standby is promoted: %v, %v", answers, strange)
	}
	execute(t, standby.Address, "SELECT pg_promote()", "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
	took := within(t, recovery, "readyz is green", func() bool { return ready(t, p) == 200 })
	s.usual(t, "at the new primary")
	for _, token := range kept {
		if a := c.do(t.Context(), "GET", me, token, ""); a.status != 200 {
			t.Errorf("an account that was acknowledged: %s", a)
		}
	}
	for _, token := range ended {
		if a := c.do(t.Context(), "GET", me, token, ""); a.status != 401 {
			t.Errorf("a token that was logged out: %s", a)
		}
	}
	if a := c.do(t.Context(), "POST", users, "", credentials("after")); a.status != 201 {
		t.Errorf("register: %s", a)
	}
	figure(t, "failover to a synchronous standby: as before %s after its promotion, all %d acknowledged accounts and logouts there", took.Round(10*time.Millisecond), accounts)
}
