package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	rollbook "github.com/rollbook/rollbook"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// clientIP is where the requests of these tests come from.
const clientIP = "192.0.2.7"

// audited is a server whose log is read after each request.
type audited struct {
	*testserver.Server
	t     *testing.T
	trail *server.Trail
	log   *testserver.Log
	read  int // of the log
}

func startAudited(t *testing.T, address string, changes ...func(*server.Config)) *audited {
	t.Helper()
	a := &audited{t: t, log: &testserver.Log{}}
	a.Server = testserver.Start(t, address, append([]func(*server.Config){func(c *server.Config) {
		c.Log = slog.New(slog.NewJSONHandler(a.log, nil))
		a.trail = server.NewTrail(c.Log)
		c.Trail = a.trail
	}}, changes...)...)
	return a
}

// send sends a request without a connection. A token with a blank is a whole Authorization header.
func (a *audited) send(method, path, token string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequestWithContext(a.t.Context(), method, path, body)
	r.RemoteAddr = clientIP + ":1234"
	r.Header.Set("Content-Type", "application/json")
	switch {
	case strings.Contains(token, " "):
		r.Header.Set("Authorization", token)
	case token != "":
		r.Header.Set("Authorization", "Token "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.Handler.ServeHTTP(w, r)
	return w
}

// lines returns the audit lines since the last call as "event KEY=VALUE …" without ids, and the line of the last request.
func (a *audited) lines() (audit []string, request map[string]any) {
	a.t.Helper()
	a.trail.Flush()
	text := a.log.String()
	a.Secrets.Check(a.t, text)
	for line := range strings.Lines(text[a.read:]) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			a.t.Fatal(err)
		}
		if entry["msg"] == server.RequestLine {
			request = entry
			continue
		}
		if entry["msg"] != "audit" {
			continue
		}
		what := fmt.Sprint(entry["event"])
		for _, key := range []string{"account", "actor", "limit", "reason", "operation", "fields", "token", "count"} {
			if value, ok := entry[key]; ok {
				what += fmt.Sprintf(" %s=%v", key, value)
			}
		}
		audit = append(audit, what)
		if entry["address"] != clientIP || entry["id"] == nil {
			a.t.Errorf("it does not say which request it was: %s", line)
		}
	}
	a.read = len(text)
	return audit, request
}

// wantAudit fails the test if a request was not answered with this status, or did not leave exactly these audit lines.
func (a *audited) wantAudit(w *httptest.ResponseRecorder, status int, caller string, want ...string) {
	a.t.Helper()
	got, request := a.lines()
	if w.Code != status || !slices.Equal(got, want) {
		a.t.Errorf("got %d %s\n%s\nwant %d\n%s", w.Code, w.Body, strings.Join(got, "\n"), status, strings.Join(want, "\n"))
	}
	account, _ := request["account"].(string)
	if request["address"] != clientIP || account != caller || int(request["status"].(float64)) != status {
		a.t.Errorf("the line of the request is %v, want the account %q", request, caller)
	}
}

func text(body string) io.Reader { return strings.NewReader(body) }

