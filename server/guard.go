package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/rollbook/rollbook/repository"
)

// paramID is the path parameter that names an account.
const paramID = "id"

// principal is who calls an operation that is not open.
type principal struct {
	user  repository.User
	token uuid.UUID
}

type principalKey struct{}

// caller returns the principal of a request. The guard has set it for every operation that is not open.
func caller(ctx context.Context) principal {
	p, _ := ctx.Value(principalKey{}).(principal)
	return p
}

// guard lets through only requests that the contract allows: it authenticates, authorises, makes the body canonical and
// checks it, in this order.
func (s *Server) guard(op *operation) echo.MiddlewareFunc {
	if op == nil {
		panic("gen/ has an operation that openapi.yaml has not: run `make gen`")
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !op.open {
				p, err := s.authenticate(c.Request())
				if err != nil {
					return err
				}
				c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), principalKey{}, p)))
				if err := s.authorise(c, op, p); err != nil {
					return err
				}
			}
			if err := op.check(c); err != nil {
				return err
			}
			return next(c)
		}
	}
}

// authorise refuses what the principal may not do. An id of another spelling than a hyphenated UUID names no account.
func (s *Server) authorise(c echo.Context, op *operation, p principal) error {
	text := c.Param(paramID)
	if text == "" {
		return nil
	}
	id, err := parseID(text)
	if err != nil {
		return err
	}
	if !op.owner || id == p.user.ID {
		return nil
	}
	if _, err := s.users.ByID(c.Request().Context(), id); err != nil {
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

// check makes the request's body canonical and holds the request against the contract.
func (op *operation) check(c echo.Context) error {
	var problems []problem
	if op.hasBody {
		fields, found, err := op.canonical(c)
		if err != nil {
			return err
		}
		if err := replaceBody(c.Request(), fields); err != nil {
			return err
		}
		problems = found
	}
	params := make(map[string]string, len(c.ParamNames()))
	for _, name := range c.ParamNames() {
		params[name] = c.Param(name)
	}
	err := openapi3filter.ValidateRequest(c.Request().Context(), &openapi3filter.RequestValidationInput{
		Request:    c.Request(),
		PathParams: params,
		Route:      op.route,
		Options:    op.options,
	})
	violations, err := problemsOf(err)
	if err != nil {
		return fmt.Errorf("check the request: %w", err)
	}
	return fieldErrorsOf(append(problems, violations...))
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
