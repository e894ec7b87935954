package repository

import (
	"testing"
	"time"
)

// A reading that took long does not take the place of an exact one, unless the database's clock has been set, or the exact one
// is so old that the clocks may have drifted apart.
func TestBetterReadings(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_000_000, 0)
	old := reading{database: start.Add(time.Hour), local: start, within: time.Millisecond}
	for name, test := range map[string]struct {
		after, off, within time.Duration
		improves           bool
	}{
		"as exact":                               {time.Second, 0, time.Millisecond, true},
		"less exact":                             {time.Second, 0, 100 * time.Millisecond, false},
		"less exact, and off as it may":          {time.Second, 100 * time.Millisecond, 100 * time.Millisecond, false},
		"less exact, but the clock was set":      {time.Second, time.Second, 100 * time.Millisecond, true},
		"less exact, but the clock was set back": {time.Second, -time.Second, 100 * time.Millisecond, true},
		"less exact, but an hour later":          {time.Hour, 0, 100 * time.Millisecond, true},
		"less exact, a minute later":             {time.Minute, 0, 100 * time.Millisecond, false},
	} {
		later := reading{database: old.database.Add(test.after + test.off), local: start.Add(test.after), within: test.within}
		if got := later.improves(old); got != test.improves {
			t.Errorf("%s: %t", name, got)
		}
	}
}
