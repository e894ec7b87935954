package test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

var (
	blocks = regexp.MustCompile("(?s)```sh\n(.*?)```\n```(?:json|text)\n(.*?)```\n")
	ids    = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	tokens = regexp.MustCompile(`[0-9a-f]{40}`)
)

// The README's commands are pasted one block after the other, into one shell, and must print what the README says; only
// ids and tokens are others each time.
func TestReadmeWorksAsPasted(t *testing.T) {
	t.Parallel()
	bash := need.Program(t, "bash")
	need.Program(t, "curl")
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := blocks.FindAllStringSubmatch(string(readme), -1)
	if len(found) != 6 {
		t.Fatalf("the README has %d blocks of commands with answers, want 6", len(found))
	}
	const end = "\n-- end of block --\n"
	var script, want strings.Builder
	for _, block := range found {
		script.WriteString(block[1] + "printf '" + strings.ReplaceAll(end, "\n", `\n`) + "'\n")
		want.WriteString(strings.TrimSpace(block[2]) + end)
	}
	s := testserver.Start(t, testdb.SQLite(t))
	cmd := exec.CommandContext(t.Context(), bash, "-e", "-u", "-o", "pipefail", "-c",
		strings.ReplaceAll(script.String(), "http://127.0.0.1:8000", s.URL))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	same := func(text string) string {
		text = ids.ReplaceAllString(tokens.ReplaceAllString(text, "TOKEN"), "ID")
		return strings.ReplaceAll(text, "\n\n", "\n")
	}
	if same(string(out)) != same(want.String()) {
		t.Errorf("the commands print\n%swant\n%s", out, want.String())
	}
}
