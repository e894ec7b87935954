package pasted

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/need"
)

var commands = regexp.MustCompile("(?s)```sh\n(.*?)```\n")

// Commands are the blocks of commands in a section of a document.
func Commands(t testing.TB, document, heading string, blocksWanted int) []string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var found []string
	for _, block := range commands.FindAllStringSubmatch(section, -1) {
		found = append(found, block[1])
	}
	if len(found) != blocksWanted {
		t.Fatalf("%s has %d blocks of commands under %q, want %d", document, len(found), heading, blocksWanted)
	}
	return found
}

// Shell runs commands in a folder, with some variables added to the environment.
func Shell(t testing.TB, folder, commands string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need.Program(t, "bash"), "-e", "-u", "-o", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s%s", err, commands, out)
	}
}
