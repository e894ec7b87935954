package load_test

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
)

var sizes = flag.String("accounts", "10000,1000000,10000000", "how many accounts the databases of BenchmarkGrowth have")

const (
	mostGrowth  = 1.2     // what a job may cost at the most accounts, as a multiple of what it does at the fewest
	leastLoaded = 100_000 // accounts a second
	loadedAt    = 1_000_000
	perAccount  = 2 << 10 // bytes on disk, with the write-ahead log: more than was measured
	mostListed  = 100_000 // accounts that wrk takes in turn, so that it walks all over the indexes
)

// grownCluster is durable, and large enough to hold most of the pages that wrk's accounts are on. What is loaded into tables that were
// emptied is on disk at the commit, and in no log that a standby would read, as PostgreSQL's manual advises ("Populating a Database").
var grownCluster = []string{
	"fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=8GB", "max_wal_size=16GB", "wal_level=minimal", "max_wal_senders=0",
}

// grown is a database of so many accounts and Rollbook on it.
type grown struct {
	accounts          int
	address, url      string
	listed            string // the file of accounts for wrk
	took              time.Duration
	database, written int64 // bytes: its size, and the write-ahead log that the load wrote
	profiles, logins  []result
}

// BenchmarkGrowth prints what jobs cost in databases of more and more accounts, and fails where they cost more and more.
func BenchmarkGrowth(b *testing.B) {
	wrk := need.Program(b, "wrk")
	cluster := testdb.NewCluster(b, grownCluster...)
	needPrewarm(b, cluster.Address)
	var all []*grown
	for size := range strings.SplitSeq(*sizes, ",") {
		accounts, err := strconv.Atoi(size)
		if err != nil {
			b.Fatal(err)
		}
		var fits bool
		b.Run(size, func(b *testing.B) { // of its own, so that it is skipped alone
			needRoom(b, cluster.Address, accounts)
			fits = true
		})
		if fits {
			all = append(all, grow(b, cluster.Address, accounts))
		}
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(x, y *grown) int { return x.accounts - y.accounts })
	for _, g := range all {
		warm(b, g.address)
	}
	for round := range *rounds {
		for _, g := range all {
			g.profiles = append(g.profiles, run(b, wrk, g.url, g.listed, readProfile, targetsAt, *lasts, fmt.Sprint("r", round, ".")))
		}
		for _, g := range all {
			g.logins = append(g.logins, run(b, wrk, g.url, g.listed, logIn, targetsAt, longer**lasts, fmt.Sprint("r", round, ".")))
		}
	}
	reportGrowth(b, all)
}

// needRoom skips a size for which the cluster's file system has no room.
func needRoom(t testing.TB, address string, accounts int) {
	t.Helper()
	var folder string
	query(t, address, &folder, "SHOW data_directory")
	var system syscall.Statfs_t
	if err := syscall.Statfs(folder, &system); err != nil {
		t.Fatal(err)
	}
	const gigabyte = 1 << 30
	free, wanted := float64(system.Bavail)*float64(system.Bsize)/gigabyte, float64(accounts)*perAccount/gigabyte
	if free < wanted {
		need.Skip(t, fmt.Sprintf("room for %d accounts: they need %.1f GB where PostgreSQL keeps its data, and %.1f GB are free", accounts, wanted, free))
	}
}

// grow makes a database, has Rollbook migrate and serve it, and fills it.
func grow(t testing.TB, cluster string, accounts int) *grown {
	t.Helper()
	name := fmt.Sprint("accounts_", accounts)
	execute(t, cluster, "CREATE DATABASE "+name)
	g := &grown{accounts: accounts, address: strings.Replace(cluster, "/postgres?", "/"+name+"?", 1)}
	g.url = startRollbook(t, g.address)
	var before string
	query(t, cluster, &before, "SELECT pg_current_wal_insert_lsn()::text")
	g.listed, g.took = fill(t, g.address, accounts, mostListed)
	query(t, cluster, &g.written, fmt.Sprintf("SELECT (pg_current_wal_insert_lsn() - '%s')::bigint", before))
	query(t, g.address, &g.database, "SELECT pg_database_size(current_database())")
	return g
}

func needPrewarm(t testing.TB, address string) {
	t.Helper()
	var has bool
	query(t, address, &has, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_prewarm')")
	if !has {
		need.Skip(t, "pg_prewarm, an extension that comes with PostgreSQL's server or its contrib package")
	}
}

// warm reads the tables and indexes through, and has all that the load changed written to disk.
func warm(t testing.TB, address string) {
	t.Helper()
	execute(t, address, "CREATE EXTENSION pg_prewarm")
	var blocks int64
	query(t, address, &blocks, `SELECT sum(pg_prewarm(oid))::bigint FROM (
		SELECT oid FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = current_schema()::regnamespace ORDER BY relkind DESC) relations`)
	execute(t, address, "CHECKPOINT")
}

func execute(t testing.TB, address, statement string) {
	t.Helper()
	if _, err := testdb.SQL(t, address).ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// query reads one value.
func query(t testing.TB, address string, into any, statement string) {
	t.Helper()
	if err := testdb.SQL(t, address).QueryRowContext(t.Context(), statement).Scan(into); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// reportGrowth prints the table, fewest accounts first, and fails the test where a target is missed.
func reportGrowth(t testing.TB, all []*grown) {
	t.Helper()
	fewest, most := all[0], all[len(all)-1]
	var table strings.Builder
	table.WriteString("| Accounts | loaded in | accounts a second | on disk | log of the load | profile reads a second | p99 | cost of one | logins a second | p99 | cost of one |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, g := range all {
		speed := float64(g.accounts) / g.took.Seconds()
		if g.accounts >= loadedAt && speed < leastLoaded {
			t.Errorf("%d accounts were loaded at %.0f a second, want %d", g.accounts, speed, leastLoaded)
		}
		profile, login := median(g.profiles), median(g.logins)
		fmt.Fprintf(&table, "| %d | %.1f s | %.0f | %s | %s | %.0f | %s | %.2f | %.1f | %s | %.2f |\n", g.accounts, g.took.Seconds(), speed,
			megabytes(g.database), megabytes(g.written), profile.rate, short(profile.p99), cost(g.profiles, fewest.profiles), login.rate, short(login.p99), cost(g.logins, fewest.logins))
	}
	for job, c := range map[string]float64{"profile read": cost(most.profiles, fewest.profiles), "login": cost(most.logins, fewest.logins)} {
		if c > mostGrowth {
			t.Errorf("a %s costs %.2f times as much with %d accounts as with %d, want at most %.2f", job, c, most.accounts, fewest.accounts, mostGrowth)
		}
	}
	t.Logf("%s, %d cores, with PostgreSQL (%s) and wrk on them, too; medians of %d rounds of %s each at %d connections, "+
		"of up to %d accounts of each database in turn. A cost is that with %d accounts, times so much. The databases and logs took at most %d bytes an account.\n%s",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), strings.Join(grownCluster, ", "), *rounds, *lasts, targetsAt, mostListed, fewest.accounts,
		(most.database+most.written)/int64(most.accounts), table.String())
}

// cost is what a job costs, as a multiple of what it does elsewhere.
func cost(here, there []result) float64 { return median(there).rate / median(here).rate }

func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/(1<<20)) }
