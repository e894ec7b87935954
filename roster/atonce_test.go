package roster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/roster"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
)

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
			o.Audit = func(server.Event, uuid.UUID, ...slog.Attr) {
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
		// What another roster with the same report has nothing about, is carried over into it.
		if _, other := s.run("username\nnobody\n"); len(other) != students+1 || other["u0700"] != codes["u0700"] {
			s.Errorf("another roster's report has %d codes", len(other))
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
				o.Report, o.Audit = path+".report", func(server.Event, uuid.UUID, ...slog.Attr) {}
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
		"no such file":              {path + "x", func(*roster.Options) {}},
		"is not a regular file":     {s.folder, func(*roster.Options) {}},
		"is there and is no report": {path, func(o *roster.Options) { o.Report = foreign }},
		"the roster was changed while it was": {path, func(o *roster.Options) {
			o.Audit = func(server.Event, uuid.UUID, ...slog.Attr) { s.file("username\nbela\n") }
		}},
	} {
		if _, err := roster.Import(t.Context(), test.path, s.options(test.change)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	var second error
	_, err := roster.Import(t.Context(), path, s.options(func(o *roster.Options) {
		o.Audit = func(server.Event, uuid.UUID, ...slog.Attr) { _, second = roster.Import(t.Context(), path, s.options()) }
	}))
	if err != nil || second == nil || !strings.Contains(second.Error(), "another import with the report") {
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

// Whoever may choose a name does not write the roster.
func TestNamesAreNoLines(t *testing.T) {
	each(t, func(s *school) {
		s.run("username,first_name\nvictim,Vic\n")
		eve := server.NewUser("eve", "x,\nvictim,H,N,evil@x.org,false\n,", "", "")
		if err := s.db.Users().Create(s.Context(), eve); err != nil {
			s.Fatal(err)
		}
		var exported strings.Builder
		if err := roster.Export(s.Context(), s.db, &exported, false); err != nil {
			s.Fatal(err)
		}
		rows, _ := s.run(exported.String())
		s.wantRows(rows, "2 wrong a quoted cell goes on to line 4: where that is meant, take the line ends out of it", "5 victim unchanged")
		if got := s.user("victim"); got.FirstName != "Vic" || !got.IsActive {
			s.Errorf("got %+v", got)
		}
	})
}
