//go:build !race

// The race detector makes everything take several times as long.

package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	rollbook "github.com/rollbook/rollbook"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

const (
	maxBody   = 64 << 10 // bytes
	maxHeader = 20 << 10 // bytes
	mediaJSON = "application/json"
)

// cpuTime returns how much CPU time the process has used.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// costOf returns the least CPU time that a function took in so many runs.
func costOf(t testing.TB, runs int, run func()) time.Duration {
	t.Helper()
	var costs []time.Duration
	for range runs {
		began := cpuTime(t)
		run()
		costs = append(costs, cpuTime(t)-began)
	}
	return slices.Min(costs)
}

// endpoint is an operation of the contract, and the fields of its body.
type endpoint struct {
	method, path string // with a real id in the path
	token        string
	fields       []string
}

// endpointsOf returns every operation of the contract, to be called by the owner of an account.
func endpointsOf(t testing.TB, id, token string) (all []endpoint) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(rollbook.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			e := endpoint{method: method, path: strings.NewReplacer("{id}", id, "{token_id}", id).Replace(path), token: token}
			if op.RequestBody != nil {
				for name := range op.RequestBody.Value.Content[mediaJSON].Schema.Value.Properties {
					e.fields = append(e.fields, name)
				}
			}
			slices.Sort(e.fields)
			if e.method != http.MethodDelete && op.OperationID != "logOut" { // the token is needed again
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b endpoint) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

// request returns a request for the operation.
func (e endpoint) request(contentType string, body []byte) *http.Request {
	r := httptest.NewRequest(e.method, e.path, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Token "+e.token)
	return r
}

// charactersFrom returns different characters, of so many bytes in all.
func charactersFrom(first rune, size int) string {
	var b strings.Builder
	for r := first; b.Len()+4 < size; r++ {
		b.WriteRune(r)
	}
	return b.String()
}

// repeated returns a text over and over, of so many bytes in all.
func repeated(text string, size int) string { return strings.Repeat(text, size/len(text)) }

// costlyTexts are long values of a field. Each fits into a body with the names of the fields.
func costlyTexts() map[string]string {
	const size = maxBody - 512
	return map[string]string{
		"a domain of different characters":  "a@" + charactersFrom('一', size),
		"a domain of one character":         "a@" + repeated("名", size),
		"a domain of many labels":           "a@" + repeated("ä.", size),
		"a domain of long labels":           "a@" + repeated(strings.Repeat("ö", 63)+".", size),
		"a domain that is nearly too long":  "a@" + charactersFrom('一', 250*3) + ".org",
		"a domain of right-to-left letters": "a@" + repeated("א1", size),
		"a user of many words":              repeated("a.", size) + "@x.org",
		"a quoted user":                     `"` + repeated(`\a`, size-20) + `"@x.org`,
		"many @":                            repeated("@", size),
		"combining marks":                   "a" + repeated("\u0300\u0316", size),
		"marks in the wrong order":          repeated("a\u0301\u0323\u0300\u0316", size),
		"compositions":                      repeated("e\u0301", size),
		"Hangul":                            repeated("\u1100\u1161\u11a8", size),
		"Hangul syllables":                  charactersFrom('가', size),
		"a ligature of 18":                  repeated("\ufdfa", size),
		"600 ligatures of 18":               strings.Repeat("\ufdfa", 600),
		"1365 ligatures of 18":              strings.Repeat("\ufdfa", 1365),
		"letters that decompose":            repeated("\u1f82", size),
		"letters of four bytes":             charactersFrom(0x20000, size),
		"white space":                       repeated("\u2003", size),
		"white space around":                repeated(" ", size/2) + "x" + repeated(" ", size/2-8),
		"one letter":                        repeated("x", size),
		"capital letters":                   repeated("İẞ", size),
		"digits":                            repeated("1", size),
		"many words":                        repeated("x-", size),
		"different words":                   repeated("abcdefgh Correct-Horse-9 ", size),
		"NUL":                               repeated("\x00", size/6),
		"signs":                             repeated("<>&", size/6),
		"backslashes":                       repeated(`\`, size/2-8),
		"quotation marks":                   repeated(`"`, size/2-8),
		"line separators":                   repeated("\u2028", size),
	}
}

// costlyBodies are bodies for an operation with some fields, by what is costly about them.
func costlyBodies(fields []string) map[string]struct{ contentType, body string } {
	bodies := map[string]struct{ contentType, body string }{}
	add := func(what, contentType, body string) {
		bodies[what] = struct{ contentType, body string }{contentType, body[:min(len(body), maxBody)]}
	}
	for what, text := range costlyTexts() {
		for _, field := range fields {
			add(field+": "+what, mediaJSON, object(fields, field, quote(text)))
			add(field+": "+what+", form", form, field+"="+url.QueryEscape(text)[:min(len(url.QueryEscape(text)), maxBody-512)]+"&")
			add(field+": "+what+", multipart", multi, part(field, text, "")+"--B--\r\n")
		}
		share := text[:len(text)/max(len(fields), 1)]
		var members, pairs []string
		for _, field := range fields {
			members = append(members, quote(field)+":"+quote(strings.ToValidUTF8(share, "")))
			pairs = append(pairs, field+"="+strings.ToValidUTF8(share, ""))
		}
		add("all: "+what, mediaJSON, "{"+strings.Join(members, ",")+"}")
		add("all: "+what+", form", form, strings.Join(pairs, "&"))
	}
	for what, raw := range map[string]string{
		"nesting":           repeated("[", 9990) + repeated("]", 9990),
		"nested objects":    repeated(`{"a":`, 9000*5) + "1" + repeated("}", 9000),
		"too deep nesting":  repeated("[", maxBody-512),
		"a huge number":     repeated("9", maxBody-512),
		"a huge fraction":   "0." + repeated("1", maxBody-512),
		"a huge exponent":   "1e" + repeated("9", maxBody-512),
		"many items":        "[" + repeated("1,", maxBody-512) + "1]",
		"many members":      "{" + repeated(`"":0,`, maxBody-512) + `"":0}`,
		"escapes":           `"` + repeated(`\u00e9`, maxBody-512) + `"`,
		"surrogates":        `"` + repeated(`\ud83d\ude00`, maxBody-512) + `"`,
		"surrogates to end": `"` + repeated(`\ud83d\ude00`, maxBody-600) + `\ud800"`,
		"half surrogates":   `"` + repeated(`\ud800`, maxBody-512) + `"`,
	} {
		for _, field := range append([]string{"unlisted"}, fields...) {
			add(field+": "+what, mediaJSON, object(fields, field, raw))
		}
	}
	var names, pairs, parts strings.Builder
	for i := 0; names.Len() < maxBody-32; i++ {
		fmt.Fprintf(&names, `"%x":"",`, i)
		fmt.Fprintf(&pairs, "%x&", i)
		fmt.Fprintf(&parts, "--B\r\nContent-Disposition:f;name=%x\r\n\r\n\r\n", i)
	}
	headers := "--B\r\n" + repeated("A:\r\n", maxBody-64) + "\r\n\r\n--B--\r\n"
	disposition := "--B\r\nContent-Disposition: form-data" + repeated(";a*0=b", maxBody-128) + "\r\n\r\n\r\n--B--\r\n"
	var parameters strings.Builder
	for i := 0; parameters.Len() < maxHeader-1024; i++ {
		fmt.Fprintf(&parameters, ";a*%d=b", i)
	}
	boundary := repeated("b", maxHeader-1024)
	add("many names", mediaJSON, "{"+names.String()+`"x":1}`)
	add("many pairs", form, pairs.String())
	add("many empty pairs", form, repeated("&", maxBody))
	add("escapes in a form", form, repeated("%41", maxBody))
	add("broken escapes in a form", form, repeated("%", maxBody))
	add("many parts", multi, parts.String()[:maxBody-len("--B--\r\n")-64]+"\r\n--B--\r\n")
	add("many empty parts", multi, repeated("--B\r\n\r\n\r\n", maxBody-16)+"--B--\r\n")
	add("near boundaries", multi, "--B\r\n\r\n"+repeated("\r\n--", maxBody-64)+"\r\n--B--\r\n")
	add("many part headers", multi, headers)
	add("many disposition parameters", multi, disposition)
	add("a huge boundary", "multipart/form-data; boundary="+boundary, "--"+boundary+"\r\n\r\n"+repeated("\r\n--"+boundary[1:], 20<<10)+"\r\n--"+boundary+"--\r\n")
	add("many type parameters", mediaJSON+parameters.String(), "{}")
	add("similar attributes", mediaJSON, similar(fields))
	return bodies
}

// object returns a JSON object in which one field has a value, and the others usual ones.
func object(fields []string, field, raw string) string {
	members := []string{quote(field) + ":" + raw}
	for _, other := range fields {
		if other != field {
			members = append(members, quote(other)+":"+quote(testserver.Password))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// similar returns an object whose fields are as long as they may be, and have many words of the characters of the password.
func similar(fields []string) string {
	values := map[string]string{}
	for _, field := range fields {
		values[field] = repeated("ab-", 150)
		if strings.Contains(field, "password") {
			values[field] = charactersFrom('一', 127*3) + "ab"
		}
	}
	text, _ := json.Marshal(values) //nolint:errchkjson // texts
	return string(text)
}

func quote(text string) string {
	quoted, _ := json.Marshal(text) //nolint:errchkjson // a text
	return string(quoted)
}

// costly starts a server, and returns every operation of the contract.
func costly(t testing.TB) (*testserver.Server, []endpoint) {
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) {
		c.Policy = password.Policy{Words: []string{"Rollbook", "Springfield School"}}
		c.Origins = []string{"https://example.org"}
	})
	id, token := s.Register("richard")
	return s, endpointsOf(t, id, token)
}

// No body of 64 KiB, and no header, costs much, whichever operation and field it is for.
func TestLongCostlyBodies(t *testing.T) {
	need.Long(t)
	const most = 20 * time.Millisecond
	s, endpoints := costly(t)
	tried := 0
	var worst time.Duration
	try := func(what string, request func() *http.Request) {
		status := 0
		cost := costOf(t, 1, func() { status = answered(s, request()) })
		if cost > most/2 {
			cost = costOf(t, 5, func() { status = answered(s, request()) })
		}
		if tried++; cost > worst {
			worst = cost
			t.Logf("%s: %s, %d", what, cost, status)
		}
		if cost > most {
			t.Errorf("%s: %s of CPU time, want %s at most (%d)", what, cost, most, status)
		}
	}
	for _, e := range endpoints {
		for what, sent := range costlyBodies(e.fields) {
			try(e.method+" "+e.path+" "+what, func() *http.Request { return e.request(sent.contentType, []byte(sent.body)) })
		}
		for what, change := range costlyHeaders {
			try(e.method+" "+e.path+" "+what, func() *http.Request {
				r := e.request(mediaJSON, []byte("{}"))
				change(r)
				return r
			})
		}
	}
	t.Logf("%d requests, %s at most", tried, worst)
	if tried < 2000 {
		t.Error("too few requests were tried")
	}
}

// Nor do the fields of accounts from a roster, a directory or the command line.
func TestLongCostlyAttributes(t *testing.T) {
	need.Long(t)
	const most = 20 * time.Millisecond
	rules, err := server.NewRules(password.Policy{Words: []string{"Rollbook"}})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"username", "first_name", "last_name", "email", "password"}
	for what, text := range costlyTexts() {
		for _, long := range append(names, "all") {
			fields := map[string]string{}
			for _, name := range names {
				fields[name] = testserver.Password
				if name == long || long == "all" {
					fields[name] = text
				}
			}
			cost := costOf(t, 5, func() {
				canonical, _, err := rules.Check(t.Context(), fields)
				if err != nil {
					t.Fatal(err)
				}
				server.NewUser(canonical["username"], canonical["first_name"], canonical["last_name"], canonical["email"])
			})
			if cost > most {
				t.Errorf("%s: %s: %s of CPU time, want %s at most", long, what, cost, most)
			}
		}
	}
}

// costlyHeaders make other parts of a request than its body costly.
var costlyHeaders = map[string]func(*http.Request){
	"many words in Authorization": func(r *http.Request) { r.Header.Set("Authorization", repeated("Token ", maxHeader)) },
	"a long Authorization":        func(r *http.Request) { r.Header.Set("Authorization", "Token "+repeated("x", maxHeader)) },
	"many Authorizations":         func(r *http.Request) { r.Header["Authorization"] = slices.Repeat([]string{"Token x"}, 1000) },
	"a long User-Agent":           func(r *http.Request) { r.Header.Set("User-Agent", repeated("\ufdfa\xff", maxHeader)) },
	"many proxies":                func(r *http.Request) { r.Header.Set("X-Forwarded-For", repeated("127.0.0.1,", maxHeader)) },
	"a long origin":               func(r *http.Request) { r.Header.Set("Origin", "https://"+repeated("a.", maxHeader)) },
	"many request headers": func(r *http.Request) {
		r.Header.Set("Access-Control-Request-Headers", repeated("a,", maxHeader))
	},
	"many languages":   func(r *http.Request) { r.Header.Set("Accept-Language", repeated("de;q=0.1,", maxHeader)) },
	"many encodings":   func(r *http.Request) { r.Header.Set("Accept-Encoding", repeated("br;q=0.1,", maxHeader)) },
	"many cookies":     func(r *http.Request) { r.Header.Set("Cookie", repeated("a=b;", maxHeader)) },
	"many parameters":  func(r *http.Request) { r.URL.RawQuery = repeated("a=%41&", maxHeader) },
	"many baggages":    func(r *http.Request) { r.Header.Set("Baggage", repeated("a=b,", maxHeader)) },
	"a long path":      func(r *http.Request) { r.URL.Path += repeated("x/", maxHeader) },
	"many slashes":     func(r *http.Request) { r.URL.Path += repeated("/", maxHeader) },
	"a long id":        func(r *http.Request) { r.URL.Path = "/api/v1/users/" + repeated("0", maxHeader) + "/" },
	"a long X-Request": func(r *http.Request) { r.Header.Set("X-Request-Id", repeated("a", maxHeader)) },
}

// No body may take 200 ms of CPU time, thrice in a row.
func FuzzCostlyBody(f *testing.F) {
	const most = 200 * time.Millisecond
	if testing.Short() {
		f.Skip("SKIPPED: `make fuzz` runs it")
	}
	s, endpoints := costly(f)
	for i, e := range endpoints {
		if slices.Contains(e.fields, "email") {
			f.Add(i, mediaJSON, []byte(object(e.fields, "email", quote("a@"+charactersFrom('一', maxBody-512)))))
		}
		for _, sent := range costlyBodies(e.fields) {
			if len(sent.body) < 4<<10 { // many longer ones slow the fuzzer down
				f.Add(i, sent.contentType, []byte(sent.body))
			}
		}
		for _, text := range costlyTexts() {
			f.Add(i, mediaJSON, []byte(object(e.fields, "email", quote(strings.ToValidUTF8(text[:min(len(text), 2<<10)], "")))))
		}
	}
	f.Fuzz(func(t *testing.T, operation int, contentType string, body []byte) {
		if operation < 0 || len(body) > maxBody || len(contentType) > maxHeader {
			return // no client can send it
		}
		e := endpoints[operation%len(endpoints)]
		send := func() { answered(s, e.request(contentType, body)) }
		if cost := costOf(t, 1, send); cost <= most {
			return
		}
		if cost := costOf(t, 3, send); cost > most {
			t.Errorf("%s %s: %s of CPU time, want %s at most", e.method, e.path, cost, most)
		}
	})
}

// answered sends a request to a server without a network, and returns the status of its answer.
func answered(s *testserver.Server, r *http.Request) int {
	w := httptest.NewRecorder()
	s.Handler.ServeHTTP(w, r)
	return w.Code
}