// Each security event of each operation has one line, with account, actor, address and what was done; so has each request.
func TestEveryEventIsAudited(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		a := startAudited(t, address)
		id, token := a.Register("richard")
		other, otherToken := a.Register("monica")
		invited := server.NewUser("invited", "", "Featherstone", "")
		code := repository.NewCode()
		if err := errors.Join(a.DB.Users().Create(t.Context(), invited),
			a.DB.Codes().Put(t.Context(), repository.CodeFor(invited.ID, code, a.DB.Now().AddDate(0, 0, 1)))); err != nil {
			t.Fatal(err)
		}
		a.read = len(a.log.String())
		own, others := "/api/v1/users/"+id+"/", "/api/v1/users/"+other+"/"
		const register, login, set = "/api/v1/users/", "/api-token-auth/", "/api/v1/users/password/"
		by := "account=" + id + " actor=" + id
		const nobody = "account=unknown actor=unknown"
		const creds = `{"username":"richard","password":"` + testserver.Password + `"}`

		for _, step := range []struct {
			method, path, token, body string
			status                    int
			caller                    string
			want                      []string
		}{
			{"PATCH", own, token, `{"email":"new@example.org"}`, 200, id, []string{"email changed " + by + " fields=email"}},
			{"PUT", own, token, `{"email":"newer@example.org","first_name":"Dick"}`, 200, id, []string{"email changed " + by + " fields=first_name,email"}},
			{"PATCH", own, token, `{"last_name":"H"}`, 200, id, []string{"profile changed " + by + " fields=last_name"}},
			{"PATCH", own, token, `{"last_name":"H"}`, 200, id, nil},
			{"PATCH", own, token, `{}`, 200, id, nil},
			{"PATCH", own, token, `{"email":"nonsense"}`, 400, id, nil},
			{"GET", own, token, "", 200, id, nil},
			{"GET", others, token, "", 200, id, nil},

			{"GET", own, "", "", 401, "", []string{"unauthorized " + nobody + " reason=no credentials operation=getUser count=1"}},
			{"GET", own, "Basic YTpi", "", 401, "", []string{"unauthorized " + nobody + " reason=no credentials operation=getUser count=1"}},
			{"GET", own, "Token ", "", 401, "", []string{"unauthorized " + nobody + " reason=no token operation=getUser count=1"}},
			{"GET", own, "Token a b", "", 401, "", []string{"unauthorized " + nobody + " reason=malformed token operation=getUser count=1"}},
			{"GET", own, "Token \xff", "", 401, "", []string{"unauthorized " + nobody + " reason=malformed token operation=getUser count=1"}},
			{"GET", own, strings.Repeat("0", 8), "", 401, "", []string{"unauthorized " + nobody + " reason=unknown token operation=getUser count=1"}},
			{"HEAD", own, "", "", 401, "", []string{"unauthorized " + nobody + " reason=no credentials operation=getUser count=1"}},
			{"PATCH", others, token, `{"email":"x@example.org"}`, 403, id, []string{"forbidden account=" + other + " actor=" + id + " reason=not the owner operation=patchUser count=1"}},

			{"POST", register, "", `{"username":"richard","password":"` + testserver.Password + `"}`, 400, "", []string{"registration refused " + nobody + " reason=name taken operation=registerUser count=1"}},
			{"POST", register, "", `{"username":"eve","password":"password"}`, 400, "", []string{"registration refused " + nobody + " reason=weak password operation=registerUser count=1"}},
			{"POST", register, "", `{"username":"a b","password":"password"}`, 400, "", []string{"registration refused " + nobody + " reason=invalid fields operation=registerUser fields=password,username count=1"}},
			{"POST", register, "", `{"username":"eve"`, 400, "", []string{"registration refused " + nobody + " reason=invalid body operation=registerUser count=1"}},

			{"POST", login, "", `{"username":"richard","password":"wrong-password"}`, 400, "", []string{"refused account=" + id + " actor=unknown reason=credentials"}},
			{"POST", login, "", `{"username":"nobody","password":"wrong-password"}`, 400, "", []string{"refused " + nobody + " reason=credentials"}},
			{"POST", login, "", `{"username":"richard"}`, 400, "", []string{"refused " + nobody + " reason=invalid fields operation=logIn fields=password count=1"}},
			{"POST", login, "", creds, 200, id, []string{"signed in " + by + " token=TOKEN"}},

			{"POST", set, "", `{"username":"invited","code":"0000-0000-0000-0000","new_password":"staple-battery-9"}`, 400, "", []string{"refused account=" + invited.ID.String() + " actor=unknown reason=code"}},
			{"POST", set, "", `{"username":"nobody","code":"0000-0000-0000-0000","new_password":"staple-battery-9"}`, 400, "", []string{"refused " + nobody + " reason=code"}},
			{"POST", set, "", `{"username":"invited","code":"` + code + `","new_password":"password"}`, 400, "", []string{"password change refused " + nobody + " reason=weak password operation=setPassword count=1"}},
			{"POST", set, "", `{"username":"invited","code":"` + code + `","new_password":"featherstone1"}`, 400, "", nil},
			{"POST", set, "", `{"username":"invited","code":"` + code + `","new_password":"staple-battery-9"}`, 204, invited.ID.String(), []string{"password changed account=" + invited.ID.String() + " actor=" + invited.ID.String()}},

			{"POST", own + "password/", token, `{"current_password":"wrong-password","new_password":"staple-battery-9"}`, 400, id, []string{"refused " + by + " reason=current password"}},
			{"POST", own + "password/", token, `{"current_password":"` + testserver.Password + `","new_password":"password"}`, 400, id, []string{"password change refused " + by + " reason=weak password operation=changePassword count=1"}},
			{"POST", own + "password/", token, `{"current_password":"` + testserver.Password + `"}`, 400, id, []string{"password change refused " + by + " reason=invalid fields operation=changePassword fields=new_password count=1"}},
			{"POST", own + "password/", otherToken, `{}`, 403, other, []string{"forbidden account=" + id + " actor=" + other + " reason=not the owner operation=changePassword count=1"}},
			{"POST", own + "password/", token, `{"current_password":"` + testserver.Password + `","new_password":"staple-battery-9"}`, 204, id, []string{"password changed " + by}},

			{"DELETE", own + "tokens/00000000-0000-4000-8000-000000000000/", token, "", 404, id, nil},
			{"POST", "/api-token-logout/", otherToken, "", 204, other, []string{"token revoked account=" + other + " actor=" + other + " token=TOKEN"}},
			{"DELETE", own + "tokens/", token, "", 204, id, []string{"all tokens revoked " + by}},
			{"GET", "/docs/", "", "", 200, "", nil},
			{"GET", "/nothing", "", "", 404, "", nil},
		} {
			if step.path == set && strings.Contains(step.body, "featherstone1") { // the code was right, so that the account is known
				step.caller = invited.ID.String()
				step.want = []string{"password change refused account=" + step.caller + " actor=" + step.caller + " reason=weak password operation=setPassword count=1"}
			}
			w := a.send(step.method, step.path, step.token, text(step.body))
			a.Secrets.Add(w.Body.Bytes())
			for i, want := range step.want {
				if strings.Contains(want, "TOKEN") {
					tokens := uuidAfter(a.log.String()[a.read:], `"token":"`)
					step.want[i] = strings.ReplaceAll(want, "TOKEN", tokens)
				}
			}
			a.wantAudit(w, step.status, step.caller, step.want...)
			if t.Failed() {
				t.Fatalf("after %s %s %s", step.method, step.path, step.body)
			}
		}
		if log := a.log.String(); strings.Contains(log, "example.org") || strings.Contains(log, "wrong-password") || strings.Contains(log, "Dick") {
			t.Error("the log holds what was typed")
		}
	})
}

