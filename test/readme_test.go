package test

import (
	"testing"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/pasted"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

const defaultAddress = "http://127.0.0.1:8000"

func TestReadmeWorksAsPasted(t *testing.T) {
	t.Parallel()
	pasted.Run(t, "../README.md", 6, t.TempDir(), []string{defaultAddress, testserver.Start(t, testdb.SQLite(t)).URL})
}

func TestRosterWorksAsPasted(t *testing.T) {
	t.Parallel()
	address := pasted.FreeAddress(t)
	pasted.Run(t, "../docs/roster.md", 6, t.TempDir(), []string{defaultAddress, "http://" + address},
		"ADDR="+address, pasted.Program(t, "../cmd/rollbook"))
}

func TestDirectoryWorksAsPasted(t *testing.T) {
	t.Parallel()
	need.Program(t, "slapd", "/usr/sbin/slapd")
	need.Program(t, "ldapadd")
	need.Program(t, "ldappasswd")
	need.Program(t, "openssl")
	address := pasted.FreeAddress(t)
	pasted.Run(t, "../docs/directory.md", 4, t.TempDir(), []string{defaultAddress, "http://" + address, "127.0.0.1:3890", pasted.FreeAddress(t)},
		"ADDR="+address, pasted.Program(t, "../cmd/rollbook"))
}
