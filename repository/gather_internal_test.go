package repository

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// question is a call of the tests.
type question struct{ number, answer int }

// questions records what is asked, each time for a second.
type questions struct {
	gatherer[question]

	recording sync.Mutex
	asked     [][]int
}

const answerTakes = time.Second

func newQuestions() *questions {
	q := &questions{}
	q.timeout = time.Minute
	q.ask = func(ctx context.Context, calls []*question) error {
		var numbers []int
		for _, c := range calls {
			numbers = append(numbers, c.number)
		}
		q.recording.Lock()
		q.asked = append(q.asked, numbers)
		q.recording.Unlock()
		select {
		case <-time.After(answerTakes):
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, c := range calls {
			c.answer = 2 * c.number
		}
		if slices.Contains(numbers, unanswerable) {
			return errUnanswerable
		}
		return nil
	}
	return q
}

const unanswerable = 99

var errUnanswerable = errors.New("unanswerable")

// asks calls in the background, and returns where the error will be once it is answered.
func (q *questions) asks(ctx context.Context, c *question) <-chan error {
	done := make(chan error, 1)
	go func() { done <- q.do(ctx, c) }()
	synctest.Wait()
	return done
}

func wantAsked(t *testing.T, q *questions, want ...[]int) {
	t.Helper()
	synctest.Wait()
	q.recording.Lock()
	defer q.recording.Unlock()
	if !slices.EqualFunc(q.asked, want, slices.Equal) {
		t.Errorf("asked %v, want %v", q.asked, want)
	}
}

func TestGatheredCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuestions()
		calls := make([]question, 6)
		var done []<-chan error
		for i := range calls {
			calls[i].number = i
			done = append(done, q.asks(t.Context(), &calls[i]))
		}
		wantAsked(t, q, []int{0}, []int{1})
		for i := range calls {
			if err := <-done[i]; err != nil || calls[i].answer != 2*i {
				t.Errorf("%d: got %d, %v", i, calls[i].answer, err)
			}
		}
		wantAsked(t, q, []int{0}, []int{1}, []int{2, 3, 4, 5})
		if err := <-q.asks(t.Context(), &question{number: 6}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.asking != 0 || len(q.waiting) != 0 {
			t.Errorf("%d statements are under way and %d calls wait in the end", q.asking, len(q.waiting))
		}
	})
}

func TestMostGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuestions()
		began := time.Now()
		var done []<-chan error
		for i := range mostAtOnce + mostGathered + 1 {
			done = append(done, q.asks(t.Context(), &question{number: -i}))
		}
		for _, d := range done {
			if err := <-d; err != nil {
				t.Error(err)
			}
		}
		most := 0
		for _, numbers := range q.asked {
			most = max(most, len(numbers))
		}
		if most != mostGathered {
			t.Errorf("a statement answered %d calls, want %d", most, mostGathered)
		}
		if took := time.Since(began); took != 2*answerTakes {
			t.Errorf("it took %s: the last one waited for more than one of the others", took)
		}
	})
}

func TestErrorOfGatheredCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuestions()
		var done []<-chan error
		for _, n := range []int{0, 1, 2, unanswerable} {
			done = append(done, q.asks(t.Context(), &question{number: n}))
		}
		for i, want := range []error{nil, nil, errUnanswerable, errUnanswerable} {
			if err := <-done[i]; !errors.Is(err, want) {
				t.Errorf("%d: got %v, want %v", i, err, want)
			}
		}
		if err := <-q.asks(t.Context(), &question{number: 5}); err != nil {
			t.Errorf("the next one got %v", err)
		}
	})
}

// Who gives up takes nothing from the others, whether it waits yet or is being answered.
func TestGivenUpCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuestions()
		ctx, cancel := context.WithCancel(t.Context())
		done := []<-chan error{q.asks(t.Context(), &question{number: 0}), q.asks(t.Context(), &question{number: 1})}
		waits := q.asks(ctx, &question{number: 2})
		cancel()
		if err := <-waits; !errors.Is(err, context.Canceled) || len(q.waiting) != 0 {
			t.Errorf("got %v, and %d wait", err, len(q.waiting))
		}
		ctx, cancel = context.WithCancel(t.Context())
		gathered := q.asks(ctx, &question{number: 3})
		done = append(done, q.asks(t.Context(), &question{number: 4}))
		time.Sleep(answerTakes + answerTakes/2)
		cancel()
		if err := <-gathered; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		for n, d := range done {
			if err := <-d; err != nil {
				t.Errorf("%d was given up with another: %v", n, err)
			}
		}
		wantAsked(t, q, []int{0}, []int{1}, []int{3, 4})
	})
}

// A statement that stalls stops no others.
func TestStalledStatement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQuestions()
		answers := q.ask
		q.ask = func(ctx context.Context, calls []*question) error {
			if calls[0].number == unanswerable {
				<-ctx.Done()
				return ctx.Err()
			}
			return answers(ctx, calls)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		stalled := q.asks(ctx, &question{number: unanswerable})
		began := time.Now()
		if err := <-q.asks(t.Context(), &question{number: 0}); err != nil {
			t.Error(err)
		}
		other := q.asks(t.Context(), &question{number: 1})
		gathered := q.asks(t.Context(), &question{number: unanswerable})
		if err := <-other; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*answerTakes {
			t.Errorf("it took %s", took)
		}
		if err := <-gathered; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*answerTakes+q.timeout {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		if err := <-stalled; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Hour {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}
