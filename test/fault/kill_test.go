package fault_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// holder is a client that keeps what was acknowledged to it, and what it asked for last without an answer.
type holder struct {
	client
	name      string
	id, token string // of the account, once it is acknowledged
	firstName string // the last acknowledged
	asked     string // the first name asked for since, or empty
	loggedOut []string
	done      *atomic.Int64 // how much was acknowledged to all
}

// gone tells whether the server, or its database, was away. Nothing is known then of what was asked for.
func (a answer) gone() bool { return a.status == 0 || a.status == 503 }

// work registers, changes its profile, signs in and out until the server is gone.
func (h *holder) work(ctx context.Context) error {
	made := h.do(ctx, "POST", users, "", credentials(h.name))
	if made.gone() {
		return nil
	}
	if made.status != 201 {
		return fmt.Errorf("register: %s", made)
	}
	h.id, h.token = made.text("id"), made.text("auth_token")
	const changes = 10 // between two sign-ins, which take much longer
	for n := 0; ; n++ {
		h.done.Add(1)
		h.asked = fmt.Sprint("name ", n)
		changed := h.do(ctx, "PATCH", users+h.id+"/", h.token, fmt.Sprintf(`{"first_name":%q}`, h.asked))
		if changed.gone() {
			return nil
		}
		if changed.text("first_name") != h.asked {
			return fmt.Errorf("change: %s", changed)
		}
		h.firstName, h.asked = h.asked, ""
		if n%changes > 0 {
			continue
		}
		signedIn := h.do(ctx, "POST", login, "", credentials(h.name))
		if signedIn.gone() {
			return nil
		}
		token := signedIn.text("token")
		out := h.do(ctx, "POST", logout, token, "")
		if out.gone() {
			return nil
		}
		if out.status != 204 {
			return fmt.Errorf("sign in: %s, log out: %s", signedIn, out)
		}
		h.done.Add(1)
		h.loggedOut = append(h.loggedOut, token)
	}
}

// verify compares what a server knows with what was acknowledged.
func (h *holder) verify(ctx context.Context, t *testing.T, server client) {
	if h.id == "" {
		return
	}
	profile := server.do(ctx, "GET", me, h.token, "")
	if name := profile.text("first_name"); profile.text("id") != h.id || name != h.firstName && (name != h.asked || h.asked == "") {
		t.Errorf("%s: want %q or %q, got %s", h.name, h.firstName, h.asked, profile)
	}
	for _, token := range h.loggedOut {
		if a := server.do(ctx, "GET", me, token, ""); a.status != 401 {
			t.Errorf("%s: a token that was logged out: %s", h.name, a)
		}
	}
	if a := server.do(ctx, "POST", login, "", credentials(h.name)); a.status != 200 {
		t.Errorf("%s: sign in: %s", h.name, a)
	}
}

// hold has clients work until the server is gone, which wait waits for.
func hold(t *testing.T, base, name string) (holders []*holder, done *atomic.Int64, wait func()) {
	done = &atomic.Int64{}
	var wg sync.WaitGroup
	failed := make([]error, 8)
	for n := range failed {
		h := &holder{client: newClient(base), name: fmt.Sprint(name, n), done: done}
		holders = append(holders, h)
		wg.Go(func() { failed[n] = h.work(t.Context()) })
	}
	return holders, done, func() {
		wg.Wait()
		if err := errors.Join(failed...); err != nil {
			t.Error(err)
		}
	}
}

// Every registration, change and logout that was acknowledged is there after the instance was killed at any moment, on both
// databases, and the next instance starts at once.
func TestLongKilledInstance(t *testing.T) {
	begin(t)
	testdb.Each(t, func(t *testing.T, address string) {
		ctx, rounds, acknowledged := t.Context(), amount(3, 25), int64(0)
		p := start(t, address)
		for round := range rounds {
			holders, done, wait := hold(t, p.URL, fmt.Sprint("u", round, "."))
			enough := 10 + rand.Int64N(90)
			within(t, 30*time.Second, "the server acknowledges", func() bool { return done.Load() >= enough })
			time.Sleep(rand.N(10 * time.Millisecond))
			if err := p.Cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = p.Cmd.Wait() // it was killed
			wait()
			began := time.Now()
			p = start(t, address)
			if took := time.Since(began); took > limit(recovery) {
				t.Errorf("the next instance started after %s", took)
			}
			for _, h := range holders {
				h.verify(ctx, t, newClient(p.URL))
			}
			acknowledged += done.Load()
		}
		figure(t, "%d kills: %d registrations, changes and logouts acknowledged, all of them there", rounds, acknowledged)
		if a := p.Do(testserver.Request{Method: "GET", Path: readyz}); a.Status != 200 {
			t.Errorf("not ready: %s", a.Text)
		}
	})
}
