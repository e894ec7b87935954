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
	Shutdown time.Duration // for the requests under way when the server is told to end
}

// DefaultTimeouts suit clients at the end of slow lines: 64 KiB within Read is 35 kbit/s.
var DefaultTimeouts = Timeouts{
	Header: 5 * time.Second, Read: 15 * time.Second, Write: time.Minute, Idle: 2 * time.Minute, Shutdown: 20 * time.Second,
}

// maxHeaderBytes bounds a request's header; net/http adds 4 KiB of its own, and answers 431 above that.
const maxHeaderBytes = 16 << 10

// Serve answers the connections of a listener until the context ends. Then it takes no more, and returns when the
// requests under way are answered or t.Shutdown has passed.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, t Timeouts, log *slog.Logger) error {
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: t.Header,
		ReadTimeout:       t.Read,
		WriteTimeout:      t.Write,
		IdleTimeout:       t.Idle,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Shutdown)
	defer cancel()
	if err := s.Shutdown(ending); err != nil {
		return fmt.Errorf("shut down: %w", errors.Join(err, s.Close()))
	}
	return nil
}
