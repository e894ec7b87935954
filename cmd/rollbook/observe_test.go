package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
)

// get returns an answer's status and text.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// The metrics have an address of their own, and nothing else is there.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	p := start(t, testdb.SQLite(t), "METRICS_ADDR=127.0.0.1:0")
	p.Register("richard")
	if status, text := get(t, p.Metrics); status != 200 || !strings.Contains(text, `rollbook_http_request_duration_seconds_count{operation="registerUser",status="201"} 1`) ||
		!strings.Contains(text, `rollbook_build_info{commit="none",version="dev"} 1`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := get(t, strings.TrimSuffix(p.Metrics, "metrics")+"healthz"); status != 404 {
		t.Errorf("the API is on the address of the metrics: %d", status)
	}
	if status, _ := get(t, p.URL+"/metrics"); status != 404 {
		t.Errorf("the metrics are on the address of the API: %d", status)
	}
	if _, stderr, code := invoke(t, testdb.SQLite(t), "", "serve", "--addr=127.0.0.1:0", "--metrics-addr="+strings.TrimPrefix(p.URL, "http://")); code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("a taken address: %d %s", code, stderr)
	}
}

// What happens while the server ends can be seen.
func TestMetricsToTheEnd(t *testing.T) {
	t.Parallel()
	p := start(t, testdb.SQLite(t), "METRICS_ADDR=127.0.0.1:0", "SHUTDOWN_DELAY=1s")
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for status, _ := get(t, p.URL+"/readyz"); status != 503; status, _ = get(t, p.URL+"/readyz") {
		time.Sleep(5 * time.Millisecond)
	}
	if _, text := get(t, p.Metrics); !strings.Contains(text, `{operation="getReadiness",status="503"}`) {
		t.Errorf("it is not to be seen: %s", text)
	}
	if err := p.Cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// metricNames are those in a query of Prometheus, as far as they are this program's.
var metricNames = regexp.MustCompile(`\b(?:rollbook|go|process)_[a-z0-9_]+`)

// queries are all texts called expr, at any depth.
func queries(node any) (found []string) {
	switch node := node.(type) {
	case map[string]any:
		for name, value := range node {
			if text, ok := value.(string); ok && name == "expr" {
				found = append(found, text)
			}
			found = append(found, queries(value)...)
		}
	case []any:
		for _, value := range node {
			found = append(found, queries(value)...)
		}
	}
	return found
}

// The dashboard and the page on operating name metrics that there are, and the dashboard's queries their labels.
func TestDashboardNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	p := start(t, testdb.SQLite(t), "METRICS_ADDR=127.0.0.1:0")
	p.Register("richard")
	_, scraped := get(t, p.Metrics)
	text, err := os.ReadFile("../../docs/grafana-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard map[string]any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	all := queries(dashboard)
	if len(all) < 10 {
		t.Fatalf("the dashboard has %d queries only", len(all))
	}
	for _, query := range all {
		names := metricNames.FindAllString(query, -1)
		if len(names) == 0 {
			t.Errorf("%s is about nothing", query)
		}
		for _, name := range names {
			wantMetric(t, scraped, name, labelsOf(query))
		}
	}
	named := metricNames.FindAllString(string(page), -1)
	if len(named) < 10 {
		t.Errorf("the page names %q only", named)
	}
	for _, name := range named {
		wantMetric(t, scraped, name, nil)
	}
}

// labelsOf are the labels that a query of Prometheus names.
func labelsOf(query string) (names []string) {
	for _, found := range regexp.MustCompile(`([a-z_]+)(?:=|!=|=~|!~)"`).FindAllStringSubmatch(query, -1) {
		names = append(names, found[1])
	}
	for _, found := range regexp.MustCompile(`by \(([a-z_, ]+)\)`).FindAllStringSubmatch(query, -1) {
		names = append(names, strings.Split(found[1], ", ")...)
	}
	return names
}

// wantMetric fails the test where nothing was scraped of that name and, but for those that Prometheus adds, these labels.
func wantMetric(t *testing.T, scraped, name string, labels []string) {
	t.Helper()
	series := regexp.MustCompile(`(?m)^`+name+`(_count)?(\{.*\})? .*$`).FindAllString(scraped, -1)
	if len(series) == 0 {
		t.Errorf("there is no metric %s", name)
		return
	}
	for _, label := range labels {
		if !slices.Contains([]string{"instance", "job"}, label) && !strings.Contains(series[0], label+`="`) {
			t.Errorf("%s has no label %s", series[0], label)
		}
	}
}

// Traces are sent to whom the standard variables name, the last of them when the server ends; and nowhere else by default.
func TestTracesAreSent(t *testing.T) {
	t.Parallel()
	received := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		received <- fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Content-Type"), " ", r.Header.Get("Api-Key"), " ", string(body), err)
	}))
	t.Cleanup(collector.Close)
	p := start(t, testdb.SQLite(t), "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=api-key=secret-of-the-collector",
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=school", "OTEL_BSP_SCHEDULE_DELAY=60000")
	_, token := p.Register("richard")
	p.send(t, "GET", "/api/v1/users/me/", token, "")
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Wait(); err != nil {
		t.Error(err)
	}
	close(received)
	var all string
	for text := range received {
		all += text
	}
	for _, want := range []string{"POST /v1/traces application/x-protobuf secret-of-the-collector ", "registerUser", "getCurrentUser", "owner of token", "rollbook", "school"} {
		if !strings.Contains(all, want) {
			t.Errorf("the collector got no %q", want)
		}
	}
	if strings.Contains(all, token) || strings.Contains(p.Log.String(), "secret-of-the-collector") {
		t.Error("a secret has got out")
	}
}

// A collector that is away costs nobody anything, and the log says so.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	p := start(t, testdb.SQLite(t), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/v1/traces", "OTEL_BSP_SCHEDULE_DELAY=50")
	began := time.Now()
	p.Register("richard")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a registration took %s", took)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(p.Log.String(), "connection refused"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log says nothing of it: %s", p.Log)
		}
	}
}

// A collector that says nothing keeps the server from ending for a while, and is no reason to call that a failure.
func TestSilentCollector(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // it takes connections and never answers
	p := start(t, testdb.SQLite(t), "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+listener.Addr().String())
	p.Register("richard")
	told := time.Now()
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Wait(); err != nil || time.Since(told) > 2*flushTime {
		t.Errorf("after %s: %v", time.Since(told), err)
	}
	if !strings.Contains(p.Log.String(), "the last traces were not sent") {
		t.Errorf("the log does not say so: %s", p.Log)
	}
}

func TestTracingWanted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env    map[string]string
		wanted bool
		err    string
	}{
		{nil, false, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4318/v1/traces"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, false, ""},
		{map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, false, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, false, "only otlp and none"},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "http/protobuf only"},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, false, "http/protobuf only"},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, true, ""},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "10.0.0.5:4318"}, false, "must be as in http://HOST:4318"},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://"}, false, "must be as in http://HOST:4318"},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_HEADERS": "a=b,Authorization=Bearer%20x=="}, true, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_HEADERS": "Authorization: sesame"}, false, "NAME=VALUE"},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=b,key=sesame%zz"}, false, "NAME=VALUE"},
	} {
		wanted, err := tracingWanted(func(name string) string { return test.env[name] })
		if wanted != test.wanted || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%v: %t, %v", test.env, wanted, err)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("the error holds a key: %v", err)
		}
	}
}
