package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/rollbook/rollbook/test/need"
)

// The tests' own program is built without the linker's version, and of no commit.
func TestVersion(t *testing.T) {
	t.Parallel()
	out, err := program(t, nil, "version").Output()
	if err != nil || string(out) != "rollbook dev (none)\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestVersionOfBuildsWithoutTheLinkers(t *testing.T) {
	t.Parallel()
	revision := []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}}
	for _, test := range []struct {
		version  string
		settings []debug.BuildSetting
		want     [2]string
	}{
		{"v1.2.3", nil, [2]string{"v1.2.3", "none"}}, // go install …@v1.2.3
		{"v1.2.4-0.20260102030405-0123456789ab+dirty", revision, [2]string{"v1.2.4-0.20260102030405-0123456789ab+dirty", "0123456"}},
		{"(devel)", revision, [2]string{"dev", "0123456"}},
		{"", nil, [2]string{"dev", "none"}},
		{"", []debug.BuildSetting{{Key: "vcs.revision", Value: "012"}}, [2]string{"dev", "none"}},
	} {
		version, commit := noted(&debug.BuildInfo{Main: debug.Module{Version: test.version}, Settings: test.settings})
		if got := [2]string{version, commit}; got != test.want {
			t.Errorf("%q %v: %q, want %q", test.version, test.settings, got, test.want)
		}
	}
}

const maxBinary = 40_000_000 // bytes

// What `make build` makes, be it optimised by the profile or not, is one file that needs nothing else of the machine it runs on.
func TestLongShippedBinary(t *testing.T) {
	need.Long(t)
	t.Parallel()
	if runtime.GOOS != "linux" {
		need.Skip(t, "Linux, whose programs this is about")
	}
	const root = "../.."
	if _, err := os.Stat(filepath.Join(root, "Makefile")); err != nil { // also so that a change of it runs the test again
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "rollbook")
	build := exec.CommandContext(t.Context(), need.Program(t, "make"), "--silent", "-C", root,
		"build", "PGO=off", "BINARY="+binary, "VERSION=v1.2.3", "COMMIT=abcdef0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxBinary {
		t.Errorf("it has %d bytes, want %d at most", info.Size(), maxBinary)
	}
	for _, fault := range notStatic(t, binary) {
		t.Error(fault)
	}
	cmd := exec.CommandContext(t.Context(), binary, "version")
	cmd.Env = []string{} // and not that of the tests
	if out, err := cmd.Output(); err != nil || string(out) != "rollbook v1.2.3 (abcdef0)\n" {
		t.Errorf("it says %q, %v", out, err)
	}
}

// notStatic tells what a program needs that is not in its file, and what is in it that could be left out.
func notStatic(t *testing.T, binary string) (faults []string) {
	t.Helper()
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			faults = append(faults, "it has a "+p.Type.String())
		}
	}
	for _, name := range []string{".symtab", ".debug_info", ".zdebug_info"} {
		if file.Section(name) != nil {
			faults = append(faults, "it has a section "+name)
		}
	}
	return faults
}
