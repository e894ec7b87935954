package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// Throttle limits attempts, over all instances together. A 0 turns a limit off.
type Throttle struct {
	// Failures is how many logins in a row may fail for one account from one address before each further one has to
	// wait: Backoff, then twice as long each time, BackoffMax at most. A login that succeeds forgets them.
	Failures            int
	Backoff, BackoffMax time.Duration
	// PerAccount is how many logins one account may have in an hour, from all addresses together.
	PerAccount int
	// PerAddress is how many logins one address may have in ten minutes, to all accounts together.
	PerAddress int
	// Registrations is how many registrations one address may have in an hour.
	Registrations int
}

const (
	accountWindow      = time.Hour
	addressWindow      = 10 * time.Minute
	registrationWindow = time.Hour
)

// throttledError means that an attempt came too early, by that much.
type throttledError time.Duration

// seconds is how long to wait, in whole seconds and at least one.
func (e throttledError) seconds() int { return max(1, int(math.Ceil(time.Duration(e).Seconds()))) }

func (e throttledError) Error() string {
	unit := "seconds"
	if e.seconds() == 1 {
		unit = "second"
	}
	return fmt.Sprintf("Request was throttled. Expected available in %d %s.", e.seconds(), unit)
}

func (e throttledError) answer() detailError {
	return detailError{http.StatusTooManyRequests, e.Error()}
}

// admitLogin takes a place for one try of an account's password, before anything is looked at. The keys are those of the
// queues, first the one to forget when it succeeds. Unknown accounts are no exception.
func (s *Server) admitLogin(ctx context.Context, username string) (keys [][]byte, err error) {
	if s.throttle.Failures == 0 && s.throttle.PerAccount == 0 && s.throttle.PerAddress == 0 {
		return nil, nil // there are no queues
	}
	address := callerOf(ctx).address
	places := []repository.Place{
		{
			Key:  s.throttles.Key("login", username, address),
			Most: s.throttle.Failures, Backoff: s.throttle.Backoff, BackoffMax: s.throttle.BackoffMax,
		},
		{Key: s.throttles.Key("account", username), Most: s.throttle.PerAccount, Window: accountWindow},
		{Key: s.throttles.Key("address", address), Most: s.throttle.PerAddress, Window: addressWindow},
	}
	for _, place := range places {
		keys = append(keys, place.Key)
	}
	return keys, s.admit(ctx, places...)
}

// admitRegistration takes a place for one registration.
func (s *Server) admitRegistration(ctx context.Context) error {
	if s.throttle.Registrations == 0 {
		return nil
	}
	return s.admit(ctx, repository.Place{
		Key:  s.throttles.Key("registration", callerOf(ctx).address),
		Most: s.throttle.Registrations, Window: registrationWindow,
	})
}

// admit takes the places that are limited.
func (s *Server) admit(ctx context.Context, places ...repository.Place) error {
	unlimited := func(p repository.Place) bool { return p.Most == 0 }
	wait, err := s.throttles.Take(ctx, slices.DeleteFunc(places, unlimited)...)
	if err == nil && wait > 0 {
		s.audit(ctx, eventThrottled, callerOf(ctx).user.ID)
		return throttledError(wait)
	}
	return err
}

// succeeded forgets the failures of a pair of account and address.
func (s *Server) succeeded(ctx context.Context, keys [][]byte) error {
	if len(keys) == 0 || s.throttle.Failures == 0 {
		return nil
	}
	return s.throttles.Forget(ctx, keys[0])
}

// unanswered gives the places of a try back that nobody could look at: the server was busy, or the database away. Who
// hung up keeps them.
func (s *Server) unanswered(ctx context.Context, keys [][]byte, why error) error {
	busy := errors.Is(why, password.ErrBusy) || errors.Is(why, repository.ErrUnavailable)
	if busy && len(keys) > 0 && ctx.Err() == nil {
		return s.throttles.GiveBack(ctx, keys...)
	}
	return nil
}

// clientAddress returns whom a request came from: the last address of X-Forwarded-For, read from the right, that is not
// one of a trusted proxy; without trusted proxies, the one that is connected. Addresses of IPv6 count by the /64 that a
// household or school has.
func clientAddress(r *http.Request, trusted []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // no network that has addresses
	}
	address := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(address, trusted); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // what a trusted proxy did not write says nothing
		}
		address = hop.Unmap().WithZone("")
	}
	const network = 64
	if prefix, err := address.Prefix(network); err == nil && address.Is6() {
		return prefix.String()
	}
	return address.String()
}

func isTrusted(address netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}
