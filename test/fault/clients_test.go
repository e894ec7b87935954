package fault_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// quick is the time in which others must be served while some clients are slow or idle.
const quick = 500 * time.Millisecond

// readsWhile reads a profile ten times a second until told to end, and returns the longest that took.
func readsWhile(t *testing.T, p *testserver.Process, name string, ended <-chan struct{}) time.Duration {
	t.Helper()
	_, token := p.Register(name)
	c := newClient(p.URL)
	slowest := time.Duration(0)
	for {
		a := c.do(t.Context(), "GET", me, token, "")
		if a.status != 200 {
			t.Errorf("read: %s", a)
		}
		slowest = max(slowest, a.took)
		select {
		case <-ended:
			return slowest
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dial connects to a server from an address of its own, so that there are enough ports for thousands.
func dial(t *testing.T, p *testserver.Process, n int) (net.Conn, error) {
	const each = 10_000
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n/each))}
	return (&net.Dialer{LocalAddr: from, Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.URL, "http://"))
}

// Clients that send a header, or a body, a byte at a time are cut off in the time that the server allows, and keep nobody from
// being served.
func TestLongSlowClients(t *testing.T) {
	begin(t)
	p := start(t, testdb.SQLite(t))
	const header, body = "GET /api/v1/users/me/ HTTP/1.1\r\nHost: x\r\nX-Slow: ", "POST /api-token-auth/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
	for _, kind := range []struct {
		name, begin string
		lasts       time.Duration // as server.DefaultTimeouts has it
	}{{"header", header, 5 * time.Second}, {"body", body, 15 * time.Second}} {
		if kind.name == "body" && !*full {
			continue // it takes too long; server/serve_test.go has it with shorter limits
		}
		clients := amount(200, 1000)
		var wg sync.WaitGroup
		held := make([]time.Duration, clients)
		for n := range clients {
			conn, err := dial(t, p, n)
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { held[n] = drip(conn, kind.begin, kind.lasts+limit(time.Second)) })
		}
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		slowest := readsWhile(t, p, "reader-of-"+kind.name, ended)
		shortest, longest := slices.Min(held), slices.Max(held)
		if shortest < kind.lasts-time.Second || longest > kind.lasts+limit(time.Second) || slowest > limit(quick) {
			t.Errorf("a slow %s is held for %s to %s, and others wait %s", kind.name, shortest, longest, slowest)
		}
		figure(t, "%d clients that send a %s a byte at a time: cut off after %s at most; a read meanwhile took %s at most",
			clients, kind.name, longest.Round(100*time.Millisecond), slowest.Round(time.Millisecond))
	}
}

// drip begins a request and goes on a byte at a time, and returns how long the server let it.
func drip(conn net.Conn, begin string, most time.Duration) time.Duration {
	defer func() { _ = conn.Close() }()
	began := time.Now()
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn) // until the server closes it
		close(ended)
	}()
	_, err := io.WriteString(conn, begin)
	for err == nil && time.Since(began) < most {
		select {
		case <-ended:
			return time.Since(began)
		case <-time.After(200 * time.Millisecond):
			_, err = io.WriteString(conn, "x")
		}
	}
	return time.Since(began)
}

// Thousands of connections that do nothing cost little memory, and keep nobody from being served.
func TestLongIdleConnections(t *testing.T) {
	begin(t)
	p := start(t, testdb.SQLite(t))
	idle := amount(2_000, 8_000)
	ended := make(chan struct{})
	close(ended)
	readsWhile(t, p, "reader", ended) // so that what it needs for that is there
	before := p.Memory()
	var open []net.Conn
	for n := range idle {
		conn, err := dial(t, p, n)
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ask(t, conn)
		open = append(open, conn)
	}
	each := (p.Memory() - before) / int64(idle)
	c := newClient(p.URL)
	a := c.do(t.Context(), "POST", login, "", credentials("reader"))
	if a.status != 200 || a.took > limit(quick) {
		t.Errorf("log in: %s", a)
	}
	for n := 0; n < len(open); n += 100 { // they were kept
		ask(t, open[n])
	}
	const most = 64 << 10 // bytes a connection
	if each > most {
		t.Errorf("a connection costs %d bytes", each)
	}
	figure(t, "memory at rest, with SQLite: %d MB", before>>20)
	figure(t, "%d idle connections: %d KiB of memory each; a login meanwhile took %s", idle, each>>10, a.took.Round(time.Millisecond))
}

// ask sends a request on a connection and reads the answer.
func ask(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 || resp.Close {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // the connection stays
}
