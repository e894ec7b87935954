package django_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/rollbook/rollbook/parity"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// How many random requests are made, and from which seed, unless RANDOM_REQUESTS and RANDOM_SEED say otherwise.
const (
	randomRequests = 2000
	randomSeed     = 1
)

// Random requests go to a real Django REST Framework and to Rollbook, with the same accounts and tokens. What is answered
// otherwise must be for a reason that docs/differences.md lists.
func TestLongRandomRequestsAreAnsweredAlike(t *testing.T) {
	need.Long(t)
	t.Parallel()
	from := djangoSQLite(t)
	h := &house{T: t, service: newService(t, from, false), from: from, server: testserver.Start(t, testdb.SQLite(t))}
	people := h.service.fill(
		person{"username": "richard", "password": plain, "hasher": "pbkdf2_sha1", "first_name": "Richard", "token": true},
		person{"username": "monica", "password": plain, "hasher": "pbkdf2_sha1", "token": true},
		person{"username": "inactive", "password": plain, "hasher": "pbkdf2_sha1", "is_active": false, "token": true},
	)
	h.service.serve()
	h.moveIn()
	g := &generator{Rand: rand.New(rand.NewPCG(setting(t, "RANDOM_SEED", randomSeed), 0)), people: people}
	oneSided := map[string]bool{} // names that only one of the two has registered
	servers, explained, equal := h.servers(), map[int]int{}, 0
	for n := range setting(t, "RANDOM_REQUESTS", randomRequests) {
		request := g.request()
		if oneSided[g.username] {
			continue
		}
		x, difference, err := servers.Ask(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if difference == nil {
			equal++
			continue
		}
		if registered(x) && sameRegistration(x) {
			equal++
			continue
		}
		if explained[difference.Row]++; difference.Row == 0 {
			body := ""
			if request.Body != nil {
				body = *request.Body
			}
			t.Errorf("request %d: %s %s %q %.300q: %q", n, request.Method, request.Path, request.Headers, body, difference.What)
		}
		if request.Method == "POST" && (x.Old.Status == http.StatusCreated) != (x.New.Status == http.StatusCreated) {
			oneSided[g.username] = true
		}
		if explained[0] > 20 {
			t.Fatal("and so on")
		}
		h.alignProfiles(people)
	}
	t.Logf("%d answers were equal; by row: %v", equal, explained)
	if len(explained) < 8 || equal < randomRequests/2 {
		t.Error("the requests try too little")
	}
}

// setting is a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// registered tells whether both servers have made something: an account or a token, which are random.
func registered(x parity.Exchange) bool {
	return x.Request.Method == "POST" && x.Old.Status == x.New.Status && x.New.Status < 300
}

// sameRegistration tells whether two answers are the same but for an id and a token.
func sameRegistration(x parity.Exchange) bool {
	strip := func(body any) string {
		members, _ := body.(map[string]any) // nil where it is something else
		for _, random := range []string{"id", "auth_token", "token"} {
			if _, there := members[random].(string); there {
				members[random] = "…"
			}
		}
		text, err := json.Marshal(members)
		return string(text) + fmt.Sprint(err)
	}
	return strip(x.Old.Body) == strip(x.New.Body)
}

// alignProfiles makes the profiles equal again, after a request that one server has carried out and the other not.
func (h *house) alignProfiles(people map[string]made) {
	h.Helper()
	for _, name := range []string{"richard", "monica"} {
		there := people[name]
		_, difference, err := h.servers().Ask(h.Context(), parity.Step{
			Method: "PATCH", Path: "/api/v1/users/" + there.ID + "/", Body: new(`{"first_name":"A","last_name":"B","email":"a@b.org"}`),
			Headers: map[string]string{"Authorization": "Token " + there.Token, "Content-Type": "application/json"},
		})
		if err != nil || difference != nil {
			h.Fatalf("%v, %v", difference, err)
		}
	}
}

// generator makes requests.
type generator struct {
	*rand.Rand
	people   map[string]made
	names    int
	username string // of the latest request, as it is looked up
}

// pick picks one, the first as often as all others together.
func pick[T any](g *generator, usual T, others ...T) T {
	if len(others) == 0 || g.IntN(2) == 0 {
		return usual
	}
	return others[g.IntN(len(others))]
}

func (g *generator) request() parity.Step {
	r := parity.Step{Headers: map[string]string{}}
	g.username = ""
	own := g.people[pick(g, "richard", "monica", "inactive")]
	var fields []string
	switch g.IntN(3) {
	case 0:
		r.Method, r.Path, fields = pick(g, "POST", "POST", "POST", "GET", "PUT", "DELETE"), "/api/v1/users/", []string{"username", "password", "first_name", "last_name", "email"}
	case 1:
		r.Method, r.Path, fields = pick(g, "POST", "POST", "POST", "GET", "PATCH"), "/api-token-auth/", []string{"username", "password"}
	case 2:
		id := pick(g, own.ID, own.ID, strings.ToUpper(own.ID), g.people["monica"].ID, strings.ReplaceAll(own.ID, "-", ""), "6d5f9bae-a31b-4b7b-82c4-3853eda2b011", "1", "x", "6d5f9bae-a31b-4b7b-82c4-3853eda2b01g", "%20")
		r.Method, r.Path, fields = pick(g, "PATCH", "PUT", "GET", "GET", "GET", "HEAD", "DELETE", "POST"), "/api/v1/users/"+id+"/", []string{"first_name", "last_name", "email", "username", "password", "id"}
	}
	if g.IntN(40) == 0 {
		r.Path = pick(g, strings.TrimSuffix(r.Path, "/"), r.Path+"x/", "/nothing/", "/api/")
	}
	if open := !strings.Contains(r.Path, own.ID); g.IntN(5) > 0 && (!open || g.IntN(5) == 0) {
		r.Headers["Authorization"] = pick(g, "Token "+own.Token, "Token "+own.Token, "token "+own.Token, "TOKEN  "+own.Token, "Bearer "+own.Token, "Basic eDp5",
			"Token", "Token ", "Token a b", "Token "+strings.ToUpper(own.Token), "Token 0000", own.Token, "Token \xff", "Tokens "+own.Token)
	}
	if r.Method != "GET" && r.Method != "HEAD" {
		g.body(&r, fields)
	}
	return r
}

// body gives a request a body of one of three media types, or of none.
func (g *generator) body(r *parity.Step, fields []string) {
	var named []string // name and JSON
	for _, field := range fields {
		if g.IntN(6) > 0 {
			named = append(named, field, g.value(field))
			if field == "username" {
				g.username = norm.NFKC.String(strings.TrimSpace(plainText(named[len(named)-1])))
			}
		}
	}
	if g.IntN(8) == 0 {
		named = append(named, pick(g, "is_staff", "auth_token", "shoe_size", "first_name"), pick(g, "true", "44", `"x"`, "{}", `["x"]`))
	}
	var body string
	media := pick(g, "application/json", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=B")
	switch {
	case strings.HasPrefix(media, "application/json"):
		var members []string
		for i := 0; i < len(named); i += 2 {
			members = append(members, fmt.Sprintf("%q:%s", named[i], named[i+1]))
		}
		body = "{" + strings.Join(members, ",") + "}"
		if g.IntN(20) == 0 {
			body = pick(g, body+"x", "", "[]", "null", `"x"`, "1", "{", body[:len(body)/2], "[{}]", " "+body+" \n", "true", "{}")
		}
	case strings.HasPrefix(media, "multipart"):
		for i := 0; i < len(named); i += 2 {
			body += "--B\r\nContent-Disposition: form-data; name=\"" + named[i] + "\"\r\n\r\n" + plainText(named[i+1]) + "\r\n"
		}
		body += "--B--\r\n"
	default:
		form := url.Values{}
		for i := 0; i < len(named); i += 2 {
			form.Add(named[i], plainText(named[i+1]))
		}
		body = form.Encode()
	}
	if g.IntN(30) == 0 {
		media = pick(g, "text/plain", "application/json; charset=utf-8", "application/json; charset=latin-1", "application/xml", "APPLICATION/JSON", "")
	}
	if r.Headers["Content-Type"] = media; media == "" {
		delete(r.Headers, "Content-Type")
	}
	r.Body = &body
}

// plainText is a JSON string without its quotes; other JSON stays as it is.
func plainText(value string) string {
	var text string
	if json.Unmarshal([]byte(value), &text) != nil {
		return value
	}
	return text
}

// value is a field's value, as JSON: one that is right, or one of many that may not be.
func (g *generator) value(field string) string {
	g.names++
	right := map[string]string{
		"username": strconv.Quote(fmt.Sprintf("n%06d", g.names)), "password": strconv.Quote(plain), "first_name": `"Ann"`, "last_name": `"von Bergen"`,
		"email": `"Ann@Example.ORG"`, "id": `"x"`,
	}[field]
	if g.IntN(4) > 0 {
		if field == "username" && g.IntN(3) == 0 {
			return pick(g, `"richard"`, `"monica"`, `"inactive"`, `" richard "`, `"RICHARD"`, `"nobody"`)
		}
		return right
	}
	return pick(g, `""`, `" "`, "null", "1", "true", "1.5", "[]", "{}", `["x"]`, `"\u0000"`, `"a\u0000b"`, `"\ud800"`, `"ﬁ"`, `"é"`, `"e\u0301"`, `"日本語"`, `"a b"`, `" a "`,
		`"a@b"`, `"a@b.c"`, `"a@b.org"`, `"@b.org"`, `"a@-b.org"`, `"a..b@c.org"`, `"\"a b\"@c.org"`, `"a@[127.0.0.1]"`, `"a@bücher.example"`, `"<script>"`, `"x'; DROP TABLE users"`,
		strconv.Quote(strings.Repeat("x", 150)), strconv.Quote(strings.Repeat("x", 151)), strconv.Quote(strings.Repeat("é", 150)), strconv.Quote(strings.Repeat("x", 250)+"@b.org"),
		`"12345678"`, `"password"`, `"\t"`, `"\u00a0"`, `"\u200b"`, `"😀"`, `"a/b"`, `"a+b.c-d_e@f"`, `"\r\n"`)
}
