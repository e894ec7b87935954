//go:build !race

package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// discard takes an answer and keeps its status only.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header            { return d.header }
func (d *discard) Write(text []byte) (int, error) { return len(text), nil }
func (d *discard) WriteHeader(status int)         { d.status = status }

// profileReader returns what reads a profile over PostgreSQL, with all that is done for a request but what net/http does.
func profileReader(t testing.TB, address string) (read func()) {
	t.Helper()
	s := testserver.Start(t, address, func(c *server.Config) { c.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) })
	id, token := s.Register("richard")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/users/"+id+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Authorization", "Token "+token)
	return func() {
		d := discard{header: http.Header{}}
		if s.Handler.ServeHTTP(&d, r); d.status != http.StatusOK {
			t.Fatalf("got %d", d.status)
		}
	}
}

// The number is published in docs/speed.md. Who can lower it should.
func TestProfileReadAllocates(t *testing.T) {
	const most = 70
	read := profileReader(t, testdb.Postgres(t))
	if got := testing.AllocsPerRun(1000, read); got > most {
		t.Errorf("a profile read makes %v allocations, want %d at most", got, most)
	} else {
		t.Logf("%v allocations", got)
	}
}

func BenchmarkProfileRead(b *testing.B) {
	read := profileReader(b, testdb.Postgres(b))
	b.ReportAllocs()
	for b.Loop() {
		read()
	}
}

func TestProfileReadIsOneStatement(t *testing.T) {
	line := testdb.NewLine(t, testdb.Postgres(t))
	read := profileReader(t, line.Address)
	read() // the connection is there now, and knows the statement
	const reads = 100
	before := line.Statements()
	for range reads {
		read()
	}
	if got := line.Statements() - before; got != reads {
		t.Errorf("%d reads were %d statements", reads, got)
	}
}
