package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// detailError is a problem of the request as a whole.
type detailError struct {
	status     int
	detail     string
	retryAfter int // seconds that the client is asked to wait; 0 says nothing about it
}

func newDetail(status int, detail string) detailError {
	return detailError{status: status, detail: detail}
}

func (e detailError) Error() string { return e.detail }

// fieldErrors are the problems of a request's fields, by the fields' names.
type fieldErrors map[string][]string

func (e fieldErrors) Error() string { return fmt.Sprintf("%d fields are wrong", len(e)) }

// nonField is the name under which DRF puts the problems that belong to no field.
const nonField = "non_field_errors"

// UsernameTaken says that another account has the username.
const UsernameTaken = "A user with that username already exists."

var (
	errNoCredentials   = newDetail(http.StatusUnauthorized, "Authentication credentials were not provided.")
	errTokenMissing    = newDetail(http.StatusUnauthorized, "Invalid token header. No credentials provided.")
	errTokenSpaces     = newDetail(http.StatusUnauthorized, "Invalid token header. Token string should not contain spaces.")
	errTokenCharacters = newDetail(http.StatusUnauthorized, "Invalid token header. Token string should not contain invalid characters.")
	errTokenInvalid    = newDetail(http.StatusUnauthorized, "Invalid token.")
	errNotOwner        = newDetail(http.StatusForbidden, "You do not have permission to perform this action.")
	errNotFound        = newDetail(http.StatusNotFound, "Not found.")
	errSlowBody        = newDetail(http.StatusRequestTimeout, "The request body did not arrive in time.")
	errUnreadableBody  = newDetail(http.StatusBadRequest, "The request body could not be read.")
	errUnavailable     = detailError{http.StatusServiceUnavailable, "Service temporarily unavailable, try again later.", 1}
	errInternal        = newDetail(http.StatusInternalServerError, "A server error occurred.")

	errUsernameTaken = fieldErrors{"username": {UsernameTaken}}
)

var (
	// errBadCredentials means that no account has these credentials.
	errBadCredentials = errors.New("bad credentials")
	// errCurrentPassword means that the account's password is another.
	errCurrentPassword = errors.New("wrong current password")
	// errBadCode means that the account has no such one-time code.
	errBadCode = errors.New("bad code")
)

// answers says what errors are to the client that are not made to be told. The first that matches counts.
var answers = []struct{ is, answer error }{
	{directory.ErrUnavailable, errUnavailable}, // also of a login that was refused by then: see Server.verify
	{password.ErrBusy, errUnavailable},
	{errBadCredentials, fieldErrors{nonField: {"Unable to log in with provided credentials."}}},
	{errCurrentPassword, fieldErrors{"current_password": {"Your old password was entered incorrectly. Please enter it again."}}},
	{errBadCode, fieldErrors{nonField: {"The code is wrong, was used or has expired. Please ask for a new one."}}},
	{repository.ErrUsernameTaken, errUsernameTaken},
	{repository.ErrNotFound, errNotFound},
	{repository.ErrUnavailable, errUnavailable},
	{password.ErrBreachedList, errUnavailable},
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
	detail, body := answer(err, c.Request().Method)
	header := c.Response().Header()
	switch detail.status {
	case http.StatusUnauthorized:
		header.Set(echo.HeaderWWWAuthenticate, "Token")
	case http.StatusMethodNotAllowed:
		header.Set(echo.HeaderAllow, s.allowed(c))
	}
	if detail.retryAfter > 0 {
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(detail.retryAfter))
	}
	if err := c.JSON(detail.status, body); err != nil {
		s.log.LogAttrs(c.Request().Context(), slog.LevelWarn, "answer not sent", slog.Any("error", err))
	}
}

// answer is what an error is to the client, and the body that says so.
func answer(err error, method string) (detail detailError, body any) {
	for _, a := range answers {
		if errors.Is(err, a.is) {
			err = a.answer
			break
		}
	}
	if fields, ok := errors.AsType[fieldErrors](err); ok {
		return newDetail(http.StatusBadRequest, fields.Error()), fields
	}
	detail, ok := errors.AsType[detailError](err)
	switch {
	case ok:
	case errors.Is(err, echo.ErrMethodNotAllowed):
		detail = newDetail(http.StatusMethodNotAllowed, fmt.Sprintf("Method %q not allowed.", method))
	default:
		detail = errInternal
	}
	return detail, map[string]string{"detail": detail.detail}
}

// allowed returns the methods that the path of a request has: those of the contract, or what Echo knows of others.
func (s *Server) allowed(c echo.Context) string {
	if allow, ok := s.allow[c.Path()]; ok {
		return allow
	}
	allow, _ := c.Get(echo.ContextKeyHeaderAllow).(string)
	return allow
}
