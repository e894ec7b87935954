package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// Throttle configures the rate limits, over all instances together. A 0 turns a limit off. The network of an attempt is
// an IPv4 address or an IPv6 /56. A network is known to an account that signed in from there within 30 days.
type Throttle struct {
	// Failures is how many attempts in a row may fail for one account from one network before each further one has to
	// wait: Backoff, then twice as long each time, BackoffMax at most. A success forgets them.
	Failures            int
	Backoff, BackoffMax time.Duration
	// PerAccount is how many logins of an account may fail in an hour, from all unknown networks together.
	PerAccount int
	// Successes is how many logins and password changes of an account may succeed in an hour.
	Successes int
	// PerAddress is how many logins from one network may fail in ten minutes, for all accounts to which it is unknown;
	// the same goes for one-time codes, whatever the account.
	PerAddress int
	// Registrations is how many registrations one network may have in an hour.
	Registrations int
	// DirectoryFailures is how many logins may fail in a row for one entry of the directory, each within ten minutes of
	// the one before. Unknown networks have five eighths of them.
	DirectoryFailures int
	// Exempt are the addresses that the limits per address and per /48 do not apply to.
	Exempt []netip.Prefix
}

const (
	accountWindow      = time.Hour
	addressWindow      = 10 * time.Minute
	registrationWindow = time.Hour
	directoryWindow    = 10 * time.Minute

	// siteFactor is how many times the limit of a network a /48 has.
	siteFactor = 4
	// siteShare is the part of PerAccount that one /48 may use.
	siteShare = 5
)

// The names of the limits, for operators.
const (
	limitPair             = "account and network"
	limitAccount          = "account"
	limitAccountSite      = "account and site"
	limitSuccesses        = "successes"
	limitDirectory        = "directory"
	limitDirectoryUnknown = "directory, unknown networks"
	limitAddress          = "address"
	limitSite             = "site"
	limitCodeAddress      = "code, address"
	limitCodeSite         = "code, site"
	limitChange           = "password change"
	limitRegistration     = "registration, address"
	limitRegistrationSite = "registration, site"
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

// attempt is a try of an account's secret.
type attempt struct {
	username  string // for the audit alone
	admission repository.Admission
}

// attempt lets somebody try a secret once the limits admit it. If try returns errBadCredentials, errCurrentPassword or
// errBadCode, the answer is not sent before refuseAfter, so that its time reveals nothing. try also returns the account,
// for the audit.
func (s *Server) attempt(
	ctx context.Context, username string, networks [][]byte, limits []repository.Limit,
	try func(*attempt) (account uuid.UUID, err error),
) error {
	began := time.Now() // the body has arrived: a client that sends it late does not shorten the wait
	a := &attempt{username: username}
	if err := s.admit(ctx, a, networks, limits); err != nil {
		return err
	}
	account, err := try(a)
	_, weak := errors.AsType[fieldErrors](err)
	switch {
	case err == nil, weak: // the secret was the right one
		return errors.Join(err, s.settle(ctx, a, repository.Succeeded))
	case errors.Is(err, errBadCredentials), errors.Is(err, errCurrentPassword), errors.Is(err, errBadCode):
		reason, _ := reasonOf(err)
		s.audit(ctx, EventRefused, account, slog.String(keyReason, reason))
		s.settleRefused(ctx, a, repository.Failed)
		wait(ctx, began.Add(s.refuseAfter))
		return err
	}
	outcome := repository.Failed // a client that hangs up does not get its place back
	if isUnanswered(err) && ctx.Err() == nil {
		outcome = repository.Unanswered
	}
	s.settleRefused(ctx, a, outcome)
	return err
}

// isUnanswered reports whether an attempt failed without anybody having looked at the secret. A password that was sent to
// the directory counts there, whatever became of the answer.
func isUnanswered(err error) bool {
	reasons := []error{password.ErrBusy, password.ErrBreachedList, repository.ErrUnavailable, directory.ErrUnavailable}
	return !errors.Is(err, directory.ErrTried) && slices.ContainsFunc(reasons, func(is error) bool { return errors.Is(err, is) })
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

// Attempts that only others in progress keep out ask again after these pauses.
const (
	firstRetry = 50 * time.Millisecond
	maxRetry   = 800 * time.Millisecond

	defaultAdmissionWait = 5 * time.Second
)

// admit takes places for an attempt, before anything is looked at. An unknown account has the same limits as any other.
func (s *Server) admit(ctx context.Context, a *attempt, networks [][]byte, limits []repository.Limit) error {
	if s.limits == nil {
		return nil
	}
	deadline := time.Now().Add(s.admissionWait)
	for retry := firstRetry; ; retry = min(2*retry, maxRetry) {
		admission, err := s.limits.Take(ctx, networks, limits...)
		switch {
		case err != nil:
			return err
		case !admission.Refused():
			a.admission = a.admission.And(admission)
			return nil
		case !admission.InProgress:
			return s.refuse(ctx, a, admission)
		case time.Now().After(deadline):
			return fmt.Errorf("attempts in progress: %w", password.ErrBusy)
		}
		wait(ctx, time.Now().Add(retry))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// refuse audits an attempt that a limit refused, and returns its answer.
func (s *Server) refuse(ctx context.Context, a *attempt, admission repository.Admission) error {
	var account uuid.UUID
	if a.username != "" { // for the line alone: the answer does not depend on it
		user, err := s.users.ByUsername(ctx, a.username)
		if err != nil && !errors.Is(err, repository.ErrNotFound) {
			return err
		}
		account = user.ID
	}
	s.auditThrottled(ctx, admission.Limit, account)
	return throttled(admission.Wait)
}

// settle records how an attempt ended.
func (s *Server) settle(ctx context.Context, a *attempt, o repository.Outcome) error {
	if s.limits == nil {
		return nil
	}
	return s.limits.Settle(context.WithoutCancel(ctx), a.admission, o)
}

// settleRefused is settle for an attempt whose own error is the answer.
func (s *Server) settleRefused(ctx context.Context, a *attempt, o repository.Outcome) {
	if err := s.settle(ctx, a, o); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "rate limit not settled", slog.Any("error", err))
	}
}

// remember makes the network of an attempt known to the account that it signed in to, unless its password has changed. A
// local account has one name. One of the directory has several, in any spelling.
func (s *Server) remember(ctx context.Context, a *attempt, user repository.User) error {
	if s.limits == nil || a.admission.Remembered {
		return nil
	}
	names := []string{nameOf(user.Username)}
	if user.DirectoryID != nil {
		names = []string{foldedName(user.Username), foldedName(user.Email), entryOf(*user.DirectoryID)}
	}
	return s.limits.Remember(ctx, s.networks(callerOf(ctx).address, names...), user.ID, user.Password)
}
