package server

import (
	"context"
	"log/slog"

	"github.com/google/uuid"
)

// Event is something that whoever answers for the accounts may have to tell about.
type Event string

// The events.
const (
	EventRegistered      Event = "registered"
	EventSignedIn        Event = "signed in"
	EventRefused         Event = "refused"    // the credentials were wrong
	EventThrottled       Event = "throttled"  // they were not looked at
	EventNameTaken       Event = "name taken" // they are those of somebody in the directory; the account is another's of the same name
	EventTokenRevoked    Event = "token revoked"
	EventTokensRevoked   Event = "all tokens revoked" //nolint:gosec // an event, not a credential
	EventPasswordChanged Event = "password changed"
	EventInvited         Event = "invited" // with a one-time code
	EventActivated       Event = "activated"
	EventDeactivated     Event = "deactivated"
	EventDeleted         Event = "deleted"
	EventLimitsCleared   Event = "limits cleared"
)

// requestEvents are those that requests can cause.
var requestEvents = []Event{
	EventRegistered, EventSignedIn, EventRefused, EventThrottled, EventNameTaken, EventTokenRevoked, EventTokensRevoked, EventPasswordChanged,
	EventActivated,
}

// Audit writes one line about an event: the account, where it is known, whence it was caused, and more. What was typed as
// a name or password must never be in it.
func Audit(ctx context.Context, log *slog.Logger, what Event, account uuid.UUID, from string, more ...slog.Attr) {
	name := account.String()
	if account == uuid.Nil {
		name = "unknown"
	}
	attrs := []slog.Attr{slog.String("event", string(what)), slog.String("account", name), slog.String("address", from)}
	log.LogAttrs(ctx, slog.LevelInfo, "audit", append(attrs, more...)...)
}

// audit is Audit for what a request caused.
func (s *Server) audit(ctx context.Context, what Event, account uuid.UUID, more ...slog.Attr) {
	s.metrics.events.WithLabelValues(string(what)).Inc()
	by := callerOf(ctx)
	Audit(ctx, s.log, what, account, by.address.String(), append(more, slog.String("id", by.request))...)
}

// TokenAttr names the token that an event is about.
func TokenAttr(id uuid.UUID) slog.Attr { return slog.String("token", id.String()) }

// auditThrottled audits an attempt that a rate limit refused.
func (s *Server) auditThrottled(ctx context.Context, limit string, account uuid.UUID) {
	s.audit(ctx, EventThrottled, account, slog.String("limit", limit))
}
