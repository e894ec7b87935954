package testldap

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// Proxy stands before a directory and passes on what it says, up to a point.
type Proxy struct {
	Address string
	// Passes is how many bytes of each answer pass: those of all that the directory says on a connection. At less than 0, all do.
	Passes atomic.Int64
	// Stalls has a connection stay open behind that, in silence; otherwise it is reset.
	Stalls atomic.Bool
	// BeforeRequest, if set, is called with the number of each request of a connection, from 1 on, before the directory
	// gets it. It takes what a client sends at once for a request, so it does not work with encryption.
	BeforeRequest atomic.Pointer[func(int)]
}

// Proxy starts one before the address of the directory that is not encrypted from the first byte on.
func (d *Directory) Proxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: listener.Addr().String()}
	p.Passes.Store(-1)
	t.Cleanup(func() { _ = listener.Close() }) // which ends what follows
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.pass(client.(*net.TCPConn), d.Address)
		}
	}()
	return p
}

// pass does so until one of the two hangs up.
func (p *Proxy) pass(client *net.TCPConn, to string) {
	defer func() { _ = client.Close() }() // both have gone
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }() // as before
	gone := make(chan struct{})
	go func() { _, _ = io.Copy(&requests{Writer: server, before: p.BeforeRequest.Load()}, client); close(gone) }() // until the client hangs up
	most := p.Passes.Load()
	if most < 0 {
		_, _ = io.Copy(client, server) // until the server does
		return
	}
	if _, err := io.CopyN(client, server, most); err != nil && !errors.Is(err, io.EOF) {
		return
	}
	if p.Stalls.Load() {
		<-gone
		return
	}
	_ = client.SetLinger(0) // so that to close is to reset
}

// requests calls a function before each write.
type requests struct {
	io.Writer
	before *func(int)
	number int
}

func (r *requests) Write(p []byte) (int, error) {
	if r.number++; r.before != nil {
		(*r.before)(r.number)
	}
	return r.Writer.Write(p)
}
