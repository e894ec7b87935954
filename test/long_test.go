package test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	longTests  = regexp.MustCompile(`func (TestLong\w+)\(t \*testing\.T\) \{\n(.*)\n`)
	saysItself = regexp.MustCompile(`^\t(need\.Long|begin)\(t\)$`)
)

// Each test that is named as one that takes long says so, or `make test` would run it, too.
func TestLongTestsAreLeftOut(t *testing.T) {
	t.Parallel()
	seen := 0
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") || path == "test/long_test.go" {
			return nil
		}
		text, err := os.ReadFile("../" + path)
		for _, found := range longTests.FindAllStringSubmatch(string(text), -1) {
			seen++
			if !saysItself.MatchString(found[2]) {
				t.Errorf("%s: %s does not begin with need.Long(t)", path, found[1])
			}
		}
		return err
	})
	if err != nil || seen < 15 {
		t.Errorf("%d tests that take long, %v", seen, err)
	}
}
