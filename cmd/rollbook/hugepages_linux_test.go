package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
)

// resident matches what of a part of a process's memory there is, and the flags of that part.
var resident = regexp.MustCompile(`(?s)\nRss: +(\d+) kB\n.*?\nVmFlags: ([a-z ]+)\n`)

// Passwords are hashed in memory for which huge pages were asked.
func TestHashesInHugePages(t *testing.T) {
	t.Parallel()
	need.File(t, "/sys/kernel/mm/transparent_hugepage/enabled", "it tells that the kernel has huge pages")
	p := start(t, testdb.SQLite(t))
	p.Register("richard")
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0 // KiB
	for _, part := range resident.FindAllStringSubmatch(string(maps), -1) {
		if kib, err := strconv.Atoi(part[1]); err == nil && strings.Contains(part[2], "hg ") {
			asked += kib
		}
	}
	if want := int(password.DefaultParams.Memory); asked < want {
		t.Errorf("of what huge pages were asked for, %d KiB are used, want %d at least", asked, want)
	}
}
