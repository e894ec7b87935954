package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/rollbook/rollbook/server"
)

// newMetrics returns where the metrics of the process are gathered, with those that every process of Go has.
func newMetrics() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(registry).NewGaugeVec(prometheus.GaugeOpts{
		Name: "rollbook_build_info", Help: "Which release this is; always 1.",
	}, []string{"version", "commit"}).WithLabelValues(version, commit).Set(1)
	return registry
}

// serveMetrics answers GET /metrics on an address of its own until the context ends.
func serveMetrics(ctx context.Context, listener net.Listener, from prometheus.Gatherer, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(from, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}))
	return server.Serve(ctx, listener, mux, server.DefaultTimeouts, log)
}

// flushTime is how long the last spans may take to be sent when the server ends.
const flushTime = 5 * time.Second

// longestAttribute bounds, in characters, what clients can put into a span: the names of their programs, and of this host.
const longestAttribute = 256

// startTracing returns what makes spans and sends them by OTLP over HTTP, which is nil where the environment does not ask for
// that, and what sends the last of them. Everything about it is set by the standard variables:
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/.
func startTracing(ctx context.Context, log *slog.Logger) (spans trace.TracerProvider, flush func(), err error) {
	if wanted, err := tracingWanted(os.Getenv); err != nil || !wanted {
		return nil, func() {}, err
	}
	otel.SetLogger(logr.Discard()) // it would print the headers that it cannot read, which may hold a key
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("start tracing: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "rollbook"), attribute.String("service.version", version)),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say otherwise
	)
	if err != nil {
		return nil, nil, fmt.Errorf("start tracing: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("tracing", slog.Any("error", err)) }))
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 { // which OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT may set
		limits.AttributeValueLengthLimit = longestAttribute
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about), sdktrace.WithRawSpanLimits(limits))
	return provider, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last traces were not sent", slog.Any("error", err))
		}
	}, nil
}

// tracingWanted tells whether the environment asks for traces, and refuses what this program cannot do.
func tracingWanted(env func(string) string) (bool, error) {
	exporter := env("OTEL_TRACES_EXPORTER")
	named := env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	switch {
	case strings.EqualFold(env("OTEL_SDK_DISABLED"), "true"), exporter == "none", exporter == "" && !named:
		return false, nil
	case exporter != "" && exporter != "otlp":
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: %q is not known here, only otlp and none", exporter)
	}
	protocol := env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = env("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol != "" && protocol != "http/protobuf" {
		return false, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL: traces are sent by http/protobuf only, usually to port 4318")
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if u, err := url.Parse(env(name)); env(name) != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			return false, fmt.Errorf("%s must be as in http://HOST:4318", name)
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		for header := range strings.SplitSeq(env(name), ",") {
			key, value, found := strings.Cut(header, "=")
			if _, err := url.PathUnescape(value); env(name) != "" && (!found || strings.TrimSpace(key) == "" || err != nil) {
				return false, fmt.Errorf("%s must be as in NAME=VALUE,NAME=VALUE, each value escaped as in a URL", name)
			}
		}
	}
	return true, nil
}
