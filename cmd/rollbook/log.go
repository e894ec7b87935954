package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/rollbook/rollbook/server"
)

const (
	linesHeldFor = 50 * time.Millisecond
	mostHeld     = 64 << 10 // bytes
)

// lines is the end of a log. Where lines come fast, it writes several at a time: to write each one of them costs a busy server more
// than to make it.
type lines struct {
	to io.Writer

	mu   sync.Mutex
	held []byte
	due  bool // what is held is going to be written
}

// Write writes a line at once where none was written lately.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = append(l.held, line...)
	if l.due && len(l.held) < mostHeld {
		return len(line), nil
	}
	return len(line), l.writeHeld()
}

// Flush writes what is held.
func (l *lines) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeHeld()
}

func (l *lines) writeHeld() error {
	if len(l.held) == 0 {
		return nil
	}
	if !l.due {
		l.due = true
		time.AfterFunc(linesHeldFor, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.due = false
			_ = l.writeHeld() // there is nobody to tell, as with any line of a log
		})
	}
	_, err := l.to.Write(l.held)
	l.held = l.held[:0]
	return err
}

// logHandler lets the lines of requests wait for each other, and no others.
type logHandler struct {
	slog.Handler
	lines *lines
}

// newLog returns a log in the format text or json, and what writes the rest of it in the end.
func newLog(to io.Writer, format string) (log *slog.Logger, flush func() error) {
	end := &lines{to: to}
	var handler slog.Handler = slog.NewTextHandler(end, nil)
	if format == "json" {
		handler = slog.NewJSONHandler(end, nil)
	}
	return slog.New(logHandler{handler, end}), end.Flush
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Message == server.RequestLine && r.Level == slog.LevelInfo {
		return err
	}
	return errors.Join(err, h.lines.Flush())
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs), h.lines}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name), h.lines}
}
