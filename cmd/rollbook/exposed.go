package main

import (
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// The permissions that other users should not have.
const (
	groupAndOthers fs.FileMode = 0o066 // to the database, which this program creates with mode 0600
	othersOnly     fs.FileMode = 0o006 // to keys and secrets, which some systems keep readable by a group
)

// warnExposed logs one warning that names the files which other users can read or write, and how to change that.
func warnExposed(log *slog.Logger, what string, permissions fs.FileMode, files ...string) {
	var exposed []string
	for _, file := range files {
		info, err := os.Stat(file) //nolint:gosec // the operator names it
		if err == nil && info.Mode().Perm()&permissions != 0 {
			exposed = append(exposed, file)
		}
	}
	if len(exposed) == 0 {
		return
	}
	mode := "600"
	if permissions == othersOnly {
		mode = "o="
	}
	log.Warn("other users of this machine can read or write the "+what, "fix", "chmod "+mode+" "+strings.Join(exposed, " "))
}
