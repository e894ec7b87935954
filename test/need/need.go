// Package need tells aloud what a test lacks on this machine.
package need

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Skip skips a test that lacks something, and fails it under CI=true.
func Skip(t testing.TB, lacking string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("under CI=true this test may not be skipped: no %s", lacking)
	}
	t.Skipf("SKIPPED: no %s", lacking)
}

// Program returns the path of the first of these programs that there is. Where there is none, the test is skipped.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Skip(t, strings.Join(names, " or "))
	return ""
}

// File skips a test where there is no such file; how tells how to make it.
func File(t testing.TB, path, how string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		Skip(t, path+": "+how)
	}
}

// Long marks a test that takes long, which `make test` leaves out and `make test-long` runs, by its name.
func Long(t testing.TB) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), "TestLong") {
		t.Fatal("`make test-long` would not find it: its name must begin with TestLong")
	}
	if testing.Short() {
		t.Skip("SKIPPED: takes long: `make test-long` runs it")
	}
}
