package django_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/need"
)

// service is the reference service on Django REST Framework, over a database of its own.
type service struct {
	t        testing.TB
	python   string
	database string
	env      []string
	URL      string // once it serves
}

// python returns one that has what the reference service needs. Where there is none, the test is skipped.
func python(t testing.TB) string {
	t.Helper()
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import rest_framework, argon2, bcrypt, psycopg2").Run() == nil {
			return python
		}
	}
	need.Skip(t, "python3 with Django REST Framework, argon2, bcrypt and psycopg2")
	return ""
}

// newService returns the service over a database, sqlite:PATH or postgres://…; its ids are UUIDs, or integers.
func newService(t testing.TB, database string, integers bool) *service {
	t.Helper()
	s := &service{t: t, python: python(t), database: database, env: append(os.Environ(), "DJANGO_DB="+database, "PYTHONDONTWRITEBYTECODE=1")}
	if integers {
		s.env = append(s.env, "DJANGO_USERS=integers")
	}
	return s
}

func (s *service) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.t.Context(), s.python, append([]string{"service.py"}, args...)...)
	cmd.Dir, cmd.Env = "reference", s.env
	return cmd
}

// serve serves until the test ends.
func (s *service) serve() {
	s.t.Helper()
	cmd := s.command("serve", "0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatalf("it ended without saying where it serves: %v", err)
	}
	s.URL = "http://127.0.0.1:" + strings.TrimSpace(strings.TrimPrefix(line, "ready "))
}

// person is a user of the service, as its command fill takes it.
type person map[string]any

// made is what the command fill says of a user.
type made struct{ ID, Token string }

// fill makes users, and returns what they are by username.
func (s *service) fill(people ...person) map[string]made {
	s.t.Helper()
	result := map[string]made{}
	if err := json.Unmarshal(s.pipe("fill", append([]person{}, people...)), &result); err != nil {
		s.t.Fatal(err)
	}
	return result
}

// change changes users, as the command says.
func (s *service) change(changes ...map[string]any) {
	s.t.Helper()
	s.pipe("change", changes)
}

func (s *service) pipe(command string, input any) []byte {
	s.t.Helper()
	text, err := json.Marshal(input)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command(command)
	cmd.Stdin = bytes.NewReader(text)
	var failure bytes.Buffer
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatal(fmt.Errorf("%s: %w: %s", command, err, failure.String()))
	}
	return out
}
