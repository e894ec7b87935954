package server

import (
	"net/http"

	"github.com/labstack/echo/v4"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// traced makes a span of each request, where there is a provider. A trace that a client claims to belong to is only linked:
// it is continued where a trusted proxy sends it, which alone may decide what is sampled.
func (s *Server) traced(by trace.TracerProvider, next http.Handler) http.Handler {
	if by == nil {
		return next
	}
	return otelhttp.NewHandler(next, otherOperation,
		otelhttp.WithTracerProvider(by),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()), // Prometheus has them
		otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithPublicEndpointFn(func(r *http.Request) bool { return !fromProxy(r, s.trusted) }),
	)
}

// describe names the span of a request by its operation, and puts its route and whom it came from in the place of the path
// and the address that it claims, which could be anything.
func (s *Server) describe(c echo.Context, operation string) {
	span := trace.SpanFromContext(c.Request().Context())
	if !span.IsRecording() {
		return
	}
	span.SetName(operation)
	span.SetAttributes(
		semconv.HTTPRoute(c.Path()), semconv.URLPath(c.Path()), semconv.ClientAddress(callerOf(c.Request().Context()).address.String()),
	)
}
