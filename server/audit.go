package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Event is a security event: a line of the audit log.
type Event string

// The events. docs/operating.md lists them with their keys; a test compares the two.
const (
	EventRegistered            Event = "registered"
	EventSignedIn              Event = "signed in"
	EventRefused               Event = "refused"              // the credentials were wrong
	EventThrottled             Event = "throttled"            // a rate limit refused the attempt
	EventNameTaken             Event = "name taken"           // the account of a person in the directory has another owner
	EventUnauthorized          Event = "unauthorized"         // 401
	EventForbidden             Event = "forbidden"            // 403, or the 404 that hides another account
	EventRegistrationRefused   Event = "registration refused" // any 4xx but 429
	EventPasswordChangeRefused Event = "password change refused"
	EventTokenRevoked          Event = "token revoked"
	EventTokensRevoked         Event = "all tokens revoked" //nolint:gosec // an event, not a credential
	EventTokenImported         Event = "token imported"     // from another server, or its expiry was
	EventPasswordChanged       Event = "password changed"
	EventEmailChanged          Event = "email changed"   // and perhaps other fields
	EventProfileChanged        Event = "profile changed" // without the email address
	EventInvited               Event = "invited"         // with a one-time code
	EventActivated             Event = "activated"
	EventDeactivated           Event = "deactivated"
	EventDeleted               Event = "deleted"
	EventLimitsCleared         Event = "limits cleared"
	EventImportStarted         Event = "import started"
	EventImportEnded           Event = "import ended"
	EventHashesExported        Event = "hashes exported"
	EventCopyStarted           Event = "copy started" // of the whole database
	EventCopyEnded             Event = "copy ended"
)

// requestEvents are those that requests can cause.
var requestEvents = []Event{
	EventRegistered, EventSignedIn, EventRefused, EventThrottled, EventNameTaken, EventUnauthorized, EventForbidden,
	EventRegistrationRefused, EventPasswordChangeRefused, EventTokenRevoked, EventTokensRevoked, EventPasswordChanged,
	EventEmailChanged, EventProfileChanged, EventActivated,
}

// The keys of audit lines, beside event, account and address.
const (
	keyActor     = "actor"
	keyReason    = "reason"
	keyOperation = "operation"
	keyLimit     = "limit"
	keyFields    = "fields"
	keyCount     = "count"
	keyRequest   = "id"
)

// Audit writes one line about an event: the account, or unknown, the address or other source, and more. Nothing that was
// typed as a name or password may be in it.
func Audit(ctx context.Context, log *slog.Logger, what Event, account uuid.UUID, from string, more ...slog.Attr) {
	attrs := []slog.Attr{slog.String("event", string(what)), slog.String("account", orUnknown(account)), slog.String("address", from)}
	log.LogAttrs(ctx, slog.LevelInfo, "audit", append(attrs, more...)...)
}

// orUnknown is the id of an account, or unknown.
func orUnknown(account uuid.UUID) string {
	if account == uuid.Nil {
		return "unknown"
	}
	return account.String()
}

// audit counts an event that a request caused, and writes its line at once.
func (s *Server) audit(ctx context.Context, what Event, account uuid.UUID, more ...slog.Attr) {
	s.metrics.events.WithLabelValues(string(what)).Inc()
	by := callerOf(ctx)
	more = append([]slog.Attr{ActorAttr(orUnknown(by.account()))}, more...)
	Audit(ctx, s.log, what, account, by.address.String(), append(more, slog.String(keyRequest, by.request))...)
}

// auditRepeatable counts an event that clients can cause at little cost. The trail decides whether it gets a line now, and
// auditRepeatable reports that.
func (s *Server) auditRepeatable(ctx context.Context, r repeatable) (written bool) {
	s.metrics.events.WithLabelValues(string(r.event)).Inc()
	by := callerOf(ctx)
	r.actor = by.account()
	return s.trail.repeat(ctx, r, by.address, by.request)
}

// auditThrottled audits an attempt that a rate limit refused. If it is only counted, so is its request's line.
func (s *Server) auditThrottled(ctx context.Context, limit string, account uuid.UUID) {
	written := s.auditRepeatable(ctx, repeatable{event: EventThrottled, limit: limit, target: account})
	callerOf(ctx).counted = !written
}

// TokenAttr names the token that an event is about.
func TokenAttr(id uuid.UUID) slog.Attr { return slog.String("token", id.String()) }

// ActorAttr names who or what caused an event.
func ActorAttr(name string) slog.Attr { return slog.String(keyActor, name) }

// ProfileEvent returns the event that a change of an account's fields is, and the attribute that lists them.
func ProfileEvent(fields ...string) (Event, slog.Attr) {
	what := EventProfileChanged
	if slices.Contains(fields, "email") {
		what = EventEmailChanged
	}
	return what, slog.String(keyFields, strings.Join(fields, ","))
}
