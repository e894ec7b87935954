package testdb

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Line is a line to a database that a test can cut or stall.
type Line struct {
	Address string // of the database, through the line

	mu    sync.Mutex
	moves *sync.Cond
	state state
	conns []net.Conn
}

type state int

const (
	whole   state = iota
	cut           // connections are refused
	stalled       // connections are taken, and nothing moves on them
)

// NewLine opens a line to a database.
func NewLine(t testing.TB, address string) *Line {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = listener.Addr().String()
	l := &Line{Address: u.String()}
	l.moves = sync.NewCond(&l.mu)
	t.Cleanup(func() { _ = listener.Close(); l.Cut() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.connect(conn, target)
		}
	}()
	return l
}

// Cut ends every connection and refuses new ones.
func (l *Line) Cut() {
	l.set(cut)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

// Stall lets nothing through any more, and says nothing about it.
func (l *Line) Stall() { l.set(stalled) }

// Mend makes the line whole; what was held back moves on.
func (l *Line) Mend() { l.set(whole) }

func (l *Line) set(s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	l.moves.Broadcast()
}

// connect joins a connection to the database.
func (l *Line) connect(from net.Conn, target string) {
	to, err := net.Dial("tcp", target)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.state == cut {
		_ = from.Close()
		if err == nil {
			_ = to.Close()
		}
		return
	}
	l.conns = append(l.conns, from, to)
	go l.copy(to, from)
	go l.copy(from, to)
}

// copy passes on what is sent, when the line lets it.
func (l *Line) copy(to io.WriteCloser, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.state == stalled {
			l.moves.Wait()
		}
		l.mu.Unlock()
		if n > 0 && err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}
