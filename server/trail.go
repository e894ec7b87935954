package server

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// repeatInterval is how often equal events get a line at most.
	repeatInterval = time.Minute
	// maxRepeated bounds how many different events are counted apart. Further ones share a line per event and reason.
	maxRepeated = 1000
	// severalSources stands in the address of a line that counts events from several networks.
	severalSources = "several"
)

// Trail bounds the lines of audit events that clients can repeat at little cost. The first of equal events is written at
// once, those of each following minute as one line with their count. All counts together are the number of events.
type Trail struct {
	log *slog.Logger

	mu      sync.Mutex
	tallies map[repeatable]*tally
}

// repeatable is an event that clients can repeat. Events are equal if all of its fields are.
type repeatable struct {
	event                            Event
	limit, reason, operation, fields string // empty ones have no attribute
	target, actor                    uuid.UUID
	network                          string // set by the trail
}

// tally counts events since the last line about them.
type tally struct {
	count   int
	address string
	timer   *time.Timer
}

// NewTrail returns a trail that writes to a log. Flush must be called before the process ends.
func NewTrail(log *slog.Logger) *Trail { return &Trail{log: log, tallies: map[repeatable]*tally{}} }

// repeat writes an event, or counts it for a later line, and reports which.
func (t *Trail) repeat(ctx context.Context, r repeatable, from netip.Addr, request string) (written bool) {
	r.network = NetworkOf(from)
	if counted, key := t.count(r, from.String()); !counted { //nolint:contextcheck // later lines are not of this request
		t.write(ctx, key, from.String(), 1, slog.String(keyRequest, request))
		return true
	}
	return false
}

// count counts an event if there was an equal one lately. Otherwise the caller writes it, and those that follow are
// counted. key is what the event is counted as.
func (t *Trail) count(r repeatable, address string) (counted bool, key repeatable) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.tallies[r]
	if !ok && len(t.tallies) >= maxRepeated {
		r = repeatable{event: r.event, limit: r.limit, reason: r.reason, network: severalSources}
		address = severalSources
		c, ok = t.tallies[r]
	}
	if !ok {
		t.tallies[r] = &tally{timer: time.AfterFunc(repeatInterval, func() { t.due(r) })}
		return false, r
	}
	if c.count > 0 && c.address != address {
		address = r.network
	}
	c.count, c.address = c.count+1, address
	return true, r
}

// due writes what was counted in an interval. If that is nothing, the next equal event is the first again.
func (t *Trail) due(r repeatable) {
	t.mu.Lock()
	c, ok := t.tallies[r]
	if !ok {
		t.mu.Unlock()
		return
	}
	count, address := c.count, c.address
	c.count = 0
	if count > 0 {
		c.timer.Reset(repeatInterval)
	} else {
		delete(t.tallies, r)
	}
	t.mu.Unlock()
	if count > 0 {
		t.write(context.Background(), r, address, count)
	}
}

// Flush writes all that is counted and not written.
func (t *Trail) Flush() {
	t.mu.Lock()
	tallies := t.tallies
	t.tallies = map[repeatable]*tally{}
	for _, c := range tallies {
		c.timer.Stop()
	}
	t.mu.Unlock()
	for r, c := range tallies { // nobody else can reach them
		if c.count > 0 {
			t.write(context.Background(), r, c.address, c.count)
		}
	}
}

func (t *Trail) write(ctx context.Context, r repeatable, address string, count int, more ...slog.Attr) {
	attrs := []slog.Attr{ActorAttr(orUnknown(r.actor))}
	for _, a := range []struct{ key, value string }{
		{keyLimit, r.limit}, {keyReason, r.reason}, {keyOperation, r.operation}, {keyFields, r.fields},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	Audit(ctx, t.log, r.event, r.target, address, append(append(attrs, slog.Int(keyCount, count)), more...)...)
}
