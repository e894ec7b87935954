// Package pasted shows that the commands of a document work as they stand there.
package pasted

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/need"
)

var (
	blocks = regexp.MustCompile("(?s)```sh\n(.*?)```\n```(?:json|text)\n(.*?)```\n")
	ids    = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	tokens = regexp.MustCompile(`[0-9a-f]{40}`)
	codes  = regexp.MustCompile(`([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}`)
	times  = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?`)
	blanks = regexp.MustCompile(` +\n`)
)

// Run pastes the commands of a document one block after the other into one shell, in a folder, and they must print what the
// document says; only ids, tokens, codes and times are others each time. Of the document's addresses some are replaced, from
// and to in turn, and the shell finds this environment, too.
func Run(t *testing.T, document string, blocksWanted int, folder string, addresses []string, env ...string) {
	t.Helper()
	bash := need.Program(t, "bash")
	need.Program(t, "curl")
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	found := blocks.FindAllStringSubmatch(string(text), -1)
	if len(found) != blocksWanted {
		t.Fatalf("%s has %d blocks of commands with answers, want %d", document, len(found), blocksWanted)
	}
	const end = "\n-- end of block --\n"
	var script, want strings.Builder
	script.WriteString("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n") // also where a command fails before that
	for _, block := range found {
		script.WriteString(block[1] + "printf '" + strings.ReplaceAll(end, "\n", `\n`) + "'\n")
		want.WriteString(strings.TrimSpace(block[2]) + end)
	}
	cmd := exec.CommandContext(t.Context(), bash, "-e", "-u", "-o", "pipefail", "-c",
		strings.NewReplacer(addresses...).Replace(script.String()))
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if same(string(out)) != same(want.String()) {
		t.Errorf("the commands print\n%swant\n%s", out, want.String())
	}
}

// same makes texts alike that differ only in what is random, in the time, and in blanks that nobody sees.
func same(text string) string {
	for pattern, name := range map[*regexp.Regexp]string{tokens: "TOKEN", ids: "ID", codes: "CODE", times: "TIME", blanks: "\n"} {
		text = pattern.ReplaceAllString(text, name)
	}
	return strings.ReplaceAll(text, "\n\n", "\n")
}

// Program builds rollbook and returns a PATH on which it comes first.
func Program(t testing.TB, source string) string {
	t.Helper()
	folder := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", folder, source)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return "PATH=" + folder + ":" + os.Getenv("PATH")
}

// FreeAddress is one that nobody listens on, for now. It is below the ports that outgoing connections use.
func FreeAddress(t testing.TB) string {
	t.Helper()
	const tries, first, ports = 100, 20_000, 12_000
	for range tries {
		address := fmt.Sprint("127.0.0.1:", first+rand.IntN(ports))
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			continue // somebody has it
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		return address
	}
	t.Fatal("no port is free")
	return ""
}
