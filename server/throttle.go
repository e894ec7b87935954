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

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
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

// throttled says that an attempt came too early, by that much.
func throttled(wait time.Duration) detailError {
	seconds, unit := max(1, int(math.Ceil(wait.Seconds()))), "seconds"
	if seconds == 1 {
		unit = "second"
	}
	text := fmt.Sprintf("Request was throttled. Expected available in %d %s.", seconds, unit)
	return detailError{http.StatusTooManyRequests, text, seconds}
}

// attempt lets somebody try a secret of an account, once there is a place for it. What try does is refused where it is
// errBadCredentials, errCurrentPassword or errBadCode: not before refuseAfter, whatever it found, so that the time tells
// nothing. try also returns the account, for the audit.
func (s *Server) attempt(ctx context.Context, username string, try func() (account uuid.UUID, err error)) error {
	began := time.Now() // the body has arrived: who sends it late does not shorten the wait
	places, err := s.admitLogin(ctx, username)
	if err != nil {
		return err
	}
	account, err := try()
	_, weak := errors.AsType[fieldErrors](err)
	switch {
	case err == nil, weak: // the secret was the right one
		return errors.Join(err, s.succeeded(ctx, places))
	case errors.Is(err, errBadCredentials), errors.Is(err, errCurrentPassword), errors.Is(err, errBadCode):
		s.audit(ctx, EventRefused, account)
		wait(ctx, began.Add(s.refuseAfter))
		return err
	}
	return errors.Join(err, s.unanswered(ctx, places, err))
}

// wait returns at a time, or when the context ends.
func wait(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// admitLogin takes a place for one try of an account's password, before anything is looked at. The keys are those of the
// queues, first the one to forget when it succeeds. Unknown accounts are no exception.
func (s *Server) admitLogin(ctx context.Context, username string) (keys [][]byte, err error) {
	if s.throttle.Failures == 0 && s.throttle.PerAccount == 0 && s.throttle.PerAddress == 0 {
		return nil, nil // there are no queues
	}
	network := networkOf(callerOf(ctx).address)
	account, err := s.throttledAs(ctx, username)
	if err != nil {
		return nil, err
	}
	places := []repository.Place{
		{
			Key:  s.throttles.Key("login", account, network),
			Most: s.throttle.Failures, Backoff: s.throttle.Backoff, BackoffMax: s.throttle.BackoffMax,
		},
		{Key: s.throttles.Key("account", account), Most: s.throttle.PerAccount, Window: accountWindow},
		{Key: s.throttles.Key("address", network), Most: s.throttle.PerAddress, Window: addressWindow},
	}
	for _, place := range places {
		keys = append(keys, place.Key)
	}
	wait, err := s.take(ctx, places...)
	if err != nil || wait == 0 {
		return keys, err
	}
	user, err := s.users.ByUsername(ctx, username) // for the line alone: the answer does not depend on it
	if err != nil && !errors.Is(err, repository.ErrNotFound) {
		return nil, err
	}
	s.audit(ctx, EventThrottled, user.ID)
	return nil, throttled(wait)
}

// throttledAs is what tries of an account's password count for: its username; where the directory knows the password, all the spellings
// that the directory does not tell apart, but no local account that is called so.
func (s *Server) throttledAs(ctx context.Context, username string) (string, error) {
	if s.directory == nil {
		return username, nil
	}
	user, err := s.users.ByUsername(ctx, username)
	if err != nil && !errors.Is(err, repository.ErrNotFound) {
		return "", err
	}
	if s.ofDirectory(user) {
		return "in the directory: " + directory.Fold(username), nil // no username has blanks
	}
	return username, nil
}

// admitRegistration takes a place for one registration.
func (s *Server) admitRegistration(ctx context.Context) error {
	if s.throttle.Registrations == 0 {
		return nil
	}
	wait, err := s.take(ctx, repository.Place{
		Key:  s.throttles.Key("registration", networkOf(callerOf(ctx).address)),
		Most: s.throttle.Registrations, Window: registrationWindow,
	})
	if err != nil || wait == 0 {
		return err
	}
	s.audit(ctx, EventThrottled, uuid.Nil)
	return throttled(wait)
}

// take takes the places that are limited, or returns how long to wait for them.
func (s *Server) take(ctx context.Context, places ...repository.Place) (wait time.Duration, err error) {
	unlimited := func(p repository.Place) bool { return p.Most == 0 }
	return s.throttles.Take(ctx, slices.DeleteFunc(places, unlimited)...)
}

// succeeded forgets the failures of a pair of account and address.
func (s *Server) succeeded(ctx context.Context, keys [][]byte) error {
	if len(keys) == 0 || s.throttle.Failures == 0 {
		return nil
	}
	return s.throttles.Forget(ctx, keys[0])
}

// unanswered gives the places of a try back that nobody could look at: the server was busy, or the database or the directory away. Who
// hung up keeps them.
func (s *Server) unanswered(ctx context.Context, keys [][]byte, why error) error {
	busy := errors.Is(why, password.ErrBusy) || errors.Is(why, repository.ErrUnavailable) || errors.Is(why, directory.ErrUnavailable)
	if busy && len(keys) > 0 && ctx.Err() == nil {
		return s.throttles.GiveBack(ctx, keys...)
	}
	return nil
}

// clientAddress returns whom a request came from: the last address of X-Forwarded-For, read from the right, that is not
// one of a trusted proxy; without trusted proxies, the one that is connected. It is the zero address where that has none.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	address := peerOf(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && isTrusted(address, trusted); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // what a trusted proxy did not write says nothing
		}
		address = hop.Unmap().WithZone("")
	}
	return address
}

// peerOf is the address that is connected, and the zero address where that has none.
func peerOf(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // no network that has addresses
	}
	return peer.Addr().Unmap()
}

// fromProxy tells whether it is a trusted proxy that sends a request.
func fromProxy(r *http.Request, trusted []netip.Prefix) bool { return isTrusted(peerOf(r), trusted) }

// networkOf is what attempts from an address count for: the address, and in IPv6 the /56 that a household is commonly
// given (RFC 6177), since whoever has one may use all its addresses.
func networkOf(address netip.Addr) string {
	const household = 56
	if prefix, err := address.Prefix(household); err == nil && address.Is6() {
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
