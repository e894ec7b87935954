package load_test

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func b64(raw []byte) string { return base64.RawStdEncoding.EncodeToString(raw) }

// The targets are for so many connections. mostP99 is that of Rollbook's profile reads, as a multiple of the floor's.
const (
	targetsAt = 32
	mostP99   = 1.3
)

// report prints what was measured, and fails the test where a target is missed.
func report(t testing.TB, results map[string][]result, hashes float64) {
	t.Helper()
	var table strings.Builder
	table.WriteString("| Job | Connections | Rollbook, a second | floor, a second | ratio | Rollbook p50, p99 | floor p50, p99 |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, j := range jobs {
		for _, c := range connections {
			ours, floor := median(results[fmt.Sprint("Rollbook", j.name, c)]), median(results[fmt.Sprint("floor", j.name, c)])
			ratio := ours.rate / floor.rate
			fmt.Fprintf(&table, "| %s | %d | %.0f | %.0f | %.2f | %s, %s | %s, %s |\n", j.does, c, ours.rate, floor.rate, ratio,
				short(ours.p50), short(ours.p99), short(floor.p50), short(floor.p99))
			if c != targetsAt {
				continue
			}
			if ratio < j.target {
				t.Errorf("%s at %d connections: %.2f of the floor, want %.2f", j.does, c, ratio, j.target)
			}
			if j.name == "profile" && float64(ours.p99) > mostP99*float64(floor.p99) {
				t.Errorf("the p99 of a profile read is %s, the floor's %s", ours.p99, floor.p99)
			}
		}
	}
	t.Logf("%s, %d cores, with PostgreSQL and wrk on them, too; medians of %d rounds of %s each. The machine alone hashes %.0f passwords a second.\n%s",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), *rounds, *lasts, hashes, table.String())
}

func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}
