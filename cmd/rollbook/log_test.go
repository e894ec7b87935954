package main

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollbook/rollbook/server"
)

// writes are what was written, one by one.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestLinesOfRequestsWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var to writes
		log, flush := newLog(&to, "text")
		requests := func(from, until int) {
			for n := from; n < until; n++ {
				log.Info(server.RequestLine, "n", n)
			}
		}
		want := func(numbers ...int) {
			t.Helper()
			var got []int
			for _, write := range to {
				got = append(got, strings.Count(write, "\n"))
			}
			if !slices.Equal(got, numbers) {
				t.Fatalf("lines written at once: %v, want %v", got, numbers)
			}
		}
		requests(0, 1)
		want(1)
		requests(1, 10)
		want(1)
		time.Sleep(linesHeldFor * 3 / 2)
		synctest.Wait()
		want(1, 9)
		requests(10, 12)
		want(1, 9)
		log.Warn("something else", "n", 12)
		want(1, 9, 3)
		log.Info("audit", "n", 13)
		want(1, 9, 3, 1)
		requests(14, 15)
		if err := flush(); err != nil {
			t.Fatal(err)
		}
		want(1, 9, 3, 1, 1)
		time.Sleep(10 * linesHeldFor)
		requests(15, 16)
		want(1, 9, 3, 1, 1, 1)
		log.Info(server.RequestLine, "much", strings.Repeat("x", mostHeld))
		want(1, 9, 3, 1, 1, 1, 1)
	})
}
