package fault_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// seen is what clients saw of a server since they last looked.
type seen struct {
	mu      sync.Mutex
	answers map[int]int // by status
	strange []answer    // some of those neither as usual nor 503 with Retry-After
	slowest time.Duration
}

func (s *seen) add(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[a.status]++
	s.slowest = max(s.slowest, a.took)
	const some = 5
	if a.status != 200 && (a.status != 503 || a.retryAfter == "") && len(s.strange) < some {
		s.strange = append(s.strange, a)
	}
}

// take returns what was seen, and begins anew.
func (s *seen) take() (answers map[int]int, slowest time.Duration, strange []answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers, slowest, strange = s.answers, s.slowest, s.strange
	s.answers, s.slowest, s.strange = map[int]int{}, 0, nil
	return answers, slowest, strange
}

// watch has clients read and change a profile all the time, until the test ends.
func watch(t *testing.T, p *testserver.Process) *seen {
	t.Helper()
	id, token := p.Register("watched")
	s := &seen{answers: map[int]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n := range 8 {
		c := newClient(p.URL)
		wg.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
				s.add(c.do(context.WithoutCancel(ctx), "GET", me, token, ""))
				if n%2 == 0 {
					s.add(c.do(context.WithoutCancel(ctx), "PATCH", users+id+"/", token, fmt.Sprintf(`{"first_name":"%d"}`, n)))
				}
			}
		})
	}
	t.Cleanup(func() { stop(); wg.Wait() })
	return s
}

// wantNothingStrange fails the test where anything but success and 503 was seen, and begins anew.
func (s *seen) wantNothingStrange(t *testing.T, when string) {
	t.Helper()
	if answers, _, strange := s.take(); len(strange) > 0 {
		t.Errorf("%s: %v, %v", when, answers, strange)
	}
}

// usual waits until all is as usual again.
func (s *seen) usual(t *testing.T, when string) {
	t.Helper()
	within(t, limit(recovery), when+": success alone is seen", func() bool {
		s.wantNothingStrange(t, when)
		time.Sleep(300 * time.Millisecond)
		answers, _, _ := s.take()
		return len(answers) == 1 && answers[200] >= 10
	})
}

// ready is the status of /readyz.
func ready(t *testing.T, p *testserver.Process) int {
	t.Helper()
	return p.Do(testserver.Request{Method: "GET", Path: readyz}).Status
}

const recovery = 2 * time.Second // what is promised

// While PostgreSQL is stopped, clients are told to come back and load balancers to turn away; once it answers again, all is as
// before, without a restart.
func TestLongDatabaseRestarts(t *testing.T) {
	begin(t)
	cluster := testdb.NewCluster(t)
	p := start(t, cluster.Address)
	db := testdb.SQL(t, cluster.Address)
	s := watch(t, p)
	for _, signal := range []string{"INT", "QUIT"} {
		s.usual(t, "before "+signal)
		cluster.Kill(t, signal)
		within(t, limit(time.Second), "readyz is red", func() bool { return ready(t, p) == 503 })
		s.wantNothingStrange(t, "while it ends")
		time.Sleep(time.Duration(amount(1, 10)) * time.Second)
		answers, slowest, strange := s.take()
		if len(answers) != 1 || answers[503] < 10 || len(strange) > 0 {
			t.Errorf("while it is away: %v, %v", answers, strange)
		}
		if status := p.Do(testserver.Request{Method: "GET", Path: healthz}).Status; status != 200 {
			t.Errorf("while it is away, healthz is %d", status)
		}
		cluster.Start(t)
		within(t, 30*time.Second, "PostgreSQL answers", func() bool { return db.PingContext(t.Context()) == nil })
		began := time.Now()
		within(t, limit(recovery), "readyz is green", func() bool { return ready(t, p) == 200 })
		within(t, limit(recovery)-time.Since(began), "all is as before", func() bool {
			s.wantNothingStrange(t, "while it starts")
			time.Sleep(50 * time.Millisecond)
			answers, _, _ := s.take()
			return len(answers) == 1 && answers[200] > 0
		})
		took := time.Since(began)
		figure(t, "PostgreSQL ended by SIG%s: meanwhile %d answers, all 503, the slowest after %s; as before %s after it answered again",
			signal, answers[503], slowest.Round(time.Millisecond), took.Round(10*time.Millisecond))
		s.usual(t, "after "+signal)
	}
}

// A database that neither answers nor fails holds a request no longer than DB_TIMEOUT.
func TestLongDatabaseHangs(t *testing.T) {
	begin(t)
	const timeout = time.Second
	line := testdb.NewLine(t, testdb.Postgres(t))
	p := start(t, line.Address, "DB_TIMEOUT="+timeout.String(), "DB_CONNECTIONS=4")
	_, token := p.Register("richard")
	line.Stall()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	c := newClient(p.URL)
	for n := range 100 { // far more than there are connections
		wg.Go(func() {
			request := [][4]string{{"GET", me, token, ""}, {"POST", login, "", credentials("richard")}, {"POST", users, "", credentials(fmt.Sprint("u", n))}, {"GET", readyz, "", ""}}[n%4]
			a := c.do(t.Context(), request[0], request[1], request[2], request[3])
			if a.status != 503 || a.retryAfter == "" {
				t.Errorf("%s %s: %s", request[0], request[1], a)
			}
			if n%4 == 0 || n%4 == 3 { // the others also wait for their turn to hash
				mu.Lock()
				defer mu.Unlock()
				slowest = max(slowest, a.took)
			}
		})
	}
	if a := c.do(t.Context(), "GET", healthz, "", ""); a.status != 200 || a.took > limit(timeout/2) {
		t.Errorf("healthz: %s", a)
	}
	wg.Wait()
	if slowest < timeout || slowest > timeout+limit(timeout/2) {
		t.Errorf("the slowest answer took %s", slowest)
	}
	line.Mend()
	took := within(t, limit(recovery), "all is as before", func() bool { return c.do(t.Context(), "GET", me, token, "").status == 200 })
	figure(t, "a connection that hangs, DB_TIMEOUT=%s: 503 after %s at most; as before %s after it moved again", timeout, slowest.Round(time.Millisecond), took.Round(10*time.Millisecond))
}
