package main

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollbook/rollbook/server"
)

// writes are how many lines were written, one write after the other.
type writes struct {
	mu    sync.Mutex
	lines []int
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, bytes.Count(p, []byte("\n")))
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
			to.mu.Lock()
			defer to.mu.Unlock()
			if !slices.Equal(to.lines, numbers) {
				t.Fatalf("lines written at once: %v, want %v", to.lines, numbers)
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
