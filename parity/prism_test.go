package parity_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// notPassedOn are the cases that Prism does not pass on as they are: HEAD, what is no JSON, and a JSON string.
var notPassedOn = []string{
	"register / not JSON", "login / not JSON", "update / not JSON", "register / a JSON string", "profile / HEAD",
}

const spoil = "X-Spoil"

// An independent judge: Stoplight's Prism stands between the client and the server, and tells what the contract has
// against an answer.
func TestReplayThroughPrism(t *testing.T) {
	t.Parallel()
	handler := testserver.Start(t, testdb.SQLite(t)).Handler
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get(spoil) {
		case "status":
			w.WriteHeader(http.StatusTeapot)
		case "body":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"status":17}`)
		default:
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(upstream.Close)
	judge := &judge{}
	client := &http.Client{Transport: judge}
	base := startPrism(t, upstream.URL)

	for _, c := range load(t) {
		if _, listed := differences[c.ID()]; listed || slices.Contains(notPassedOn, c.ID()) {
			continue
		}
		got, err := c.Replay(client, base)
		if err != nil || len(got) > 0 {
			t.Errorf("%s: %q, %v", c.ID(), got, err)
		}
	}
	for _, v := range judge.take() {
		t.Errorf("%s: %v: %s", v.request, v.Location, v.Message)
	}
	if judge.answers < 100 {
		t.Errorf("Prism let only %d answers through", judge.answers)
	}

	for _, what := range []string{"status", "body"} { // a judge that finds no fault shows nothing
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(spoil, what)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if len(judge.take()) == 0 {
			t.Errorf("Prism found nothing wrong with a spoilt %s", what)
		}
	}
}

// violation is what Prism has against an answer.
type violation struct {
	Location []string
	Message  string
	request  string
}

// judge passes requests on and collects what Prism has against the answers. What it has against requests does not
// count: many of them are wrong on purpose.
type judge struct {
	mu         sync.Mutex
	answers    int // that came from the server
	violations []violation
}

func (j *judge) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if resp.Header.Get("X-Request-Id") != "" {
		j.answers++
	}
	var found []violation
	if text := resp.Header.Get("Sl-Violations"); text != "" {
		if err := json.Unmarshal([]byte(text), &found); err != nil {
			return nil, err
		}
	}
	for _, v := range found {
		if len(v.Location) > 0 && v.Location[0] == "response" {
			v.request = req.Method + " " + req.URL.Path
			j.violations = append(j.violations, v)
		}
	}
	return resp, nil
}

func (j *judge) take() []violation {
	j.mu.Lock()
	defer j.mu.Unlock()
	taken := j.violations
	j.violations = nil
	return taken
}

// startPrism runs Prism's proxy before a server until the test ends, and returns its address.
func startPrism(t *testing.T, upstream string) string {
	t.Helper()
	prism, err := filepath.Abs("../test/node_modules/.bin/prism")
	if err != nil {
		t.Fatal(err)
	}
	need.Program(t, "node")
	need.File(t, prism, "run `make npm`")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil { // Prism takes the port; nobody else is likely to
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), prism, "proxy", "../openapi.yaml", upstream, "--host", "127.0.0.1", "--port", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("Prism ended: %v", err)
		default:
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return "http://" + address
		}
	}
	t.Fatal("Prism did not start in time")
	return ""
}
