//go:build !race

// The race detector takes several times the memory and the time.

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
)

// wrongLines are lines of a roster, as writeRoster makes it, that are wrong in every way.
var wrongLines = []string{
	"a b,,,,\n", ",First,,,\n", "x/y,,,nope,\n", "student000001,,,,\n", "few,,\n", "many,,,,,,\n", "quo\"te,,,,\n", "open,\"x,,,\n", "m\xfcller,,,,\n",
	"nul,\x00,,,\n", "hash,,,,md5$a$b\n", strings.Repeat("x", 151) + ",,,,\n", "long," + strings.Repeat("x", 70<<10) + ",,,\n", "email,,," + strings.Repeat("x", 250) + "@b.org,\n",
}

// A hundred thousand lines, of which some are wrong in every way, are imported in less than a minute, in little memory.
func TestLongImport(t *testing.T) {
	need.Long(t)
	const students, most, mostMemory = 100_000, time.Minute, 150 << 20
	for name, fresh := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const times = 20 // that each wrong line is there
			var wrong []string
			for range times {
				wrong = append(wrong, wrongLines...)
			}
			address, path := fresh(t), writeRoster(t, students-len(wrong), wrong...)
			cmd := program(t, []string{"DATABASE_URL=" + address}, "roster", "import", path)
			began := time.Now()
			out, err := cmd.Output()
			if want := fmt.Sprintf("done: %d added, 0 changed, 0 deactivated; 0 unchanged, %d wrong\n", students-len(wrong), len(wrong)); exitCode(err) != 1 || !strings.HasPrefix(string(out), want) {
				t.Errorf("%v: got %s, want %s", err, out, want)
			}
			took, usage := time.Since(began), cmd.ProcessState.SysUsage().(*syscall.Rusage)
			peak := usage.Maxrss << 10
			t.Logf("%d students in %s, %d MB; %d bytes of disk each", students, took, peak>>20, diskUsed(t, address)/students)
			if took > most || peak > mostMemory {
				t.Errorf("%s and %d MB are too much", took, peak>>20)
			}
		})
	}
}
