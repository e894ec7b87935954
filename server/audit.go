package server

import (
	"context"
	"log/slog"

	"github.com/google/uuid"
)

// event is something that whoever answers for the accounts may have to tell about.
type event string

const (
	eventRegistered      event = "registered"
	eventSignedIn        event = "signed in"
	eventRefused         event = "refused"   // the credentials were wrong
	eventThrottled       event = "throttled" // they were not looked at
	eventTokenRevoked    event = "token revoked"
	eventTokensRevoked   event = "all tokens revoked" //nolint:gosec // an event, not a credential
	eventPasswordChanged event = "password changed"
)

// audit writes one line about an event: the account, where it is known, the client's address and the request. What was
// typed as a name or password is never in it.
func (s *Server) audit(ctx context.Context, what event, account uuid.UUID, more ...slog.Attr) {
	by := callerOf(ctx)
	name := account.String()
	if account == uuid.Nil {
		name = "unknown"
	}
	attrs := append([]slog.Attr{
		slog.String("event", string(what)),
		slog.String("account", name),
		slog.String("address", by.address),
		slog.String("id", by.request),
	}, more...)
	s.log.LogAttrs(ctx, slog.LevelInfo, "audit", attrs...)
}
