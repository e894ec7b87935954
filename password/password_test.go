package password_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/password"
)

var cheap = password.Params{Memory: 8, Time: 1, Threads: 1}

func TestEncodeThenVerify(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	for _, plain := range []string{"", "correct-horse", " spaces at both ends ", "пароль 密码 🔑", strings.Repeat("x", 1<<16)} {
		encoded, err := hasher.Encode(t.Context(), plain)
		if err != nil {
			t.Fatal(err)
		}
		for candidate, want := range map[string]bool{plain: true, plain + "x": false, plain + "\x00": false, "nope": false} {
			got, err := hasher.Verify(t.Context(), encoded, candidate)
			if err != nil || got != want {
				t.Errorf("%.20q against %.20q: got %v, %v; want %v", candidate, plain, got, err, want)
			}
		}
		again, err := hasher.Encode(t.Context(), plain)
		if err != nil || again == encoded {
			t.Errorf("the same salt twice: %s, %v", again, err)
		}
	}
}

// The cost is the one thing that must not be cheap where it is not said so.
func TestDefaultCost(t *testing.T) {
	t.Parallel()
	encoded, err := password.New(password.Options{}).Encode(t.Context(), "correct-horse")
	if err != nil {
		t.Fatal(err)
	}
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(encoded, want) {
		t.Errorf("got %s, want %s…", encoded, want)
	}
}

// The vector was made by argon2-cffi 21.1 over the reference implementation.
func TestVerifiesTheReferenceImplementation(t *testing.T) {
	t.Parallel()
	const encoded = "$argon2id$v=19$m=64,t=2,p=2$L4VODudIkBWLBHiQ+TYWQw$6DieDMINh3CWHpzbAcNXmtXN+uONvPI/rmGfHYWh8ic"
	hasher := password.New(password.Options{Params: cheap})
	for plain, want := range map[string]bool{"correct-horse": true, "correct-horsf": false} {
		if got, err := hasher.Verify(t.Context(), encoded, plain); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %v", plain, got, err, want)
		}
	}
}

func TestNoPasswordVerifiesNothing(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	if ok, err := hasher.Verify(t.Context(), "", ""); ok || err != nil {
		t.Errorf("got %v, %v; want false", ok, err)
	}
}

func TestMalformedOrTooCostly(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	for _, encoded := range []string{
		"plain", "$", "$$$$$", "!unusable",
		"$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=1,p=0$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$*",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA$",
	} {
		if ok, err := hasher.Verify(t.Context(), encoded, "x"); ok || !errors.Is(err, password.ErrMalformed) {
			t.Errorf("%s: got %v, %v; want ErrMalformed", encoded, ok, err)
		}
	}
}

// One slot is held by hashes that take long; who waits beside them is turned away in time, and nobody else is.
func TestSlotsAreBounded(t *testing.T) {
	t.Parallel()
	slow := password.Params{Memory: 64 * 1024, Time: 4, Threads: 1}
	hasher := password.New(password.Options{Params: slow, Slots: 1, Wait: time.Millisecond})
	const callers = 8
	errs := make(chan error, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			_, err := hasher.Encode(t.Context(), "x")
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	var busy int
	for err := range errs {
		if errors.Is(err, password.ErrBusy) {
			busy++
		} else if err != nil {
			t.Error(err)
		}
	}
	if busy != callers-1 {
		t.Errorf("%d of %d were turned away, want all but one", busy, callers)
	}
	if _, err := hasher.Encode(t.Context(), "x"); err != nil {
		t.Errorf("the slot is free again: %v", err)
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: password.Params{Memory: 64 * 1024, Time: 8, Threads: 1}, Slots: 1})
	started := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		close(started)
		if _, err := hasher.Encode(t.Context(), "x"); err != nil {
			t.Error(err)
		}
	})
	<-started
	time.Sleep(20 * time.Millisecond) // long enough for the other to take the slot, shorter than it holds it
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := hasher.Encode(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	wg.Wait()
}
