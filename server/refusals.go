package server

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/rollbook/rollbook/repository"
)

// What refusals are wrapped in whose answer alone does not say the reason.
var (
	errRegistrationClosed = errors.New("registration is closed")
	errPasswordElsewhere  = errors.New("the directory knows the password")
	errHidden             = errors.New("another's profile")
	errWeakPassword       = errors.New("weak password")
)

// reasons are the reasons of refusals in audit lines. The first that matches counts.
var reasons = []struct {
	is     error
	reason string
}{
	{errBadCredentials, "credentials"},
	{errCurrentPassword, "current password"},
	{errBadCode, "code"},
	{errNoCredentials, "no credentials"},
	{errTokenMissing, "no token"},
	{errTokenSpaces, "malformed token"},
	{errTokenCharacters, "malformed token"},
	{errTokenInvalid, "unknown token"},
	{errNotOwner, "not the owner"},
	{errHidden, "hidden profile"},
	{errRegistrationClosed, "registration closed"},
	{errPasswordElsewhere, "password in the directory"},
	{repository.ErrUsernameTaken, "name taken"},
	{errWeakPassword, "weak password"},
}

// reasonOf returns why something was refused, and which fields were wrong.
func reasonOf(err error) (reason, fields string) {
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return r.reason, ""
		}
	}
	if wrong, ok := errors.AsType[fieldErrors](err); ok {
		return "invalid fields", strings.Join(slices.Sorted(maps.Keys(wrong)), ",")
	}
	return "invalid body", ""
}

// refusalOf returns the event that an operation's error is. There is none if it is no refusal, or has its line already.
func refusalOf(op *operation, err error) (what Event, ok bool) {
	detail, _ := answer(err, op.method)
	switch {
	case errors.Is(err, errBadCredentials), errors.Is(err, errCurrentPassword), errors.Is(err, errBadCode): // see attempt
		return "", false
	case errors.Is(err, errHidden):
		return EventForbidden, true
	case detail.status == http.StatusTooManyRequests, detail.status == http.StatusNotFound, detail.status >= http.StatusInternalServerError:
		return "", false
	case op.registers:
		return EventRegistrationRefused, true
	case detail.status == http.StatusUnauthorized:
		return EventUnauthorized, true
	case detail.status == http.StatusForbidden:
		return EventForbidden, true
	case op.setsPassword():
		return EventPasswordChangeRefused, true
	case op.open && op.body != nil: // a login
		return EventRefused, true
	}
	return "", false
}

// setsPassword reports whether the body has a new password.
func (op *operation) setsPassword() bool {
	return slices.ContainsFunc(op.fields, func(f textField) bool { return f.policy })
}

// auditRefusal audits an operation that ended with an error, if that is a security event.
func (s *Server) auditRefusal(c echo.Context, op *operation, err error) {
	what, ok := refusalOf(op, err)
	if !ok {
		return
	}
	ctx := c.Request().Context()
	r := repeatable{event: what, operation: op.id, target: s.targetOf(ctx, c, what)}
	r.reason, r.fields = reasonOf(err)
	s.auditRepeatable(ctx, r)
}

// targetOf returns the account that a refusal is about: the one in the path if its existence was checked, or the caller's.
func (s *Server) targetOf(ctx context.Context, c echo.Context, what Event) uuid.UUID {
	if what == EventForbidden {
		if id, err := parseID(c.Param(paramID)); err == nil {
			return id
		}
	}
	return callerOf(ctx).account()
}
