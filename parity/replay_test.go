package parity_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/parity"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// differences are the cases that differ on purpose: the row of docs/differences.md that says why, and what is different.
var differences = map[string]struct {
	row  int
	what string
}{
	"register / bad token on an open endpoint": {6, "the status is 201, DRF's was 401"},
	"profile / uuid without hyphens":           {7, "the status is 404, DRF's was 200"},
}

func load(t *testing.T) []parity.Case {
	t.Helper()
	cases, err := parity.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 77 {
		t.Fatalf("only %d cases", len(cases))
	}
	return cases
}

func TestReplay(t *testing.T) {
	t.Parallel()
	cases := load(t)
	testdb.Each(t, func(t *testing.T, address string) {
		s := testserver.Start(t, address)
		client := testserver.Client(t)
		for _, c := range cases {
			t.Run(c.ID(), func(t *testing.T) {
				got, err := c.Replay(client, s.URL)
				if err != nil {
					t.Fatal(err)
				}
				listed, ok := differences[c.ID()]
				switch {
				case !ok && len(got) > 0:
					t.Error(strings.Join(got, "\n"))
				case ok && !strings.Contains(strings.Join(got, "\n"), listed.what):
					t.Errorf("it should differ (%s), but: %q", listed.what, got)
				}
			})
		}
	})
}

func TestDifferencesAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range load(t) {
		known[c.ID()] = true
	}
	for id, d := range differences {
		if !known[id] {
			t.Errorf("%s is no recorded case", id)
		}
		if !strings.Contains(string(page), fmt.Sprintf("\n| %d |", d.row)) {
			t.Errorf("docs/differences.md has no row %d, for %s", d.row, id)
		}
	}
}

// A replay that cannot fail shows nothing: each kind of deviation from the recording must be found.
func TestReplayFindsDeviations(t *testing.T) {
	t.Parallel()
	s := testserver.Start(t, testdb.SQLite(t))
	client := testserver.Client(t)
	for id, deviate := range map[string]func(*parity.Answer){
		"register / missing username": func(a *parity.Answer) {
			a.Body = map[string]any{"username": []any{"This field is needed."}}
		},
		"login / wrong password":        func(a *parity.Answer) { a.Status = 401 },
		"profile / own profile":         func(a *parity.Answer) { a.Body.(map[string]any)["shoe_size"] = 44 },
		"profile / no credentials":      func(a *parity.Answer) { a.Headers["WWW-Authenticate"] = "Bearer" },
		"login / GET is refused":        func(a *parity.Answer) { a.Headers["Allow"] = "POST, PUT, OPTIONS" },
		"update / patch one field":      func(a *parity.Answer) { a.Body.(map[string]any)["first_name"] = "Richard" },
		"register / two errors at once": func(a *parity.Answer) { delete(a.Body.(map[string]any), "email") },
	} {
		found := false
		for _, c := range load(t) {
			if c.ID() != id {
				continue
			}
			found = true
			deviate(&c.Steps[len(c.Steps)-1].Expect)
			if got, err := c.Replay(client, s.URL); err != nil || len(got) == 0 {
				t.Errorf("%s: the deviation was not found: %v, %v", id, got, err)
			}
		}
		if !found {
			t.Errorf("%s is no recorded case", id)
		}
	}
}
