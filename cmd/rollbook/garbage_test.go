package main

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
)

func TestPercentFor(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[int]int{
		0: 700, 3 * mib: 700, 4 * mib: 700, 5 * mib: 500, 8 * mib: 300, 14 * mib: 100, 16 * mib: 100, 40 * mib: 100, 2048 * mib: 100,
	} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MiB: got %d %%, want %d %%", live/mib, got, want)
		}
	}
}

// gogc matches the metric of GOGC, and how often there was a collection.
var gogc = regexp.MustCompile(`(?m)^go_gc_(?:gogc_percent|duration_seconds_count) (\d+)$`)

// A small server collects garbage less often than Go would have it, unless GOGC or GOMEMLIMIT is set.
func TestGarbageIsCollectedLessOften(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]func(percent int) bool{
		"GOGC_OF_NOBODY=1": func(percent int) bool { return percent > 2*usualPercent },
		"GOGC=70":          func(percent int) bool { return percent == 70 },
		"GOMEMLIMIT=1GiB":  func(percent int) bool { return percent == usualPercent },
	} {
		p := start(t, testdb.SQLite(t), "METRICS_ADDR=127.0.0.1:0", set)
		const enough = 12 // collections, of which one can take effect after the next one only
		for until := time.Now().Add(20 * time.Second); ; {
			_, text := get(t, p.Metrics)
			found := gogc.FindAllStringSubmatch(text, -1)
			if len(found) != 2 {
				t.Fatalf("the metrics have not both: %v", found)
			}
			collections, err1 := strconv.Atoi(found[0][1])
			percent, err2 := strconv.Atoi(found[1][1])
			if err1 != nil || err2 != nil {
				t.Fatal(found)
			}
			if collections >= enough && want(percent) {
				break
			}
			if collections >= enough && set != "GOGC_OF_NOBODY=1" || time.Now().After(until) {
				t.Errorf("%s: it is %d %% after %d collections", set, percent, collections)
				break
			}
		}
	}
}
