package server

import (
	"context"
	"log"
	"log/slog"
	"sync"
	"time"
)

const (
	maxConnLines     = 10 // in an interval
	connLineInterval = time.Minute
)

// connLog writes warnings that any client can cause, as of connections. Further ones in an interval are counted.
type connLog struct {
	log  *slog.Logger
	more string // the message of the line that counts

	mu               sync.Mutex
	written, omitted int // in the current interval
}

func newConnLog(to *slog.Logger) *log.Logger {
	return log.New(&connLog{log: to, more: "more errors of connections"}, "", 0)
}

// Write writes a line of net/http, which ends in a line feed.
func (c *connLog) Write(line []byte) (int, error) {
	c.warn(context.Background(), string(line[:max(0, len(line)-1)]))
	return len(line), nil
}

func (c *connLog) warn(ctx context.Context, message string, attrs ...slog.Attr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == 0 {
		time.AfterFunc(connLineInterval, c.endInterval)
	}
	if c.written == maxConnLines {
		c.omitted++
		return
	}
	c.written++
	c.log.LogAttrs(ctx, slog.LevelWarn, message, attrs...)
}

// endInterval logs how many lines were omitted.
func (c *connLog) endInterval() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.omitted > 0 {
		c.log.Warn(c.more, "count", c.omitted)
	}
	c.written, c.omitted = 0, 0
}
