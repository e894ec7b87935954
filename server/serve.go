package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Timeouts bound what a client can make the server wait for.
type Timeouts struct {
	Header   time.Duration // until a request's header has arrived
	Read     time.Duration // until its body has, too
	Write    time.Duration // from then until its answer has been taken
	Idle     time.Duration // between the requests of one connection
	Delay    time.Duration // from when the server is told to end, which readyz then tells, until it takes no more requests
	Shutdown time.Duration // from then for those under way
}

// DefaultTimeouts suit clients at the end of slow lines: 64 KiB within Read is 35 kbit/s.
var DefaultTimeouts = Timeouts{
	Header: 5 * time.Second, Read: 15 * time.Second, Write: time.Minute, Idle: 2 * time.Minute, Shutdown: 20 * time.Second,
}

// maxHeaderBytes bounds a request's header; net/http adds 4 KiB of its own, and answers 431 above that.
const maxHeaderBytes = 16 << 10

// endingKey is that of the context whose end tells the server to end, in those of requests.
type endingKey struct{}

// isEnding tells whether the server of a request has been told to end.
func isEnding(ctx context.Context) bool {
	serving, ok := ctx.Value(endingKey{}).(context.Context)
	return ok && serving.Err() != nil
}

// closing ends each connection with its answer once the server has been told to end: its client opens the next one, to
// another instance where a load balancer sees to that.
func closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isEnding(r.Context()) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// Serve answers the connections of a listener until the context ends and t.Delay has passed. Then it takes no more, and
// returns when the requests under way are answered or t.Shutdown has passed.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, t Timeouts, log *slog.Logger) error {
	s := newServer(ctx, handler, t, log)
	return serveUntil(ctx, s, func() error { return s.Serve(listener) }, t)
}

func newServer(ctx context.Context, handler http.Handler, t Timeouts, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: closing(handler),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), endingKey{}, ctx)
		},
		ReadHeaderTimeout: t.Header,
		ReadTimeout:       t.Read,
		WriteTimeout:      t.Write,
		IdleTimeout:       t.Idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          newConnLog(log),
	}
}

// serveUntil runs a server until the context ends and t.Delay has passed, and shuts it down.
func serveUntil(ctx context.Context, s *http.Server, serve func() error, t Timeouts) error {
	failed := make(chan error, 1)
	go func() { failed <- serve() }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-time.After(t.Delay):
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Shutdown)
	defer cancel()
	if err := s.Shutdown(ending); err != nil {
		return fmt.Errorf("shut down: %w", errors.Join(err, s.Close()))
	}
	return nil
}
