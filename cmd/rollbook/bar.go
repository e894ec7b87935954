package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// watched tells whether somebody sits at a terminal.
func (o output) watched() bool {
	file, ok := o.err.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// bar shows how far something is, as in importing, to who sits at a terminal.
func (o output) bar(doing string) func(done, of int64) {
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(o.err), progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetDescription(doing), progressbar.OptionShowCount())
	return func(done, of int64) {
		bar.ChangeMax64(of)
		_ = bar.Set64(done) // a bar that cannot be drawn keeps nobody from going on
	}
}
