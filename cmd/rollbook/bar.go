package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// watched reports whether standard error is a terminal.
func (o output) watched() bool {
	file, ok := o.err.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// screen is a terminal that shows lines of the log above a progress bar, or another end of the log, which has no bar.
type screen struct {
	to io.Writer

	mu  sync.Mutex
	bar bool // the cursor is on the line of a bar
}

const clearLine = "\r\x1b[2K"

// Write writes lines of the log. The bar that was in their place is drawn again with the next progress.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar {
		s.bar = false
		if _, err := io.WriteString(s.to, clearLine); err != nil {
			return 0, err
		}
	}
	return s.to.Write(lines)
}

// barEnd is where a bar is drawn.
type barEnd struct{ *screen }

func (b barEnd) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar = true
	return b.to.Write(text)
}

// bar shows progress on a terminal. doing names the work, as in importing.
func (o output) bar(doing string) func(done, of int64) {
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(barEnd{o.screen}), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetDescription(doing), progressbar.OptionShowCount())
	return func(done, of int64) {
		bar.ChangeMax64(of)
		_ = bar.Set64(done) // a bar that cannot be drawn keeps nobody from going on
	}
}
