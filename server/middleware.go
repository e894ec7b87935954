package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"go.opentelemetry.io/otel/trace"
)

// RequestLine is the message of the line that is written about each request.
const RequestLine = "request"

// watch gives each request an id, and when it is answered counts it and writes one line about it. The line names the route
// and not the path, which could hold anything. The cause of a 5xx is told here and nowhere else.
func (s *Server) watch(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		id := s.requestID(c.Request())
		by := &caller{request: id, address: clientAddress(c.Request(), s.trusted)}
		c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), callerKey{}, by)))
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		err := next(c)
		if err != nil {
			s.writeError(err, c)
		}
		level, status, took := slog.LevelInfo, c.Response().Status, time.Since(start)
		const room = 10
		attrs := append(make([]slog.Attr, 0, room),
			slog.String(keyRequest, id),
			slog.String("method", shortMethod(c.Request().Method)),
			slog.String("route", c.Path()),
			slog.Int("status", status),
			slog.Duration("duration", took),
			slog.String("address", by.address.String()),
		)
		if account := by.account(); account != uuid.Nil {
			attrs = append(attrs, slog.String("account", account.String()))
		}
		if span := trace.SpanContextFromContext(c.Request().Context()); span.IsSampled() {
			attrs = append(attrs, slog.String("trace_id", span.TraceID().String()))
		}
		operation := s.operationOf(c)
		s.describe(c, operation)
		gone := c.Request().Context().Err() != nil // the client has hung up, which is its right
		if gone {
			attrs = append(attrs, slog.Bool("client_gone", gone))
		}
		switch {
		case gone && errors.Is(err, context.Canceled):
			status = statusHungUp
		case errors.Is(err, errEnding): // as it is meant to
		case err != nil && status >= http.StatusInternalServerError:
			level = slog.LevelError
			attrs = append(attrs, slog.Any("error", err))
		}
		s.metrics.answered(operation, status, took)
		if !by.counted {
			s.writeLine(c.Request().Context(), level, attrs)
		}
		return nil
	}
}

// maxLoggedMethod is longer than any method that has a name: clients may send 16 KiB as one.
const maxLoggedMethod = 20

func shortMethod(method string) string {
	if len(method) > maxLoggedMethod {
		return method[:maxLoggedMethod] + "…"
	}
	return method
}

// writeLine does what LogAttrs does, but for looking up which line of the program it is called at.
func (s *Server) writeLine(ctx context.Context, level slog.Level, attrs []slog.Attr) {
	handler := s.log.Handler()
	if !handler.Enabled(ctx, level) {
		return
	}
	line := slog.NewRecord(time.Now(), level, RequestLine, 0)
	line.AddAttrs(attrs...)
	_ = handler.Handle(ctx, line) // there is nobody to tell
}

// requestIDs are the ids that are taken over: of any usual kind, and without anything that would stand out in a log.
var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._~+/=:-]{1,128}$`)

// requestID is the id that a trusted proxy has given a request, or else a new one.
func (s *Server) requestID(r *http.Request) string {
	if given := r.Header.Get(echo.HeaderXRequestID); fromProxy(r, s.trusted) && requestIDs.MatchString(given) {
		return given
	}
	const base, room = 36, 26
	id := make([]byte, 0, room)
	for range 2 {
		id = strconv.AppendUint(id, rand.Uint64(), base) //nolint:gosec // it is no secret
	}
	return string(id)
}

// recoverPanics makes an error of a panic.
var recoverPanics = middleware.RecoverWithConfig(middleware.RecoverConfig{
	DisableErrorHandler: true, // the error goes up to where all are written
	LogErrorFunc: func(_ echo.Context, err error, stack []byte) error {
		return fmt.Errorf("panic: %w\n%s", err, stack)
	},
})

var secure = http.Header{
	echo.HeaderCacheControl:          {"no-store"}, // answers hold tokens and personal data
	echo.HeaderContentSecurityPolicy: {"default-src 'none'; frame-ancestors 'none'"},
	echo.HeaderReferrerPolicy:        {"no-referrer"},
	echo.HeaderXContentTypeOptions:   {"nosniff"},
	echo.HeaderXFrameOptions:         {"DENY"},
}

// secureHeaders tells browsers to do nothing with an answer but read it. The documentation relaxes this for itself.
func secureHeaders(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		maps.Copy(c.Response().Header(), secure) // all answers share the values: to set another replaces one
		return next(c)
	}
}

// crossOrigin lets scripts of other sites call and read the answers. They send their token themselves: no cookie of the
// browser's goes with it.
func (s *Server) crossOrigin(origins []string) echo.MiddlewareFunc {
	const preflightLasts = 600 // seconds
	cors := middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins:  origins,
		AllowMethods:  methods,
		AllowHeaders:  []string{echo.HeaderAuthorization, echo.HeaderContentType},
		ExposeHeaders: []string{echo.HeaderAllow, echo.HeaderRetryAfter, echo.HeaderWWWAuthenticate, echo.HeaderXRequestID},
		MaxAge:        preflightLasts,
	})
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		answer := cors(next)
		return func(c echo.Context) error {
			c.Set(echo.ContextKeyHeaderAllow, s.allowed(c)) // for the answer to a preflight, which is an OPTIONS too
			return answer(c)
		}
	}
}
