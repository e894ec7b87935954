package contract_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	rollbook "github.com/rollbook/rollbook"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// How many requests are made, and from which seed, unless flags say otherwise.
var randomDefaults = map[string]string{"rapid.checks": "3000", "rapid.seed": "1"}

// Requests are derived from the contract: an operation, who calls it, and a body that is right or wrong in ways that the
// schema knows. Which of the declared answers must come follows from what was drawn. That the answer is one that the
// contract allows, and so no 5xx, is seen to by the server's client.
func TestRandomRequests(t *testing.T) {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range randomDefaults {
		if given[name] {
			continue
		}
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() && !given["rapid.checks"] { // where rapid makes a fifth of them
		if err := flag.Set("rapid.checks", "15000"); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		p := w.draw(rt)
		seen[p.operation.id+" "+fmt.Sprint(p.want.status)]++
		got := w.server.Do(p.request)
		if p.operation.id == "revokeTokens" && got.Status == http.StatusNoContent {
			_, w.token = w.signIn(rt, w.id) // the one before is dead
		}
		if got.Status != p.want.status {
			rt.Fatalf("%s %s with %q: got %d %s, want %d", p.request.Method, p.request.Path, p.request.Body, got.Status, got.Text, p.want.status)
		}
		if p.want.members != nil {
			if members := sortedKeys(got.JSON); !slices.Equal(members, p.want.members) {
				rt.Fatalf("%s %s with %q: got %s, want problems with %q", p.request.Method, p.request.Path, p.request.Body, got.Text, p.want.members)
			}
		}
	})
	if len(seen) < 49 { // of 53: what else is declared is about time, load and the database
		t.Errorf("only these answers were asked for: %v", seen)
	}
}

// world is the server, what the contract says of it, and the accounts that the requests are about.
type world struct {
	server     *testserver.Server
	operations []operation
	id, token  string // of the caller
	username   string
	other      string // the id of somebody else
	count      int
}

// operation is one of the contract.
type operation struct {
	method, path, id string
	secured, owner   bool
	success          int
	body             *openapi3.Schema // nil where it takes none
}

func newWorld(t *testing.T) *world {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(rollbook.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{server: testserver.Start(t, testdb.SQLite(t)), username: "richard"}
	w.id, w.token = w.server.Register(w.username)
	w.other, _ = w.server.Register("other")
	for _, path := range doc.Paths.InMatchingOrder() {
		for method, op := range doc.Paths.Value(path).Operations() {
			o := operation{method: method, path: path, id: op.OperationID, secured: op.Security == nil, owner: op.Extensions["x-access"] == "owner"}
			for status := range op.Responses.Map() {
				if status[0] == '2' {
					_, _ = fmt.Sscan(status, &o.success) // a number that begins with 2
				}
			}
			if op.RequestBody != nil {
				o.body = op.RequestBody.Value.Content["application/json"].Schema.Value
			}
			w.operations = append(w.operations, o)
		}
	}
	slices.SortFunc(w.operations, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	return w
}

// plan is a request and the answer that must come.
type plan struct {
	operation operation
	request   testserver.Request
	want      answer
}

// answer is a status and, where it matters, the members of the body.
type answer struct {
	status  int
	members []string
}

// often draws from what should come several times as often as the rest.
func often[T any](rt *rapid.T, name string, usual T, rest ...T) T {
	choices := append(slices.Repeat([]T{usual}, 2*len(rest)), rest...)
	return choices[rapid.IntRange(0, len(choices)-1).Draw(rt, name)]
}

func (w *world) draw(rt *rapid.T) plan {
	op := rapid.SampledFrom(w.operations).Draw(rt, "operation")
	p := plan{operation: op, request: testserver.Request{Method: op.method, Path: op.path}, want: answer{status: op.success}}
	if op.body != nil {
		p.want = w.drawBody(rt, op, &p.request)
	}
	// What is decided earlier overrides what is decided later.
	if strings.Contains(op.path, "{id}") {
		id, status := w.drawID(rt, op)
		p.request.Path = strings.Replace(op.path, "{id}", id, 1)
		if status != 0 {
			p.want = answer{status: status, members: []string{"detail"}}
		}
	}
	if strings.Contains(op.path, "{token_id}") {
		id, found := w.drawTokenID(rt)
		p.request.Path = strings.Replace(p.request.Path, "{token_id}", id, 1)
		if !found && p.want.status == op.success {
			p.want = answer{status: http.StatusNotFound, members: []string{"detail"}}
		}
	}
	if op.secured && !w.drawToken(rt, op, &p.request) {
		p.want = answer{status: http.StatusUnauthorized, members: []string{"detail"}}
	}
	return p
}

// drawID returns an id and the status that it alone leads to, or 0.
func (w *world) drawID(rt *rapid.T, op operation) (string, int) {
	switch often(rt, "id", "own", "other", "nobody", "malformed") {
	case "other":
		if op.owner {
			return w.other, http.StatusForbidden
		}
		return w.other, 0
	case "nobody":
		return "00000000-0000-4000-8000-000000000000", http.StatusNotFound
	case "malformed":
		return rapid.StringMatching(`[0-9a-f]{1,40}|%[0-9A-F]{2}|[0-9a-f]{8}(-[0-9a-f]{4}){3}`).Draw(rt, "text"), http.StatusNotFound
	}
	return w.id, 0
}

// drawToken puts a token into a request and returns whether it is good.
func (w *world) drawToken(rt *rapid.T, op operation, r *testserver.Request) bool {
	switch often(rt, "token", "good", "none", "unknown", "malformed") {
	case "none":
		return false
	case "unknown":
		r.Token = rapid.StringMatching(`[0-9a-f]{40}|[!-~]{1,300}`).Draw(rt, "key")
		return false
	case "malformed":
		r.Header = withHeader(r.Header, "Authorization", rapid.SampledFrom([]string{
			"Token", "Bearer", "Token a b", "Token \xff", "Basic dTpw", "token\x00"[:5] + ":" + w.token, w.token,
		}).Draw(rt, "header"))
		return false
	}
	r.Token = w.token
	if op.id == "logOut" { // the token will be dead
		_, r.Token = w.signIn(rt, w.id)
	}
	return true
}

// drawTokenID returns the id of a token and whether it is one of the caller's.
func (w *world) drawTokenID(rt *rapid.T) (string, bool) {
	switch often(rt, "token id", "own", "another's", "nobody's", "malformed") {
	case "another's":
		id, _ := w.signIn(rt, w.other)
		return id, false
	case "nobody's":
		return "00000000-0000-4000-8000-000000000000", false
	case "malformed":
		return rapid.StringMatching(`[0-9a-f]{1,40}`).Draw(rt, "text"), false
	}
	id, _ := w.signIn(rt, w.id)
	return id, true
}

// signIn makes another token of an account.
func (w *world) signIn(rt *rapid.T, user string) (id, key string) {
	token, key := repository.NewToken(uuid.MustParse(user), "")
	if err := w.server.DB.Tokens(repository.Lifetimes{}).Create(rt.Context(), token); err != nil {
		rt.Fatal(err)
	}
	return token.ID.String(), key
}

func withHeader(header map[string]string, name, value string) map[string]string {
	if header == nil {
		header = map[string]string{}
	}
	header[name] = value
	return header
}

func sortedKeys(members map[string]any) []string {
	keys := make([]string, 0, len(members))
	for key := range members {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func mustJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // the values are texts
	}
	return string(text)
}
