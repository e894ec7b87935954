// Package password encodes and verifies passwords, in a bounded number of slots, and says which are good enough.
package password

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/crypto/argon2"
)

// ErrBusy means that no slot became free in time. The same call may succeed later.
var ErrBusy = errors.New("password hashing is busy")

// ErrMalformed means that an encoded password cannot be read, or would cost more than this package spends on one.
var ErrMalformed = errors.New("malformed encoded password")

const (
	saltBytes = 16 // RFC 9106, section 3.1
	keyBytes  = 32
)

// Params is the cost of a hash.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultParams is what OWASP's Password Storage Cheat Sheet asks of argon2id at the least.
var DefaultParams = Params{Memory: 19456, Time: 2, Threads: 1}

// most is what a stored hash may cost to verify.
var most = Params{Memory: 256 * 1024, Time: 16, Threads: 16}

// Options configures a Hasher; the zero value of a field stands for its default.
type Options struct {
	Params Params        // the cost of new hashes, DefaultParams by default
	Slots  int           // how many hashes are computed at once, by default one per core
	Wait   time.Duration // how long a call waits for a slot, 5 seconds by default
}

// Hasher encodes and verifies passwords. Its methods may be called by any number of goroutines: at most Options.Slots
// hash at any time, so that the memory they take stays the same under any load.
type Hasher struct {
	params Params
	dummy  verifier // takes the time that a password of today's cost does, and never agrees
	slots  chan struct{}
	wait   time.Duration

	waiting, refused atomic.Int64
}

// Load is what a Hasher is doing.
type Load struct {
	Slots, InUse int   // how many passwords may be hashed at once, and how many are
	Waiting      int   // how many calls wait for a slot
	Refused      int64 // how many calls were ErrBusy so far
}

// Load returns what the Hasher is doing at this moment.
func (h *Hasher) Load() Load {
	return Load{Slots: cap(h.slots), InUse: len(h.slots), Waiting: int(h.waiting.Load()), Refused: h.refused.Load()}
}

// Memory is how many bytes passwords of today's cost are hashed in when all slots are taken.
func (h *Hasher) Memory() int { return cap(h.slots) * int(h.params.Memory) << 10 }

// New returns a Hasher.
func New(o Options) *Hasher {
	if o.Params == (Params{}) {
		o.Params = DefaultParams
	}
	if o.Slots == 0 {
		o.Slots = runtime.GOMAXPROCS(0)
	}
	if o.Wait == 0 {
		o.Wait = 5 * time.Second
	}
	dummy := func(plain string) bool {
		derive(plain, make([]byte, saltBytes), o.Params)
		return false
	}
	return &Hasher{params: o.Params, dummy: dummy, slots: make(chan struct{}, o.Slots), wait: o.Wait}
}

// Encode returns a password as an argon2id PHC string, under a salt of its own. It is ErrBusy where no slot became free
// in time.
func (h *Hasher) Encode(ctx context.Context, plain string) (string, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails: it ends the program rather
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	key := derive(plain, salt, h.params)
	return phcPrefix(h.params) + phcBase64.EncodeToString(salt) + "$" + phcBase64.EncodeToString(key), nil
}

// IsSet tells whether encoded stands for a password: it is not empty, nor one of Django's marks that there is none.
func IsSet(encoded string) bool { return encoded != "" && encoded[0] != '!' }

// Verify reports whether encoded was made from plain, by Encode or by Django. If there is no password, it reports false,
// after the time that a password of today's cost takes. It is ErrBusy if no slot became free in time, and ErrMalformed if
// encoded cannot be read.
func (h *Hasher) Verify(ctx context.Context, encoded, plain string) (bool, error) {
	slot, err := h.Reserve(ctx)
	if err != nil {
		return false, err
	}
	defer slot.Release()
	return slot.Verify(encoded, plain)
}

// Slot is a slot for one password, which is taken before it is known whose encoding is verified.
type Slot struct {
	hasher *Hasher
	// Release gives the slot back. It must be called once.
	Release func()
}

// Reserve takes a slot. It is ErrBusy if none became free in time.
func (h *Hasher) Reserve(ctx context.Context) (Slot, error) {
	release, err := h.acquire(ctx)
	return Slot{h, release}, err
}

// Verify is Hasher.Verify in the slot, which it does not release. It is never ErrBusy.
func (s Slot) Verify(encoded, plain string) (bool, error) {
	if !IsSet(encoded) {
		return s.hasher.dummy(plain), nil
	}
	read, err := parse(encoded)
	if err != nil {
		return false, err
	}
	return read.verify(plain), nil
}

// Outdated tells whether an encoded password is not as Encode would make it today, in algorithm or cost.
func (h *Hasher) Outdated(encoded string) bool {
	return !strings.HasPrefix(encoded, phcPrefix(h.params))
}

// acquire takes a slot, to be given back by calling release.
func (h *Hasher) acquire(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.wait, ErrBusy)
	defer cancel()
	var span trace.Span = noop.Span{}
	if caller := trace.SpanFromContext(ctx); caller.IsRecording() {
		_, span = caller.TracerProvider().Tracer("github.com/rollbook/rollbook/password").Start(ctx, "hash a password")
	}
	h.waiting.Add(1)
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		span.AddEvent("slot taken")
		return func() { <-h.slots; span.End() }, nil
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), ErrBusy) {
			h.refused.Add(1)
		}
		span.End()
		return nil, fmt.Errorf("wait for a hashing slot: %w", context.Cause(ctx))
	}
}

func derive(plain string, salt []byte, p Params) []byte {
	return argon2.IDKey([]byte(plain), salt, p.Time, p.Memory, p.Threads, keyBytes)
}
