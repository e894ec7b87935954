package load_test

import (
	"testing"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// BenchmarkInProcess does the jobs that hash nothing in this process, where `make pgo` takes the profile by which the compiler
// optimises what is shipped.
func BenchmarkInProcess(b *testing.B) {
	wrk := need.Program(b, "wrk")
	cluster := testdb.NewCluster(b, durable...)
	startRollbook(b, cluster.Address) // which migrates
	accounts, _ := fill(b, cluster.Address, 10_000, 1000)
	s := testserver.Start(b, cluster.Address)
	for b.Loop() {
		for _, j := range jobs {
			if !j.hashes {
				b.Logf("%s: %.0f a second", j.name, run(b, wrk, s.URL, accounts, j, targetsAt, *lasts, "p.").rate)
			}
		}
	}
}
