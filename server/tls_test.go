package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// tlsServer is server.ServeTLS with a handler.
type tlsServer struct {
	listener net.Listener
	address  string
	roots    *x509.CertPool
	log      *testserver.Log
	end      context.CancelFunc
	ended    chan error
}

func serveTLS(t *testing.T, handler http.Handler, change func(*server.Timeouts)) *tlsServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	known := httptest.NewTLSServer(nil) // for its certificate, of 127.0.0.1
	known.Close()
	s := &tlsServer{listener, listener.Addr().String(), x509.NewCertPool(), &testserver.Log{}, nil, make(chan error, 1)}
	s.roots.AddCert(known.Certificate())
	certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { //nolint:unparam // crypto/tls has it so
		return &known.TLS.Certificates[0], nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.end = cancel
	t.Cleanup(cancel)
	timeouts := server.DefaultTimeouts
	change(&timeouts)
	go func() {
		s.ended <- server.ServeTLS(ctx, listener, certificate, handler, timeouts, slog.New(slog.NewTextHandler(s.log, nil)))
	}()
	return s
}

// client returns one that speaks HTTP/2, or HTTP/1.1 alone.
func (s *tlsServer) client(http2 bool) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}, ForceAttemptHTTP2: http2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *tlsServer) do(t *testing.T, client *http.Client, method, path string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.ProtoMajor, resp.Header, string(text)}
}

// answer is what came back, once it was read.
type answer struct {
	status, proto int
	header        http.Header
	text          string
}

func unchanged(*server.Timeouts) {}

func TestTLSVersions(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, http.NotFoundHandler(), unchanged)
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: s.roots, MinVersion: version, MaxVersion: version})
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	resp, err := http.Get("http://" + s.address) // plain HTTP
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %s", resp.Status)
	}
}

// Over TLS every answer of the server tells browsers to use HTTPS only; over plain HTTP none does.
func TestStrictTransportSecurity(t *testing.T) {
	t.Parallel()
	plain := testserver.Start(t, testdb.SQLite(t))
	s := serveTLS(t, plain.Handler, unchanged)
	for _, http2 := range []bool{true, false} {
		client := s.client(http2)
		for _, r := range []struct {
			method, path string
			status       int
		}{
			{"GET", "/healthz", 200}, {"GET", "/nope", 404}, {"GET", "/api/v1/users/me/", 401}, {"DELETE", "/api-token-auth/", 405},
			{"POST", "/api-token-auth/", 400}, {"OPTIONS", "/api-token-auth/", 204}, {"GET", "/", 302}, {"GET", "/docs/", 200},
			{"HEAD", "/openapi.yaml", 200}, {"GET", "/docs/swagger-ui.css", 200},
		} {
			a := s.do(t, client, r.method, r.path, nil)
			got := a.header.Get("Strict-Transport-Security")
			if a.status != r.status || got != "max-age=31536000" || (a.proto == 2) != http2 {
				t.Errorf("HTTP/%d %s %s: %d, %q: %.200s", a.proto, r.method, r.path, a.status, got, a.text)
			}
			if over := plain.Do(testserver.Request{Method: r.method, Path: r.path}); over.Header.Get("Strict-Transport-Security") != "" {
				t.Errorf("plain HTTP, %s %s: %v", r.method, r.path, over.Header)
			}
		}
	}
}

// The limits of time and size hold for HTTP/2, too.
func TestLimitsOfHTTP2(t *testing.T) {
	t.Parallel()
	handler := testserver.Start(t, testdb.SQLite(t)).Handler
	hasty := serveTLS(t, handler, func(t *server.Timeouts) { t.Read = 400 * time.Millisecond })
	slow, writer := io.Pipe()
	a := hasty.do(t, hasty.client(true), "POST", "/api-token-auth/", slow)
	_ = writer.Close() // it has been given up
	if a.status != http.StatusRequestTimeout || a.proto != 2 {
		t.Errorf("a slow body: HTTP/%d %d %s", a.proto, a.status, a.text)
	}
	s := serveTLS(t, handler, unchanged)
	client := s.client(true)
	large := strings.NewReader(strings.Repeat(" ", 64<<10+1))
	if a := s.do(t, client, "POST", "/api-token-auth/", large); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d %s", a.status, a.text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.address+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X", strings.Repeat("x", 32<<10))
	if resp, err := client.Do(req); err == nil {
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a huge header: %s", resp.Status)
		}
	} else if !strings.Contains(err.Error(), "header list") { // the client knows the limit
		t.Errorf("a huge header: %v", err)
	}
}

// A server that gets a stop signal answers the requests in progress.
func TestTLSShutdown(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{true, false} {
		started, finish := make(chan struct{}), make(chan struct{})
		s := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(started)
			<-finish
			_, _ = fmt.Fprint(w, r.ProtoMajor)
		}), unchanged)
		answered := make(chan string, 1)
		go func() {
			answered <- s.do(t, s.client(http2), "GET", "/", nil).text
		}()
		<-started
		s.end()
		close(finish)
		want := map[bool]string{true: "2", false: "1"}[http2]
		if got := <-answered; got != want {
			t.Errorf("what was under way got %q, want %q", got, want)
		}
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	}
}

// A server that gets a stop signal goes on answering for its shutdown delay, and closes each connection after its answer.
func TestTLSConnectionsEnd(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{true, false} {
		s := serveTLS(t, http.NotFoundHandler(), func(t *server.Timeouts) { t.Delay = time.Hour })
		client := s.client(http2)
		s.do(t, client, "GET", "/", nil)
		s.end()
		connections := 0
		counted := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
			if !c.Reused {
				connections++
			}
		}})
		for range 3 {
			req, err := http.NewRequestWithContext(counted, http.MethodGet, "https://"+s.address+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close() // the status is all that counts
		}
		if connections < 2 { // the first request may have had that of before
			t.Errorf("HTTP/2 %t: %d connections for three requests", http2, connections)
		}
		_ = s.listener.Close() // so that it ends before the hour
		if err := <-s.ended; err == nil {
			t.Error("it ended without its listener, and says nothing")
		}
	}
}

// Broken handshakes do not fill the log.
func TestHandshakeErrorsAreBounded(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, http.NotFoundHandler(), unchanged)
	for range 100 {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "this is no TLS\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, conn) // until the server hangs up, which comes after its line
		_ = conn.Close()
	}
	if lines := strings.Count(s.log.String(), "\n"); lines < 1 || lines > 12 {
		t.Errorf("100 broken handshakes wrote %d lines: %s", lines, s.log)
	}
}
