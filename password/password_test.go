package password_test

import (
	"context"
	"errors"
	"strings"
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

// Who finds all slots taken waits, and is turned away in time.
func TestSlotsAreBounded(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap, Slots: 2, Wait: 10 * time.Millisecond})
	encoded, err := hasher.Encode(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(context.Context) error{
		"encode":              func(ctx context.Context) error { _, err := hasher.Encode(ctx, "x"); return err },
		"verify":              func(ctx context.Context) error { _, err := hasher.Verify(ctx, encoded, "x"); return err },
		"verify against \"\"": func(ctx context.Context) error { _, err := hasher.Verify(ctx, "", "x"); return err },
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var releases []func()
	for taken := range 3 {
		for name, call := range calls {
			if err := call(t.Context()); (taken == 2) != errors.Is(err, password.ErrBusy) {
				t.Errorf("%s with %d of 2 slots taken: %v", name, taken, err)
			}
			if err := call(ended); taken == 2 && !errors.Is(err, context.Canceled) {
				t.Errorf("%s within a context that has ended: %v", name, err)
			}
		}
		if taken < 2 {
			release, err := password.Acquire(hasher, t.Context())
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
	}
	releases[0]()
	for name, call := range calls {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s with a slot free again: %v", name, err)
		}
	}
}

func TestIsSet(t *testing.T) {
	t.Parallel()
	for encoded, want := range map[string]bool{"": false, "!": false, "!fjBOEZCJo0jWJIv1ZqtOJ": false, "anything": true} {
		if password.IsSet(encoded) != want {
			t.Errorf("%q: got %v", encoded, !want)
		}
	}
}

// What a Hasher tells of itself is what it does.
func TestLoad(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap, Slots: 1, Wait: 50 * time.Millisecond})
	release, err := password.Acquire(hasher, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() {
		_, err := hasher.Encode(t.Context(), "x")
		refused <- err
	}()
	for hasher.Load() != (password.Load{Slots: 1, InUse: 1, Waiting: 1}) {
		select {
		case err := <-refused:
			t.Fatalf("%v, and it was never seen to wait: %+v", err, hasher.Load())
		default:
		}
	}
	if err := <-refused; !errors.Is(err, password.ErrBusy) {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hasher.Encode(gone, "x"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	if got := hasher.Load(); got != (password.Load{Slots: 1, Refused: 1}) {
		t.Errorf("afterwards it is %+v", got)
	}
}

// How many logins one slot has time for: each costs one hash.
func BenchmarkVerify(b *testing.B) {
	hasher := password.New(password.Options{Slots: 1})
	encoded, err := hasher.Encode(b.Context(), "Correct-Horse-9")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, err := hasher.Verify(b.Context(), encoded, "Correct-Horse-9"); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
