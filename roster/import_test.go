package roster_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	db, err := repository.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &school{T: t, db: db, folder: t.TempDir()}
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
		Audit:  func(event server.Event, _ uuid.UUID) { s.events = append(s.events, string(event)) },
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
	if err != nil || info.Mode().Perm() != 0o600 {
		s.Fatalf("the report: %v, %v", info.Mode(), err)
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
		rows = append(rows, strings.Join(slices.DeleteFunc(cells[:4], func(c string) bool { return c == "" }), " "))
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

func TestImport(t *testing.T) {
	each(t, func(s *school) {
		const first = "username,first_name,last_name,email,password,password_hash,active,class\n" +
			" ａnna ,Anna, Berg ,Anna@School.ORG,,,,5a\n" +
			"bela,Béla,,,staple-battery-7,,yes,5a\n" +
			"cora,,,," + `,"` + hash + `",,5a` + "\n" +
			"dora,,,,,!unusable,,5a\n" +
			"emil,,,,,,No,5a\n"
		rows, codes := s.run(first)
		s.wantRows(rows, "2 anna added", "3 bela added", "4 cora added", "5 dora added", "6 emil added")
		anna, bela, cora, emil := s.user("anna"), s.user("bela"), s.user("cora"), s.user("emil")
		if anna.FirstName != "Anna" || anna.LastName != "Berg" || anna.Email != "Anna@school.org" || anna.Password != "" || !anna.IsActive {
			s.Errorf("got %+v", anna)
		}
		if ok, err := password.New(testserver.CheapHashing).Verify(s.Context(), bela.Password, "staple-battery-7"); !ok || err != nil {
			s.Errorf("the password is %q, %v", bela.Password, err)
		}
		if cora.Password != hash || emil.IsActive || emil.Password != "" {
			s.Errorf("got %+v, %+v", cora, emil)
		}
		if len(codes) != 2 || !s.opens("anna", codes["anna"]) || !s.opens("dora", codes["dora"]) {
			s.Errorf("the codes are %v", codes)
		}
		if got := strings.Join(s.events, ", "); got != "registered, invited, registered, registered, registered, invited, registered" {
			s.Errorf("events: %s", got)
		}

		// The same again changes nothing, and reports the same codes.
		rows, again := s.run(first)
		s.wantRows(rows, "2 anna unchanged", "3 bela unchanged", "4 cora unchanged", "5 dora unchanged", "6 emil unchanged")
		if fmt.Sprint(again) != fmt.Sprint(codes) || len(s.events) > 0 {
			s.Errorf("codes %v became %v; events %v", codes, again, s.events)
		}
		if s.user("anna") != anna || s.user("bela") != bela || s.user("emil") != emil {
			s.Error("an account was changed")
		}

		// What is in no column stays; passwords that people have stay; who has none gets one.
		if err := s.db.Codes().Redeem(s.Context(), anna.ID, codes["anna"], "hers"); err != nil {
			s.Fatal(err)
		}
		rows, codes = s.run("username;email;password_hash;active\nanna;;" + hash + ";\nbela;b@x.org;" + hash + ";false\ndora;;" + hash + ";\nemil;;;true\n")
		s.wantRows(rows, "2 anna changed email", "3 bela changed email, active", "4 dora changed password", "5 emil changed active, code")
		if got := s.user("anna"); got.FirstName != "Anna" || got.Email != "" || got.Password != "hers" || !got.IsActive {
			s.Errorf("got %+v", got)
		}
		if got := s.user("bela"); got.Email != "b@x.org" || got.Password != bela.Password || got.IsActive {
			s.Errorf("got %+v", got)
		}
		if got := s.user("dora"); got.Password != hash {
			s.Errorf("got %+v", got)
		}
		if !s.user("emil").IsActive || len(codes) != 1 || !s.opens("emil", codes["emil"]) {
			s.Errorf("the codes are %v", codes)
		}
		if got := strings.Join(s.events, ", "); got != "deactivated, password changed, invited, activated" {
			s.Errorf("events: %s", got)
		}
		rows, _ = s.run("username\nbela\n")
		s.wantRows(rows, "2 bela unchanged the account is not active")
	})
}

func TestWrongLines(t *testing.T) {
	each(t, func(s *school) {
		rows, _ := s.run("username,first_name,email,password,password_hash,active\n" +
			"a b,,,,,\n,x,,,,\n" + strings.Repeat("x", 151) + ",,,,,\n" +
			"ok1,,nope,12345678,,perhaps\n" +
			"ok2,,,hendriks,pbkdf2_sha256$1$x,\n" +
			"ok3,,,,md5$a$b,\n" +
			"good,,,,,\n" +
			"good,other,,,,\n" +
			"ok4,\"a\x00b\",,,,\n" +
			"ok5,,\n" +
			"ok6,a\"b,,,,\n" +
			"Good,,,,,\n")
		s.wantRows(rows,
			"2 a b wrong username: Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.",
			"3 wrong username: This field may not be blank.",
			"4 "+strings.Repeat("x", 151)+" wrong username: Ensure this field has no more than 150 characters.",
			"5 ok1 wrong active: Must be a valid boolean.; email: Enter a valid email address.; password: This password is too common. This password is entirely numeric.",
			"6 ok2 wrong password_hash: There is a password, too. Give one of the two.",
			"7 ok3 wrong password_hash: This is not an encoded password that can be verified.",
			"8 good added",
			"9 good wrong username: Line 8 has the same.",
			"10 ok4 wrong first_name: Null characters are not allowed.",
			"11 wrong it has 3 cells, and the first line has 6",
			`12 wrong bare " in non-quoted-field (quotes stand around a whole cell, and twice within one)`,
			"13 Good added")
		users, err := s.db.Users().After(s.Context(), "", 100)
		if err != nil || len(users) != 2 {
			s.Errorf("got %d accounts, %v", len(users), err)
		}
	})
}

func TestDeactivateMissing(t *testing.T) {
	each(t, func(s *school) {
		list := func(from, to int) string {
			text := "username,email\n"
			for i := from; i < to; i++ {
				text += fmt.Sprintf("u%02d,\n", i)
			}
			return text
		}
		missing := func(o *roster.Options) { o.DeactivateMissing = true }
		s.run(list(0, 20))
		token, key := repository.NewToken(s.user("u00").ID, "")
		if err := s.db.Tokens(repository.Lifetimes{}).Create(s.Context(), token); err != nil {
			s.Fatal(err)
		}
		refused := func(text, want string) {
			s.Helper()
			_, err := roster.Import(s.Context(), s.file(text), s.options(missing))
			if err == nil || !strings.Contains(err.Error(), want) {
				s.Errorf("got %v, want %s", err, want)
			}
		}
		refused(list(3, 25), "3 of 20 active accounts are not on the roster: deactivating more than 10 %")
		refused(list(1, 20)+"\"x\n", "1 lines are wrong and do not say whose they are")
		if users, err := s.db.Users().After(s.Context(), "", 100); err != nil || len(users) != 20 {
			s.Errorf("what was refused has made accounts: %d, %v", len(users), err)
		}
		// Whoever has a line is on the roster, also where the line is wrong.
		rows, _ := s.run(list(2, 20)+"u01,nope\n", missing)
		s.wantRows(rows[18:], "20 u01 wrong email: Enter a valid email address.", "u00 deactivated not on the roster")
		for name, active := range map[string]bool{"u00": false, "u01": true, "u02": true, "u19": true} {
			if s.user(name).IsActive != active {
				s.Errorf("%s is active: %v", name, !active)
			}
		}
		if _, _, err := s.db.Tokens(repository.Lifetimes{}).Owner(s.Context(), key); !errors.Is(err, repository.ErrNotFound) {
			s.Errorf("who was deactivated is signed in: %v", err)
		}
	})
}

func TestDryRunChangesNothing(t *testing.T) {
	each(t, func(s *school) {
		s.run("username\nanna\nbela\n")
		const next = "username,email\nanna,a@x.org\ncora,\nx y,\n"
		before, err := os.ReadFile(filepath.Join(s.folder, "report.csv"))
		if err != nil {
			s.Fatal(err)
		}
		var shown []string
		counts, err := roster.Import(s.Context(), s.file(next), s.options(func(o *roster.Options) {
			o.DryRun, o.DeactivateMissing, o.MostMissing = true, true, 1
			o.Show = func(r roster.Row) error {
				shown = append(shown, fmt.Sprintln(r.Line, r.Username, r.Result))
				return nil
			}
		}))
		if err != nil || counts[roster.Wrong] != 1 {
			s.Errorf("got %v, %v", counts, err)
		}
		s.wantRows(shown, "2 anna changed\n", "3 cora added\n", "4 x y wrong\n", "0 bela deactivated\n")
		after, err := os.ReadFile(filepath.Join(s.folder, "report.csv"))
		if err != nil || string(after) != string(before) {
			s.Errorf("the report was changed, %v", err)
		}
		users, err := s.db.Users().After(s.Context(), "", 100)
		if err != nil || len(users) != 2 || users[0].Email != "" || !users[1].IsActive {
			s.Errorf("got %+v, %v", users, err)
		}
	})
}

// An import that ends in the middle loses no code: what it planned is what the next run stores and reports.
func TestInterruptedImport(t *testing.T) {
	each(t, func(s *school) {
		const students = 1200
		text := "username\n"
		for i := range students {
			text += fmt.Sprintf("u%04d\n", i)
		}
		ctx, cancel := context.WithCancel(s.Context())
		made := 0
		_, err := roster.Import(ctx, s.file(text), s.options(func(o *roster.Options) {
			o.Audit = func(server.Event, uuid.UUID) {
				if made++; made == 700 {
					cancel()
				}
			}
		}))
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "run it again to go on") {
			s.Fatalf("got %v", err)
		}
		_, planned := s.report(filepath.Join(s.folder, "report.csv.plan"))
		rows, codes := s.run(text)
		if len(rows) != students || rows[0] != "2 u0000 unchanged" || rows[students-1] != "1201 u1199 added" || len(codes) != students {
			s.Fatalf("%d rows, from %s to %s; %d codes", len(rows), rows[0], rows[len(rows)-1], len(codes))
		}
		for name, code := range codes {
			if code != planned[name] || !s.opens(name, code) {
				s.Fatalf("%s: %s was planned, %s is reported", name, planned[name], code)
			}
		}
		for _, name := range []string{"report.csv.plan", "report.csv.tmp"} {
			if _, err := os.Stat(filepath.Join(s.folder, name)); !errors.Is(err, os.ErrNotExist) {
				s.Errorf("%s is left: %v", name, err)
			}
		}
		// Codes of an import that ended are not given to others of the same name.
		if err := s.db.Users().Delete(s.Context(), s.user("u0000").ID); err != nil {
			s.Fatal(err)
		}
		if _, again := s.run(text); again["u0000"] == codes["u0000"] || !s.opens("u0000", again["u0000"]) || again["u0001"] != codes["u0001"] {
			s.Errorf("a deleted account's code is given to the next of the name")
		}
	})
}

