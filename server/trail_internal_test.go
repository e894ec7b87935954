package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

// auditLine is a line of an audit log.
type auditLine struct {
	Event, Account, Address, Actor, Limit, Reason, ID string
	Count                                             int
}

// auditLog keeps the lines of a trail.
type auditLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *auditLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *auditLog) lines(t *testing.T) (lines []auditLine) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range bytes.Lines(l.text.Bytes()) {
		var line auditLine
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// sum fails the test if there are more lines than most, or their counts are not all events.
func (l *auditLog) sum(t *testing.T, events, most int) {
	t.Helper()
	lines, sum := l.lines(t), 0
	for _, line := range lines {
		sum += line.Count
	}
	if sum != events || len(lines) > most {
		t.Errorf("%d lines count %d events, want %d lines at most for %d events", len(lines), sum, most, events)
	}
}

func newTestTrail() (*Trail, *auditLog) {
	log := &auditLog{}
	return NewTrail(slog.New(slog.NewJSONHandler(log, nil))), log
}

// kinds is how many events are counted apart.
func (t *Trail) kinds() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.tallies)
}

var someNetwork = netip.MustParseAddr("192.0.2.1")

// Equal events have a line at once and one per interval after that; their counts are all of them.
func TestRepeatedEventsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		trail, log := newTestTrail()
		const events, pause = 10_000, 10 * time.Millisecond // 100 seconds
		event := repeatable{event: EventThrottled, limit: limitAddress, target: uuid.New()}
		for n := range events {
			if written := trail.repeat(t.Context(), event, someNetwork, fmt.Sprint(n)); written != (n == 0) {
				t.Fatalf("event %d was written: %t", n, written)
			}
			time.Sleep(pause)
		}
		synctest.Wait()
		lines := log.lines(t)
		if len(lines) != 2 || lines[0].Count != 1 || lines[0].ID != "0" || lines[0].Limit != limitAddress || lines[1].Address != "192.0.2.1" ||
			lines[1].Account != event.target.String() {
			t.Errorf("got %+v", lines)
		}
		trail.Flush()
		log.sum(t, events, 3)
		if trail.repeat(t.Context(), event, someNetwork, "after"); len(log.lines(t)) != 4 {
			t.Error("the first event after a flush was not written")
		}
		time.Sleep(3 * repeatInterval)
		synctest.Wait()
		if log.sum(t, events+1, 4); trail.kinds() != 0 {
			t.Errorf("%d kinds of events are kept in memory", trail.kinds())
		}
	})
}

// However many kinds of events there are, few are kept apart, and no event is lost.
func TestRepeatedEventsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		trail, log := newTestTrail()
		const events = 50_000
		for n := range events {
			address := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
			trail.repeat(t.Context(), repeatable{event: EventThrottled, limit: limitAddress, operation: fmt.Sprint(n)}, address, "id")
			if kept := trail.kinds(); kept > maxRepeated+1 {
				t.Fatalf("%d kinds of events are kept", kept)
			}
		}
		time.Sleep(repeatInterval + time.Second)
		synctest.Wait()
		log.sum(t, events, maxRepeated+2)
		lines := log.lines(t)
		if last := lines[len(lines)-1]; last.Address != severalSources || last.Count != events-maxRepeated-1 {
			t.Errorf("the last line is %+v", last)
		}
		trail.Flush()
		log.sum(t, events, maxRepeated+2)
	})
}

// The addresses of a household's IPv6 network count as one, and a line about several names the network.
func TestRepeatedEventsOfOneNetwork(t *testing.T) {
	t.Parallel()
	trail, log := newTestTrail()
	for n := range 1000 {
		address := netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::%x", n%256, n))
		trail.repeat(t.Context(), repeatable{event: EventUnauthorized, reason: "unknown token"}, address, "id")
	}
	trail.Flush()
	log.sum(t, 1000, 2)
	if lines := log.lines(t); lines[0].Address != "2001:db8::" || lines[1].Address != "2001:db8::/56" {
		t.Errorf("got %+v", lines)
	}
}

// Counts stay exact while events, intervals and flushes are concurrent.
func TestRepeatedEventsAreCountedOnce(t *testing.T) {
	t.Parallel()
	trail, log := newTestTrail()
	const callers, each = 20, 500
	var group sync.WaitGroup
	for n := range callers {
		group.Go(func() {
			for i := range each {
				r := repeatable{event: EventThrottled, limit: fmt.Sprint(i % 3)}
				trail.repeat(context.Background(), r, someNetwork, "id")
				if i%50 == n {
					trail.Flush()
				}
				r.network = someNetwork.String()
				trail.due(r)
			}
		})
	}
	group.Wait()
	trail.Flush()
	log.sum(t, callers*each, callers*each)
}

// docs/operating.md lists every event, each once.
func TestEventsAreDocumented(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "audit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Event" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, text)
		}
		return true
	})
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, found := strings.Cut(string(page), "| Event | Further keys | |\n|---|---|---|\n")
	rows, _, ended := strings.Cut(rows, "\n\n")
	if !found || !ended {
		t.Fatal("there is no table of events")
	}
	var documented []string
	for row := range strings.Lines(rows) {
		documented = append(documented, strings.Trim(strings.Split(row, "|")[1], " `"))
	}
	slices.Sort(events)
	slices.Sort(documented)
	if !slices.Equal(events, documented) {
		t.Errorf("documented are %q, want %q", documented, events)
	}
}
