package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// behindProxy trusts whoever connects from this machine.
func behindProxy(c *server.Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// A trusted proxy names a request, in any usual way; nobody else does.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	direct, behind := testserver.Start(t, address), testserver.Start(t, address, behindProxy)
	for given, usual := range map[string]bool{
		"f058ebd6-02f7-4d3f-942e-904344e8cde5": true, "Root=1-67891233-abcdef012345678912345678": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "with blank": false, `quote"`: false, "ünusual": false, "": false,
	} {
		r := testserver.Request{Method: "GET", Path: "/healthz", Header: map[string]string{"X-Request-Id": given}}
		if got := behind.Do(r).Header.Get("X-Request-Id"); (got == given) != usual || !strings.Contains(behind.Log.String(), got) {
			t.Errorf("from a proxy, %q: got %q", given, got)
		}
		if got := direct.Do(r).Header.Get("X-Request-Id"); got == given {
			t.Errorf("from a client, %q was taken over", given)
		}
	}
}

// measured serves with metrics.
func measured(t *testing.T, changes ...func(*server.Config)) (*testserver.Server, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	return testserver.Start(t, testdb.SQLite(t), append(changes, func(c *server.Config) { c.Metrics = registry })...), registry
}

// values are those of all series: counters and gauges, and how often a histogram was told something.
func values(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := family.GetName() + "{" + strings.Join(labels, ",") + "}"
			of[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return of
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s, registry := measured(t)
	id, token := s.Register("richard")
	logIn(t, s, testserver.Password, "")
	s.Do(testserver.Request{Method: "POST", Path: "/api-token-auth", Body: `{"username":"richard","password":"wrong"}`})
	for _, path := range []string{"/api/v1/users/" + id + "/", "/api/v1/users/" + strings.ToUpper(id), "/api/v1/users/" + nobody + "/"} {
		s.Do(testserver.Request{Method: "GET", Path: path, Token: token})
	}
	s.Do(testserver.Request{Method: "HEAD", Path: "/api/v1/users/" + id + "/", Token: token})
	s.Do(testserver.Request{Method: "GET", Path: "/docs/"})
	for range 3 { // a counter counts each, also if they share a line of the audit log
		s.Do(testserver.Request{Method: "GET", Path: "/api/v1/users/me/"})
	}
	got := values(t, registry)
	const requests = "rollbook_http_request_duration_seconds"
	for name, want := range map[string]float64{
		requests + "{registerUser,201}":                    1,
		requests + "{logIn,200}":                           1,
		requests + "{logIn,400}":                           1,
		requests + "{getUser,200}":                         3,
		requests + "{getUser,404}":                         1,
		requests + "{other,200}":                           1,
		"rollbook_http_requests_in_flight{}":               0,
		"rollbook_security_events_total{registered}":       1,
		"rollbook_security_events_total{signed in}":        1,
		"rollbook_security_events_total{refused}":          1,
		"rollbook_security_events_total{throttled}":        0,
		"rollbook_security_events_total{unauthorized}":     3,
		"rollbook_security_events_total{email changed}":    0,
		"rollbook_hashing_slots_in_use{}":                  0,
		"rollbook_hashing_queue_length{}":                  0,
		"rollbook_hashing_refused_total{}":                 0,
		"rollbook_database_connections_max{}":              4,
		"rollbook_security_events_total{password changed}": 0,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (%t), want %v", name, value, there, want)
		}
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// However odd the requests, the number of series stays small.
func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	s, registry := measured(t)
	before := len(values(t, registry))
	for n := range 100 {
		odd := fmt.Sprint("X", n)
		for _, r := range []testserver.Request{
			{Method: odd, Path: "/api/v1/users/"},
			{Method: "GET", Path: "/" + odd},
			{Method: "GET", Path: "/docs/" + odd},
			{Method: "GET", Path: "/api/v1/users/" + odd + "/", Header: map[string]string{"Host": odd, "X-Forwarded-For": odd, "X-Request-Id": odd}},
			{Method: "POST", Path: "/api-token-auth/", Body: map[string]string{"username": odd}},
		} {
			s.Do(r)
		}
	}
	if series := len(values(t, registry)) - before; series != 4 { // getUser 401, login 400, other 404 and 405
		t.Errorf("there are %d more series: %v", series, values(t, registry))
	}
}

// Who hangs up is counted apart from what the server failed at.
func TestHungUpIsNoFailure(t *testing.T) {
	t.Parallel()
	s, registry := measured(t)
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	s.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
	if got := values(t, registry); got["rollbook_http_request_duration_seconds{getReadiness,499}"] != 1 {
		t.Errorf("it is counted as %v", got)
	}
	// What was wrong with the request is that all the same.
	s.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/users/me/", nil))
	if got := values(t, registry); got["rollbook_http_request_duration_seconds{getCurrentUser,401}"] != 1 {
		t.Errorf("it is counted as %v", got)
	}
}

// traced serves with spans, and returns where they end up.
func traced(t *testing.T, changes ...func(*server.Config)) (*testserver.Server, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	return testserver.Start(t, testdb.SQLite(t), append(changes, func(c *server.Config) { c.Traces = provider })...), spans
}

// A request's span is named by its operation and has those of hashing and the database in it, and nothing of what clients typed.
func TestTraces(t *testing.T) {
	t.Parallel()
	s, spans := traced(t)
	_, token := s.Register("richard")
	s.Do(testserver.Request{Method: "GET", Path: "/" + token, Header: map[string]string{"X-Forwarded-For": "203.0.113.9"}})
	var names []string
	var register sdktrace.ReadOnlySpan
	for _, span := range spans.Ended() {
		names = append(names, span.Name())
		if span.Name() == "registerUser" {
			register = span
		}
		for _, a := range span.Attributes() {
			if text := a.Value.String(); strings.Contains(text, token) || strings.Contains(text, "203.0.113.9") || strings.Contains(text, testserver.Password) {
				t.Errorf("the span %s says %s=%s", span.Name(), a.Key, text)
			}
		}
	}
	for _, want := range []string{"hash a password", "create user", "registerUser", "other"} {
		if !slices.Contains(names, want) {
			t.Errorf("there is no span %q, only %q", want, names)
		}
	}
	if register == nil || !slices.Contains(register.Attributes(), attribute.String("http.route", "/api/v1/users/")) {
		t.Fatalf("the span of the request is %v", register)
	}
	for _, span := range spans.Ended() {
		if span.Name() == "hash a password" && span.Parent().SpanID() != register.SpanContext().SpanID() {
			t.Error("hashing is no part of the request")
		}
	}
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	s.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
	for _, span := range spans.Ended() {
		if failed := span.Status().Code == codes.Error; failed != (span.Name() == "version of the database" || span.Name() == "getReadiness") {
			t.Errorf("%s failed: %t", span.Name(), failed)
		}
	}
	if id := register.SpanContext().TraceID().String(); !strings.Contains(s.Log.String(), "trace_id="+id) {
		t.Error("the log does not name the trace")
	}
}

// A trusted proxy decides which trace a request belongs to; nobody else does.
func TestTracesOfOthers(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for name, test := range map[string]struct {
		changes   []func(*server.Config)
		continued bool
	}{
		"a client": {nil, false},
		"a proxy":  {[]func(*server.Config){behindProxy}, true},
	} {
		s, spans := traced(t, test.changes...)
		s.Do(testserver.Request{Method: "GET", Path: "/healthz", Header: map[string]string{"traceparent": "00-" + trace + "-b7ad6b7169203331-01"}})
		ended := spans.Ended()
		if len(ended) != 1 || (ended[0].SpanContext().TraceID().String() == trace) != test.continued || len(ended[0].Links()) == 1 == test.continued {
			t.Errorf("from %s: %v", name, ended)
		}
	}
}

// Without a provider nothing of it is there.
func TestNoTraces(t *testing.T) {
	s := sqlite(t)
	s.Register("richard")
	if strings.Contains(s.Log.String(), "trace_id") {
		t.Error("the log names a trace")
	}
	if got := s.Do(testserver.Request{Method: http.MethodGet, Path: "/metrics"}); got.Status != http.StatusNotFound {
		t.Errorf("the metrics are public: %d", got.Status)
	}
}
