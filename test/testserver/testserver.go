// Package testserver starts servers for tests, and holds every answer of theirs against the contract.
package testserver

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/contract"
	"github.com/rollbook/rollbook/test/testdb"
)

// Password is the one that tests register accounts with. It may appear in no log.
const Password = "Correct-Horse-9"

// CheapHashing keeps tests fast. Not for tests about the cost of hashing.
var CheapHashing = password.Options{Params: password.Params{Memory: 8, Time: 1, Threads: 1}}

// Server is a server of one test.
type Server struct {
	URL     string
	Handler http.Handler
	DB      *repository.DB
	Log     *Log

	t       testing.TB
	client  *http.Client
	Secrets Secrets // that it was told and has told
}

// Start serves a migrated database until the test ends. The changes are made to the usual configuration.
func Start(t testing.TB, address string, changes ...func(*server.Config)) *Server {
	t.Helper()
	db, err := repository.Open(t.Context(), address, testdb.Patient)
	if err != nil {
		t.Fatal(err)
	}
	log := &Log{}
	config := server.Config{
		DB: db, Hasher: password.New(CheapHashing), AdmissionWait: testdb.Patient.Timeout, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, change := range changes {
		change(&config)
	}
	handler, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	started := &Server{URL: s.URL, Handler: handler, DB: db, Log: log, t: t, client: Client(t)}
	t.Cleanup(func() {
		s.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		started.Secrets.Check(t, log.String())
	})
	return started
}

// Client returns a client that follows no redirects and fails the test for answers that the contract does not allow.
func Client(t testing.TB) *http.Client {
	return &http.Client{
		Transport:     contract.Transport(t),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Request is what a test sends. A Body that is no string or []byte is sent as JSON.
type Request struct {
	Method string
	Path   string
	Token  string // for the Authorization header; Header may say more
	Header map[string]string
	Body   any

	Untyped bool // send no Content-Type
	Chunked bool // do not say how long the body is
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Text   string
	JSON   map[string]any // nil where the body is no JSON object
}

// Do sends a request.
func (s *Server) Do(r Request) Answer {
	s.t.Helper()
	sent := body(s.t, r.Body)
	s.Secrets.Add(sent)
	req, err := http.NewRequestWithContext(s.t.Context(), r.Method, s.URL+r.Path, bytes.NewReader(sent))
	if err != nil {
		s.t.Fatal(err)
	}
	if r.Chunked {
		req.ContentLength = -1
	}
	if r.Body != nil && !r.Untyped {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Token "+r.Token)
	}
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it is in memory already
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	answer := Answer{Status: resp.StatusCode, Header: resp.Header, Text: string(text)}
	_ = json.Unmarshal(text, &answer.JSON) // as documented
	s.Secrets.Add(text)
	return answer
}

func body(t testing.TB, b any) []byte {
	t.Helper()
	switch b := b.(type) {
	case nil:
		return nil
	case string:
		return []byte(b)
	case []byte:
		return b
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Register registers an account with Password and returns its id and token.
func (s *Server) Register(username string) (id, token string) {
	s.t.Helper()
	a := s.Do(Request{Method: http.MethodPost, Path: "/api/v1/users/", Body: map[string]string{
		"username": username, "password": Password, "first_name": "Richard", "last_name": "Hendriks",
		"email": "richard@piedpiper.com",
	}})
	if a.Status != http.StatusCreated {
		s.t.Fatalf("register %s: %d %s", username, a.Status, a.Text)
	}
	return a.JSON["id"].(string), a.JSON["auth_token"].(string)
}

// Log keeps what a server logs.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