// uuidAfter is the UUID that follows a text.
func uuidAfter(log, prefix string) string {
	_, rest, _ := strings.Cut(log, prefix)
	const length = 36
	return rest[:min(length, len(rest))]
}

// What depends on settings: registration that is closed, profiles that are hidden.
func TestRefusalsBySettingAreAudited(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		open := testserver.Start(t, address)
		id, token := open.Register("richard")
		other, _ := open.Register("monica")
		a := startAudited(t, address, func(c *server.Config) { c.Closed, c.OwnProfilesOnly = "Closed.", true })
		a.wantAudit(a.send("POST", "/api/v1/users/", "", text(`{}`)), 403, "",
			"registration refused account=unknown actor=unknown reason=registration closed operation=registerUser count=1")
		a.wantAudit(a.send("GET", "/api/v1/users/"+other+"/", token, nil), 404, id,
			"forbidden account="+other+" actor="+id+" reason=hidden profile operation=getUser count=1")
	})
}

// slowBody is a body that does not arrive in time.
type slowBody struct{}

func (slowBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// Every 4xx that the contract declares is audited, or is no security event by the rule that docs/operating.md states: a
// profile's invalid fields, and what is not found. An operation that is added later needs no line here.
func TestEveryDeclaredRefusalIsAudited(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(rollbook.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	address := testdb.SQLite(t)
	a := startAudited(t, address)
	closed := startAudited(t, address, func(c *server.Config) { c.Closed = "Closed." })
	limits, err := a.DB.Limits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	busy := startAudited(t, address, func(c *server.Config) {
		c.Limits = limits
		c.Throttle = server.Throttle{Failures: 1, Backoff: 1 << 40, BackoffMax: 1 << 41, PerAddress: 1, Registrations: 1}
	})
	id, token := a.Register("richard")
	other, _ := a.Register("monica")
	a.read = len(a.log.String())
	const id404 = "00000000-0000-4000-8000-000000000000"
	walked := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			to := func(account string) string {
				return strings.NewReplacer("{id}", account, "{token_id}", id404).Replace(path)
			}
			body, registers := op.RequestBody != nil, op.Extensions["x-access"] == "registration"
			for status := range op.Responses.Map() {
				if !strings.HasPrefix(status, "4") {
					continue
				}
				walked++
				s, w := a, (*httptest.ResponseRecorder)(nil)
				event := ""
				if body { // of what refuses a body
					switch {
					case registers:
						event = "registration refused"
					case bytes.Contains(propertiesOf(op), []byte("x-policy")):
						event = "password change refused"
					case op.Security != nil && len(*op.Security) == 0:
						event = "refused"
					}
				}
				switch status {
				case "400":
					w = s.send(method, to(id), token, text("{"))
				case "401":
					w, event = s.send(method, to(id), "", nil), "unauthorized"
				case "403":
					if event = "forbidden"; registers {
						s, event = closed, "registration refused"
					}
					w = s.send(method, to(other), token, nil)
				case "404":
					w, event = s.send(method, to(id404), token, text("{}")), ""
				case "408":
					w = s.send(method, to(id), token, slowBody{})
				case "413":
					w = s.send(method, to(id), token, text(strings.Repeat(" ", 1<<20)))
				case "415":
					w = s.send(method, to(id), token, text("a"), "Content-Type", "text/csv")
				case "429":
					s, event = busy, "throttled"
					valid := fmt.Sprintf(`{"username":"x%d","password":"staple-battery-9","current_password":"wrong","new_password":"staple-battery-9","code":"0000-0000-0000-0000"}`, walked)
					for range 2 {
						s.read = len(s.log.String())
						w = s.send(method, to(id), token, text(valid))
					}
				default:
					t.Fatalf("%s: the test does not know how to get %s", op.OperationID, status)
				}
				audit, request := s.lines()
				if fmt.Sprint(w.Code) != status || event == "" != (len(audit) == 0) || len(audit) > 1 ||
					event != "" && !strings.HasPrefix(audit[0], event+" account=") || request["address"] != clientIP {
					t.Errorf("%s, %s: answered %d, and audited %q; want %q; the request's line is %v", op.OperationID, status, w.Code, audit, event, request)
				}
			}
		}
	}
	if walked < 40 {
		t.Errorf("only %d answers were tried", walked)
	}
}

