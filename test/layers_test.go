// Package test holds the checks of the project as a whole.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rollbook/rollbook"

// allowed says what each room may import of the project's own packages. A room that is not here is a new one: say here
// what it may import.
var allowed = map[string][]string{
	"":                        {},
	"/gen":                    {},
	"/gen/client":             {},
	"/password":               {},
	"/repository":             {},
	"/directory":              {},
	"/directory/leavers":      {"/directory", "/repository", "/server"},
	"/server":                 {"", "/directory", "/gen", "/password", "/repository"},
	"/csvfile":                {},
	"/roster":                 {"/csvfile", "/password", "/repository", "/server"},
	"/django":                 {"/password", "/repository"},
	"/parity":                 {},
	"/cmd/rollbook":           {"/csvfile", "/directory", "/directory/leavers", "/django", "/parity", "/password", "/repository", "/roster", "/server"},
	"/deploy":                 {},
	"/test":                   {},
	"/test/contract":          {""},
	"/test/contract/coverage": {"/test/contract"},
	"/test/need":              {},
	"/test/browser":           {"/test/need"},
	"/test/sdk":               {},
	"/test/pasted":            {"/test/need"},
	"/test/django":            {},
	"/test/fault":             {},
	"/test/load":              {},
	"/test/load/floor":        {},
	"/test/testdb":            {"/repository", "/test/need"},
	"/test/testldap":          {"/directory", "/test/need", "/test/pasted", "/test/testserver"},
	"/test/testserver":        {"/password", "/repository", "/server", "/test/contract", "/test/need", "/test/testdb"},
}

// foreign says which rooms alone may import some packages of others.
var foreign = map[string][]string{
	"gorm.io/":                   {"/repository"},
	"github.com/jackc/":          {"/repository"},
	"github.com/go-ldap/":        {"/directory", "/test/testldap"},
	"github.com/go-asn1-ber/":    {"/directory"},
	"github.com/pressly/goose":   {"/repository"},
	"github.com/labstack/echo":   {"/server", "/gen"},
	"github.com/getkin/kin-":     {"/server"},
	"github.com/alecthomas/kong": {"/cmd/rollbook"},
	"golang.org/x/crypto/":       {"/password"},
	"github.com/prometheus/":     {"/cmd/rollbook", "/server"},
	"go.opentelemetry.io/":       {"/cmd/rollbook", "/password", "/repository", "/server"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for decoder := json.NewDecoder(out); ; seen++ {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults(p) {
			t.Error(fault)
		}
	}
	if err := cmd.Wait(); err != nil || seen != len(allowed) {
		t.Errorf("go list: %v; it lists %d packages, of %d", err, seen, len(allowed))
	}
}

func faults(p pkg) []string {
	var found []string
	room := strings.TrimPrefix(p.ImportPath, module)
	mayImport, known := allowed[room]
	if !known {
		found = append(found, room+" is not known here")
	}
	for _, path := range p.Imports {
		if own, ok := strings.CutPrefix(path, module); ok && !slices.Contains(mayImport, own) {
			found = append(found, room+" may not import "+own)
		}
		for prefix, owners := range foreign {
			if strings.HasPrefix(path, prefix) && !slices.Contains(owners, room) && !strings.HasPrefix(room, "/test") {
				found = append(found, room+" may not import "+path)
			}
		}
	}
	return found
}

func TestLayerRuleFindsFaults(t *testing.T) {
	t.Parallel()
	for _, p := range []pkg{
		{module + "/server", []string{"gorm.io/gorm"}},
		{module + "/repository", []string{"github.com/labstack/echo/v4"}},
		{module + "/repository", []string{module + "/server"}},
		{module + "/password", []string{module + "/repository"}},
		{module + "/utils", nil},
	} {
		if len(faults(p)) != 1 {
			t.Errorf("%s importing %v: got %q", p.ImportPath, p.Imports, faults(p))
		}
	}
}