// Who has no password and no code that can be used gets another code.
func TestExpiredCodesAreReplaced(t *testing.T) {
	each(t, func(s *school) {
		brief := func(o *roster.Options) { o.CodeTTL = time.Millisecond }
		_, first := s.run("username\nanna\n", brief)
		time.Sleep(time.Second)
		rows, second := s.run("username\nanna\n")
		s.wantRows(rows, "2 anna changed code")
		if first["anna"] == second["anna"] || !s.opens("anna", second["anna"]) {
			s.Errorf("%s became %s", first["anna"], second["anna"])
		}
		if err := os.Remove(filepath.Join(s.folder, "report.csv")); err != nil {
			s.Fatal(err)
		}
		rows, third := s.run("username\nanna\n") // the code is in no report, and is good
		s.wantRows(rows, "2 anna unchanged")
		if len(third) != 0 || !s.opens("anna", second["anna"]) {
			s.Errorf("codes %v", third)
		}
	})
}

// Of two imports at once, and registrations meanwhile, each account is made by one.
func TestImportsAtOnce(t *testing.T) {
	each(t, func(s *school) {
		const students = 1500
		text := "username,first_name\n"
		for i := range students {
			text += fmt.Sprintf("u%04d,F\n", (i*7)%students)
		}
		var wg sync.WaitGroup
		all := make([]map[string]string, 3)
		for n := range all {
			path := filepath.Join(s.folder, fmt.Sprint(n, ".csv"))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				s.Fatal(err)
			}
			o := s.options(func(o *roster.Options) {
				o.Report, o.Audit = path+".report", func(server.Event, uuid.UUID) {}
			})
			wg.Go(func() {
				if counts, err := roster.Import(s.Context(), path, o); err != nil || counts[roster.Wrong] > 0 {
					s.Errorf("got %v, %v", counts, err)
				}
			})
		}
		wg.Go(func() {
			for i := range 100 {
				err := s.db.Users().Create(s.Context(), server.NewUser(fmt.Sprintf("u%04d", i*15), "R", "", ""))
				if err != nil && !errors.Is(err, repository.ErrUsernameTaken) {
					s.Error(err)
				}
			}
		})
		wg.Wait()
		total := 0
		for n := range all {
			_, all[n] = s.report(filepath.Join(s.folder, fmt.Sprint(n, ".csv.report")))
			total += len(all[n])
			for name, code := range all[n] {
				if !s.opens(name, code) {
					s.Fatalf("report %d has a code for %s that is not the account's", n, name)
				}
			}
		}
		if total < students {
			s.Errorf("%d codes for %d accounts", total, students)
		}
		for i := 0; i < students; i += 15 {
			if user := s.user(fmt.Sprintf("u%04d", i)); user.FirstName != "F" {
				s.Errorf("%s is %q: the roster comes last", user.Username, user.FirstName)
			}
		}
	})
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	s := newSchool(t, testdb.SQLite(t))
	path := s.file("username\nanna\n")
	foreign := filepath.Join(s.folder, "letters.csv")
	if err := os.WriteFile(foreign, []byte("a,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, test := range map[string]struct {
		path   string
		change func(*roster.Options)
	}{
		"no such file":                        {path + "x", func(*roster.Options) {}},
		"is not a regular file":               {s.folder, func(*roster.Options) {}},
		"is there and is no report":           {path, func(o *roster.Options) { o.Report = foreign }},
		"the roster was changed while it was": {path, func(o *roster.Options) { o.Audit = func(server.Event, uuid.UUID) { s.file("username\nbela\n") } }},
	} {
		if _, err := roster.Import(t.Context(), test.path, s.options(test.change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	var second error
	_, err := roster.Import(t.Context(), path, s.options(func(o *roster.Options) {
		o.Audit = func(server.Event, uuid.UUID) { _, second = roster.Import(t.Context(), path, s.options()) }
	}))
	if err != nil || second == nil || !strings.Contains(second.Error(), "another import of") {
		t.Errorf("got %v and %v", err, second)
	}
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "a,b\n" {
		t.Errorf("the file of others is %q, %v", text, err)
	}
}

func TestExportIsReadByImport(t *testing.T) {
	each(t, func(s *school) {
		s.run("username,first_name,last_name,email,password_hash,active\nanna,\"A, \"\"x\"\"\",Ünal,a@x.org," + hash + ",\nbela,\"x\ny\",=1+1,,,false\ncora,,,,,\n")
		var first, second strings.Builder
		if err := roster.Export(s.Context(), s.db, &first, true); err != nil {
			s.Fatal(err)
		}
		rows, _ := s.run(first.String())
		s.wantRows(rows, "2 anna unchanged", "3 bela unchanged", "5 cora unchanged")
		other := newSchool(s.T, testdb.SQLite(s.T))
		other.run(first.String())
		if err := roster.Export(s.Context(), other.db, &second, true); err != nil || first.String() != second.String() {
			s.Errorf("%v: exported\n%s, then\n%s", err, first.String(), second.String())
		}
		if err := roster.Export(s.Context(), s.db, &second, false); err != nil || strings.Contains(second.String()[first.Len():], "pbkdf2") {
			s.Errorf("%v: it has hashes: %s", err, second.String())
		}
	})
}
