package repository

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// mostAtOnce is how many statements of a gatherer are under way at most: as few as go on where the connection of one stalls.
	mostAtOnce = 2
	// mostGathered is how many calls a statement answers at most.
	mostGathered = 64
)

// gatherer answers the calls that come while mostAtOnce statements are under way with one statement once one of those has ended, and
// others with a statement of their own. What a busy database and its client take longest for is to ask and answer at all. No call is
// answered by a statement that began before it.
type gatherer[T any] struct {
	ask     func(context.Context, []*T) error // answers calls; the error is that of each
	timeout time.Duration                     // of a statement that answers several

	mu      sync.Mutex
	asking  int          // statements under way
	waiting []*caller[T] // the first to come first
}

// caller is who waits for the answer to a call.
type caller[T any] struct {
	call     *T
	answered chan struct{} // closed when it is
	err      error
}

// do returns when a call is answered, or its context has ended, in which case the call must not be looked at.
func (g *gatherer[T]) do(ctx context.Context, call *T) error {
	g.mu.Lock()
	if g.asking < mostAtOnce {
		g.asking++
		g.mu.Unlock()
		defer g.next()
		return g.ask(ctx, []*T{call})
	}
	c := &caller[T]{call: call, answered: make(chan struct{})}
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	select {
	case <-c.answered:
		return c.err
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		if at := slices.Index(g.waiting, c); at >= 0 {
			g.waiting = slices.Delete(g.waiting, at, at+1)
		}
		return ctx.Err()
	}
}

// next is called when a statement has ended, and begins the next one where there are calls for it.
func (g *gatherer[T]) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.asking--
		return
	}
	n := min(len(g.waiting), mostGathered)
	gathered := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	go g.together(gathered)
}

// together answers several calls. One that is given up meanwhile takes the answer from no other.
func (g *gatherer[T]) together(callers []*caller[T]) {
	defer g.next()
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	calls := make([]*T, 0, len(callers))
	for _, c := range callers {
		calls = append(calls, c.call)
	}
	err := g.ask(ctx, calls)
	for _, c := range callers {
		c.err = err
		close(c.answered)
	}
}
