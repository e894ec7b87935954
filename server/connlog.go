package server

import (
	"log"
	"log/slog"
	"sync"
	"time"
)

const (
	maxConnLines     = 10 // in an interval
	connLineInterval = time.Minute
)

// connLog writes what net/http says of connections, which any client can cause. Further lines in an interval are counted.
type connLog struct {
	log *slog.Logger

	mu               sync.Mutex
	written, omitted int // in the current interval
}

func newConnLog(to *slog.Logger) *log.Logger { return log.New(&connLog{log: to}, "", 0) }

func (c *connLog) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == 0 {
		time.AfterFunc(connLineInterval, c.endInterval)
	}
	if c.written == maxConnLines {
		c.omitted++
		return len(line), nil
	}
	c.written++
	c.log.Warn(string(line[:max(0, len(line)-1)])) // which ends in a line feed
	return len(line), nil
}

// endInterval logs how many lines were omitted.
func (c *connLog) endInterval() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.omitted > 0 {
		c.log.Warn("more errors of connections", "count", c.omitted)
	}
	c.written, c.omitted = 0, 0
}
