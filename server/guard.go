package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/rollbook/rollbook/repository"
)

// paramID is the path parameter that names an account.
const paramID = "id"

// caller is who calls an operation.
type caller struct {
	request string             // its id
	address netip.Addr         // the client's
	client  string             // what the client calls itself
	user    repository.Profile // nobody where the operation is open
	token   uuid.UUID

	identified uuid.UUID // the account whose secret or registration the caller has shown in an open operation
	counted    bool      // the request is counted in a line of the audit log, and needs none of its own
}

// account returns the caller's account, or uuid.Nil if it is not known.
func (c *caller) account() uuid.UUID {
	if c.user.ID != uuid.Nil {
		return c.user.ID
	}
	return c.identified
}

type callerKey struct{}

// callerOf returns who calls, as watch and the guard have set it, or a zero caller outside a request.
func callerOf(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{}
}

// guard lets through only requests that the contract allows: it authenticates, authorises, makes the body canonical and
// checks it, in this order.
func (s *Server) guard(op *operation) echo.MiddlewareFunc {
	if op == nil {
		panic("gen/ has an operation that openapi.yaml has not: run `make gen`")
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := s.letIn(c, op)
			if err == nil {
				err = next(c)
			}
			if err != nil {
				s.auditRefusal(c, op, err)
			}
			return err
		}
	}
}

// letIn is the guard of one request.
func (s *Server) letIn(c echo.Context, op *operation) error {
	by := callerOf(c.Request().Context())
	by.client = strings.ToValidUTF8(c.Request().UserAgent(), "\uFFFD")
	if op.registers && s.closed != "" {
		return fmt.Errorf("%w: %w", errRegistrationClosed, newDetail(http.StatusForbidden, s.closed))
	}
	if !op.open {
		if err := s.authenticate(c.Request(), by); err != nil {
			return err
		}
		if err := s.authorise(c, op, by.user.ID); err != nil {
			return err
		}
	}
	return s.check(c, op, by.user)
}

// authorise refuses what a user may not do. All parameters are ids, as the contract was made sure of; one of another spelling than a
// hyphenated UUID names nothing.
func (s *Server) authorise(c echo.Context, op *operation, user uuid.UUID) error {
	var account uuid.UUID
	for _, name := range c.ParamNames() {
		id, err := parseID(c.Param(name))
		if err != nil {
			return err
		}
		if name == paramID {
			account = id
		}
	}
	if !op.owner || account == user {
		return nil
	}
	if _, err := s.users.ByID(c.Request().Context(), account); err != nil {
		return err
	}
	return errNotOwner
}

// parseID reads a hyphenated UUID, in either case. It is repository.ErrNotFound for anything else.
func parseID(text string) (uuid.UUID, error) {
	const hyphenated = 36
	id, err := uuid.Parse(text)
	if err != nil || len(text) != hyphenated {
		return uuid.UUID{}, fmt.Errorf("id %q: %w", text, repository.ErrNotFound)
	}
	return id, nil
}

// check makes the request's body canonical and holds it against the contract, and new passwords against the policy of this
// installation.
func (s *Server) check(c echo.Context, op *operation, user repository.Profile) error {
	if op.body == nil {
		return nil
	}
	fields, problems, err := op.canonical(c)
	if err != nil {
		return err
	}
	violations, err := op.violations(fields, problems)
	if err != nil {
		return fmt.Errorf("check the body: %w", err)
	}
	weak := weaknesses(s.policy, op.fields, fields, user)
	err = fieldErrorsOf(slices.Concat(problems, weak, violations))
	if len(weak) > 0 && len(problems)+len(violations) == 0 {
		err = fmt.Errorf("%w: %w", errWeakPassword, err)
	}
	if err != nil {
		return err
	}
	return replaceBody(c.Request(), fields)
}

// replaceBody puts JSON in the place of whatever the body was.
func replaceBody(r *http.Request, fields map[string]any) error {
	text, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("write the canonical body: %w", err)
	}
	r.Header.Set(echo.HeaderContentType, mediaJSON)
	r.Body = io.NopCloser(bytes.NewReader(text))
	r.ContentLength = int64(len(text))
	return nil
}
