package roster_test

import (
	"encoding/csv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/roster"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// school is a database and a folder with rosters.
type school struct {
	*testing.T
	db     *repository.DB
	folder string
	events []string
}

func each(t *testing.T, f func(s *school)) {
	t.Helper()
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) { f(newSchool(t, address)) })
}

func newSchool(t *testing.T, address string) *school {
	t.Helper()
	return &school{T: t, db: testdb.Open(t, address), folder: t.TempDir()}
}

// options are those of an import whose report is beside the roster.
func (s *school) options(changes ...func(*roster.Options)) roster.Options {
	s.Helper()
	rules, err := server.NewRules(password.Policy{})
	if err != nil {
		s.Fatal(err)
	}
	o := roster.Options{
		DB: s.db, Rules: rules, Hasher: password.New(testserver.CheapHashing), CodeTTL: time.Hour, MostMissing: 0.1,
		Report: filepath.Join(s.folder, "report.csv"),
		Audit:  func(event server.Event, _ uuid.UUID, _ ...slog.Attr) { s.events = append(s.events, string(event)) },
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

// file writes a roster and returns its path.
func (s *school) file(text string) string {
	s.Helper()
	path := filepath.Join(s.folder, "roster.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// run imports a roster and returns the rows of the report, without the header, as line, username, result and reason; and
// the codes by username.
func (s *school) run(text string, changes ...func(*roster.Options)) (rows []string, codes map[string]string) {
	s.Helper()
	s.events = nil
	o := s.options(changes...)
	if _, err := roster.Import(s.Context(), s.file(text), o); err != nil {
		s.Fatal(err)
	}
	return s.report(o.Report)
}

func (s *school) report(path string) (rows []string, codes map[string]string) {
	s.Helper()
	info, err := os.Stat(path)
	if err != nil {
		s.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		s.Errorf("the report can be read by others: %v", info.Mode())
	}
	file, err := os.Open(path)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	all, err := csv.NewReader(file).ReadAll()
	if err != nil || len(all) == 0 {
		s.Fatalf("the report: %v, %v", all, err)
	}
	codes = map[string]string{}
	for _, cells := range all[1:] {
		rows = append(rows, strings.Join(slices.DeleteFunc(slices.Clone(cells[:4]), func(c string) bool { return c == "" }), " "))
		if cells[4] != "" {
			codes[cells[1]] = cells[4]
		}
	}
	return rows, codes
}

func (s *school) wantRows(got []string, want ...string) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (s *school) user(username string) repository.User {
	s.Helper()
	user, err := s.db.Users().ByUsername(s.Context(), username)
	if err != nil {
		s.Fatalf("%s: %v", username, err)
	}
	return user
}

// opens tells whether a code is an account's.
func (s *school) opens(username, code string) bool {
	s.Helper()
	id := s.user(username).ID
	codes, err := s.db.Codes().Of(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	return codes[id].Is(code)
}

const hash = "pbkdf2_sha256$20000$salt$fjBOEZCJo0jWJIv1ZqtOJ/1VCYBJQYdG3VDO9VNt6gM="
