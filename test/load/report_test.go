package load_test

import (
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var write = flag.Bool("write", false, "write the results to docs/speed.md and docs/speed.svg")

func b64(raw []byte) string { return base64.RawStdEncoding.EncodeToString(raw) }

// The targets are for so many connections. mostP99 is that of Rollbook's profile reads, as a multiple of the floor's.
const (
	targetsAt = 32
	mostP99   = 1.3
)

// beside is what reads beside logins are called among the results.
const beside = "beside"

// report prints what was measured, and fails where a target is missed.
func report(t testing.TB, results map[string][]result, hashes float64) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "%s, %s with %d cores, PostgreSQL and the load generator on them, too. Medians of %d rounds of %s each, those of logins and registrations of %s or, at %d connections, of %d times as many. "+
		"Beside it, the machine alone hashes %.0f passwords a second.\n\n", time.Now().Format(time.DateOnly), processor(), runtime.NumCPU(), *rounds, *lasts, longer**lasts, targetsAt, often, hashes)
	text.WriteString("| Job | Connections | Rollbook, a second | floor, a second | ratio | Rollbook p50, p99 | floor p50, p99 |\n|---|--:|--:|--:|--:|--:|--:|\n")
	var groups []group
	for _, j := range jobs {
		g := group{Job: j.does, Target: j.target}
		for _, c := range connections {
			all, floors := results[fmt.Sprint("Rollbook", j.name, c)], results[fmt.Sprint("floor", j.name, c)]
			ours, floor, ratio := median(all), median(floors), ratioOf(all, floors)
			g.Bars = append(g.Bars, bar{c, ratio})
			fmt.Fprintf(&text, "| %s | %d | %.0f | %.0f | %.2f | %s | %s |\n", j.does, c, ours.rate, floor.rate, ratio, ours.times(), floor.times())
			if c == targetsAt {
				judge(t, j, ratio, float64(ours.p99)/float64(floor.p99))
			}
		}
		groups = append(groups, g)
	}
	ours, floor := median(results["Rollbook"+beside]), median(results["floor"+beside])
	fmt.Fprintf(&text, "| read one's profile, %s, while %d log in | | | | | %s | %s |\n", besideRate, besideLogins, ours.times(), floor.times())
	if float64(ours.p99) > mostBeside*float64(floor.p99) {
		t.Errorf("while others log in, the p99 of a profile read is %s, the floor's %s: want %v times that at most", ours.p99, floor.p99, mostBeside)
	}
	t.Log(text.String())
	if *write {
		publish(t, groups, text.String())
	}
}

// judge fails the test where a target is missed.
func judge(t testing.TB, j job, ratio, p99 float64) {
	t.Helper()
	if ratio < j.target {
		t.Errorf("%s: %.2f of the floor, want %.2f", j.does, ratio, j.target)
	}
	if j.name == "profile" && p99 > mostP99 {
		t.Errorf("the p99 of a profile read is %.2f times the floor's, want %.2f at most", p99, mostP99)
	}
}

// ratioOf is the median of how many requests a second one did for each of the other's, next to each other in time.
func ratioOf(ours, floors []result) float64 {
	ratios := make([]float64, len(ours))
	for n := range ours {
		ratios[n] = ours[n].rate / floors[n].rate
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

func (r result) times() string { return short(r.p50) + ", " + short(r.p99) }

func short(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond))
}

// processor is what Linux calls the machine's.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, rest, _ := strings.Cut(string(text), "model name")
	name, _, _ := strings.Cut(rest, "\n")
	return strings.TrimLeft(name, "\t :")
}
