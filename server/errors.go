package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// retryAfter is how many seconds a client is asked to wait when the server or its database is busy or away.
const retryAfter = "1"

// detailError is a problem of the request as a whole.
type detailError struct {
	status int
	detail string
}

func (e detailError) Error() string { return e.detail }

// fieldErrors are the problems of a request's fields, by the fields' names.
type fieldErrors map[string][]string

func (e fieldErrors) Error() string { return fmt.Sprintf("%d fields are wrong", len(e)) }

// nonField is the name under which DRF puts the problems that belong to no field.
const nonField = "non_field_errors"

var (
	errNoCredentials   = detailError{http.StatusUnauthorized, "Authentication credentials were not provided."}
	errTokenMissing    = detailError{http.StatusUnauthorized, "Invalid token header. No credentials provided."}
	errTokenSpaces     = detailError{http.StatusUnauthorized, "Invalid token header. Token string should not contain spaces."}
	errTokenCharacters = detailError{http.StatusUnauthorized, "Invalid token header. Token string should not contain invalid characters."}
	errTokenInvalid    = detailError{http.StatusUnauthorized, "Invalid token."}
	errNotOwner        = detailError{http.StatusForbidden, "You do not have permission to perform this action."}
	errNotFound        = detailError{http.StatusNotFound, "Not found."}
	errSlowBody        = detailError{http.StatusRequestTimeout, "The request body did not arrive in time."}
	errUnreadableBody  = detailError{http.StatusBadRequest, "The request body could not be read."}
	errUnavailable     = detailError{http.StatusServiceUnavailable, "Service temporarily unavailable, try again later."}
	errInternal        = detailError{http.StatusInternalServerError, "A server error occurred."}

	errUsernameTaken = fieldErrors{"username": {"A user with that username already exists."}}
)

var (
	// errBadCredentials means that no account has these credentials.
	errBadCredentials = errors.New("bad credentials")
	// errCurrentPassword means that the account's password is another.
	errCurrentPassword = errors.New("wrong current password")
)

// answers says what errors are to the client that are not made to be told. The first that matches counts.
var answers = []struct{ is, answer error }{
	{errBadCredentials, fieldErrors{nonField: {"Unable to log in with provided credentials."}}},
	{errCurrentPassword, fieldErrors{"current_password": {"Your old password was entered incorrectly. Please enter it again."}}},
	{repository.ErrUsernameTaken, errUsernameTaken},
	{repository.ErrNotFound, errNotFound},
	{repository.ErrUnavailable, errUnavailable},
	{password.ErrBusy, errUnavailable},
	{context.Canceled, errUnavailable},
	{context.DeadlineExceeded, errUnavailable},
	{echo.ErrNotFound, errNotFound},
}

// writeError answers a request with an error; it is the one place that does. What is not known is a 500, whose cause is
// logged and not told.
func (s *Server) writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, body := s.answer(err, c)
	throttled, _ := errors.AsType[throttledError](err)
	header := c.Response().Header()
	switch status {
	case http.StatusUnauthorized:
		header.Set(echo.HeaderWWWAuthenticate, "Token")
	case http.StatusMethodNotAllowed:
		header.Set(echo.HeaderAllow, s.allowed(c))
	case http.StatusServiceUnavailable:
		header.Set(echo.HeaderRetryAfter, retryAfter)
	case http.StatusTooManyRequests:
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(throttled.seconds()))
	}
	if err := c.JSON(status, body); err != nil {
		s.log.LogAttrs(c.Request().Context(), slog.LevelWarn, "answer not sent", slog.Any("error", err))
	}
}

func (s *Server) answer(err error, c echo.Context) (status int, body any) {
	for _, a := range answers {
		if errors.Is(err, a.is) {
			err = a.answer
			break
		}
	}
	if fields, ok := errors.AsType[fieldErrors](err); ok {
		return http.StatusBadRequest, fields
	}
	detail, ok := errors.AsType[detailError](err)
	throttled, early := errors.AsType[throttledError](err)
	switch {
	case ok:
	case early:
		detail = throttled.answer()
	case errors.Is(err, echo.ErrMethodNotAllowed):
		detail = detailError{http.StatusMethodNotAllowed, fmt.Sprintf("Method %q not allowed.", c.Request().Method)}
	default:
		detail = errInternal
	}
	return detail.status, map[string]string{"detail": detail.detail}
}

// allowed returns the methods that the path of a request has: those of the contract, or what Echo knows of others.
func (s *Server) allowed(c echo.Context) string {
	if allow, ok := s.allow[c.Path()]; ok {
		return allow
	}
	allow, _ := c.Get(echo.ContextKeyHeaderAllow).(string)
	return allow
}
