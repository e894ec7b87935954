package fault_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
)

// execute runs statements at a database.
func execute(t *testing.T, address string, statements ...string) {
	t.Helper()
	db := testdb.SQL(t, address)
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

// When the primary is lost, be it that it crashes or that its machine falls silent, and its standby is promoted, an instance that
// was given both goes on at the new one, without a restart, and with synchronous replication nothing that was acknowledged is lost.
func TestLongFailover(t *testing.T) {
	begin(t)
	for name, lose := range map[string]func(t *testing.T, primary *testdb.Cluster, line *testdb.Line){
		"crashed": func(t *testing.T, primary *testdb.Cluster, _ *testdb.Line) { primary.Kill(t, "QUIT") },
		"silent":  func(_ *testing.T, _ *testdb.Cluster, line *testdb.Line) { line.Stall() },
	} {
		t.Run(name, func(t *testing.T) {
			primary := testdb.NewCluster(t)
			standby := primary.Standby(t)
			synchronous(t, primary)
			line := testdb.NewLine(t, primary.Address)
			both := strings.Replace(primary.Address, hostOf(primary.Address), hostOf(line.Address)+","+hostOf(standby.Address), 1)
			const timeout = time.Second
			p := start(t, both+"&target_session_attrs=read-write", "DB_TIMEOUT="+timeout.String())
			holders, done, wait := hold(t, p.URL, "u")
			const enough = 100
			within(t, 30*time.Second, "the server acknowledges", func() bool { return done.Load() >= enough })
			lose(t, primary, line)
			wait()
			within(t, limit(2*timeout), "readyz is red", func() bool { return ready(t, p) == 503 })
			execute(t, standby.Address, "SELECT pg_promote()", "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
			took := within(t, limit(recovery), "readyz is green", func() bool { return ready(t, p) == 200 })
			for _, h := range holders {
				h.verify(t.Context(), t, newClient(p.URL))
			}
			watch(t, p).usual(t, "at the new primary")
			figure(t, "failover to a synchronous standby: as before %s after its promotion; %d registrations, changes and logouts acknowledged, all of them there",
				took.Round(10*time.Millisecond), done.Load())
		})
	}
}

// synchronous makes a primary wait for its standby, and returns once it does.
func synchronous(t *testing.T, primary *testdb.Cluster) {
	t.Helper()
	execute(t, primary.Address, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	db := testdb.SQL(t, primary.Address)
	within(t, 10*time.Second, "replication is synchronous", func() bool {
		var state string
		err := db.QueryRowContext(t.Context(), "SELECT sync_state FROM pg_stat_replication").Scan(&state)
		return err == nil && state == "sync"
	})
}
