package testdb

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Line is a line to a database that a test can cut or stall.
type Line struct {
	Address string // of the database, through the line

	mu    sync.Mutex
	moves *sync.Cond
	state state
	conns []net.Conn

	statements atomic.Int64
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
	go l.copy(to, io.TeeReader(from, &messages{statements: &l.statements}))
	go l.copy(from, to)
}

// Statements is how many statements have been sent through the line.
func (l *Line) Statements() int64 { return l.statements.Load() }

// messages counts those of a client's messages that have PostgreSQL run a statement, Query and Execute. Each has a letter and its
// length, but for the first one, which lacks the letter. There must be no TLS.
type messages struct {
	statements *atomic.Int64
	letter     int // how many bytes stand before the length
	rest       []byte
}

func (m *messages) Write(sent []byte) (int, error) {
	const length = 4
	m.rest = append(m.rest, sent...)
	for len(m.rest) >= m.letter+length {
		size := m.letter + int(binary.BigEndian.Uint32(m.rest[m.letter:]))
		if len(m.rest) < size {
			break
		}
		if m.letter == 1 && (m.rest[0] == 'Q' || m.rest[0] == 'E') {
			m.statements.Add(1)
		}
		m.letter, m.rest = 1, m.rest[size:]
	}
	return len(sent), nil
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
