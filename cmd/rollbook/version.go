package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

// version and commit are set by the linker; where they are not, main takes what the go command has noted.
var version, commit = unknownVersion, unknownCommit

const unknownVersion, unknownCommit = "dev", "none"

// noted returns the version and the commit of a program that was built without the linker's: those of the module, as
// `go install MODULE@VERSION` knows the version and a build in a clone knows both.
func noted(info *debug.BuildInfo) (version, commit string) {
	version, commit = unknownVersion, unknownCommit
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= shortCommit {
			commit = s.Value[:shortCommit]
		}
	}
	return version, commit
}

// shortCommit is how much of a commit's name is shown.
const shortCommit = 7

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(_ context.Context, o output) error {
	_, err := fmt.Fprintf(o.out, "rollbook %s (%s)\n", version, commit)
	return err
}
