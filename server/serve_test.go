package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/contract"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

var quick = server.Timeouts{
	Header: 200 * time.Millisecond, Read: 400 * time.Millisecond, Write: 5 * time.Second, Idle: time.Second,
	Shutdown: 5 * time.Second,
}

// serve runs server.Serve with a handler until stop is called, which returns what Serve did.
func serve(t *testing.T, handler http.Handler) (address string, stop func() error) {
	t.Helper()
	return serveOn(t, handler, 0)
}

// serveOn is serve, and goes on for that long after it was told to end.
func serveOn(t *testing.T, handler http.Handler, delay time.Duration) (address string, stop func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	timeouts := quick
	timeouts.Delay = delay
	go func() { done <- server.Serve(ctx, listener, handler, timeouts, slog.New(slog.DiscardHandler)) }()
	return listener.Addr().String(), func() error { cancel(); return <-done }
}

// exchange sends what it is given, and returns the status line and everything after the header.
func exchange(t *testing.T, address string, send ...string) (status, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, text := range send {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return "closed", ""
		}
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") == "application/json" {
		line, _, _ := strings.Cut(send[0], "\r\n")
		method, path, _ := strings.Cut(strings.TrimSuffix(line, " HTTP/1.1"), " ")
		if err := contract.Check(httptest.NewRequest(method, path, nil), resp, text); err != nil {
			t.Error(err)
		}
	}
	return resp.Status, string(text)
}

func TestSlowAndOversizedHeaders(t *testing.T) {
	t.Parallel()
	address, stop := serve(t, testserver.Start(t, testdb.SQLite(t)).Handler)
	for name, test := range map[string]struct{ send, status, body string }{
		"a header that does not end": {"GET /healthz HTTP/1.1\r\nHost: x\r\n", "closed", ""},
		"a huge header":              {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 32<<10) + "\r\n\r\n", "431 Request Header Fields Too Large", "431 Request Header Fields Too Large"},
		"a body that breaks off":     {"POST /api-token-auth/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400 Bad Request", "{\"detail\":\"The request body could not be read.\"}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, body := exchange(t, address, test.send); status != test.status || body != test.body {
				t.Errorf("got %s %q, want %s %q", status, body, test.status, test.body)
			}
		})
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Each operation that takes a body refuses one that is too slow, too large, or of another type.
func TestBodiesThatAreNotTaken(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t))
	id, token := s.Register("richard")
	address, stop := serve(t, s.Handler)
	for _, op := range []string{"POST /api/v1/users/", "POST /api-token-auth/", "PUT /api/v1/users/" + id + "/",
		"PATCH /api/v1/users/" + id + "/", "POST /api/v1/users/" + id + "/password/", "POST /api/v1/users/password/"} {
		method, path, _ := strings.Cut(op, " ")
		large := testserver.Request{Method: method, Path: path, Token: token, Body: strings.Repeat(" ", 64<<10+1)}
		want(t, s.Do(large), 413, `{"detail":"The request body is larger than 65536 bytes."}`)
		other := testserver.Request{Method: method, Path: path, Token: token, Body: "x", Header: map[string]string{"Content-Type": "text/plain"}}
		want(t, s.Do(other), 415, `{"detail":"Unsupported media type \"text/plain\" in request."}`)

		slow, writer := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, slow)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Token "+token)
		resp, err := testserver.Client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close(), writer.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 408 || string(text) != `{"detail":"The request body did not arrive in time."}`+"\n" {
			t.Errorf("%s: got %d %s", op, resp.StatusCode, text)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	started, finish := make(chan struct{}), make(chan struct{})
	address, stop := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	answered := make(chan string, 1)
	go func() {
		_, body := exchange(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		answered <- body
	}()
	<-started
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for deadline := time.Now().Add(5 * time.Second); ; { // until it takes no more connections
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still takes connections")
		}
	}
	close(finish)
	if body := <-answered; body != "done" {
		t.Errorf("the request under way got %q", body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A server that is told to end says so to load balancers, and goes on answering meanwhile, each connection once.
func TestEndingIsTold(t *testing.T) {
	t.Parallel()
	const delay = time.Second
	s := testserver.Start(t, testdb.SQLite(t))
	address, stop := serveOn(t, s.Handler, delay)
	ask := func(path string) (status int, closes bool) {
		t.Helper()
		resp, err := testserver.Client(t).Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // it is in memory already
		return resp.StatusCode, resp.Close
	}
	if status, closes := ask("/readyz"); status != 200 || closes {
		t.Errorf("before: %d, %t", status, closes)
	}
	ended := make(chan error, 1)
	told := time.Now()
	go func() { ended <- stop() }()
	for status, closes := ask("/readyz"); status != 503; status, closes = ask("/readyz") {
		if closes || time.Since(told) > delay {
			t.Fatalf("it is %d, %t after %s", status, closes, time.Since(told))
		}
	}
	if status, closes := ask("/healthz"); status != 200 || !closes {
		t.Errorf("meanwhile: %d, %t", status, closes)
	}
	if err := <-ended; err != nil || time.Since(told) < delay {
		t.Errorf("it ended after %s: %v", time.Since(told), err)
	}
	if strings.Contains(s.Log.String(), "level=ERROR") {
		t.Errorf("it is called an error: %s", s.Log)
	}
}