// propertiesOf are the fields of an operation's body, as JSON.
func propertiesOf(op *openapi3.Operation) []byte {
	var all []byte
	for _, property := range op.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties {
		text, _ := json.Marshal(property.Value)
		all = append(all, text...)
	}
	return all
}

// A flood of throttled logins costs a line per limit and interval, and loses no count; other events are written at once.
func TestThrottledFloodIsCounted(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		a := startAudited(t, address, func(c *server.Config) {
			limits, err := c.DB.Limits(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.Limits, c.Throttle = limits, server.Throttle{Failures: 1, Backoff: 1 << 40, BackoffMax: 1 << 41}
		})
		a.Register("richard")
		login := func() *httptest.ResponseRecorder {
			return a.send("POST", "/api-token-auth/", "", text(`{"username":"richard","password":"wrong-password"}`))
		}
		login()
		a.read = len(a.log.String())
		const requests, clients = 10_000, 8
		var flood sync.WaitGroup
		for range clients {
			flood.Go(func() {
				for range requests / clients {
					if w := login(); w.Code != http.StatusTooManyRequests {
						t.Errorf("got %d", w.Code)
					}
				}
			})
		}
		flood.Wait()
		a.Register("monica")
		a.trail.Flush()
		lines, counted := 0, 0
		for line := range strings.Lines(a.log.String()[a.read:]) {
			var entry struct {
				Event, Account, Limit string
				Count                 int
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatal(err)
			}
			lines++
			if entry.Event == "throttled" && entry.Limit == "account and network" && entry.Account != uuid.Nil.String() {
				counted += entry.Count
			}
		}
		// The first and its request, a line per minute that it takes, the last, and the registration with its request.
		const most = 12
		t.Logf("%d throttled requests are %d lines of %d bytes", requests, lines, len(a.log.String())-a.read)
		if counted != requests || lines > most {
			t.Errorf("%d requests are %d lines that count %d, want %d lines at most", requests, lines, counted, most)
		}
		if !strings.Contains(a.log.String()[a.read:], `"event":"registered"`) {
			t.Error("a registration was not written")
		}
	})
}
