package roster_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/roster"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testserver"
)

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
		doras := codes["dora"]
		rows, codes = s.run("username;email;password_hash;active\nanna;;" + hash + ";\nbela;b@x.org;" + hash + ";false\ndora;;" + hash + ";\nemil;;;true\n")
		s.wantRows(rows, "2 anna changed email", "3 bela changed email, active", "4 dora changed password", "5 emil changed active, code")
		if got := s.user("anna"); got.FirstName != "Anna" || got.Email != "" || got.Password != "hers" || !got.IsActive {
			s.Errorf("got %+v", got)
		}
		if got := s.user("bela"); got.Email != "b@x.org" || got.Password != bela.Password || got.IsActive {
			s.Errorf("got %+v", got)
		}
		if got := s.user("dora"); got.Password != hash || s.opens("dora", doras) {
			s.Errorf("got %+v, or the code is still good", got)
		}
		if !s.user("emil").IsActive || len(codes) != 1 || !s.opens("emil", codes["emil"]) {
			s.Errorf("the codes are %v", codes)
		}
		if got := strings.Join(s.events, ", "); got != "email changed, email changed, deactivated, password changed, activated, invited" {
			s.Errorf("events: %s", got)
		}
		rows, _ = s.run("username\nbela\n")
		s.wantRows(rows, "2 bela unchanged the account is not active", "emil unchanged from an earlier report")
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
			`12 wrong a quote is not closed (quotes stand around a whole cell, and twice within one)`,
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
		refused(list(1, 20)+"\"x\n", "1 lines are wrong and do not say for sure whose they are, the first of them line 21")
		if users, err := s.db.Users().After(s.Context(), "", 100); err != nil || len(users) != 20 {
			s.Errorf("what was refused has made accounts: %d, %v", len(users), err)
		}
		// Whoever has a line is on the roster, also where the line is wrong.
		rows, codes := s.run(list(2, 20)+"u01,nope\n", missing)
		s.wantRows(rows[18:], "20 u01 wrong email: Enter a valid email address.", "u00 deactivated not on the roster", "u01 unchanged from an earlier report")
		if len(codes) != 19 || !s.opens("u01", codes["u01"]) { // nor is a code lost that was reported before
			s.Errorf("the codes are %v", codes)
		}
		refused(list(2, 20)+"u 01,\n", "1 lines are wrong and do not say for sure whose they are") // a slip
		refused(list(2, 20)+"u02,\n", "1 lines are wrong and do not say for sure whose they are")  // another's name
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
		const next = "username,email\nanna,a@x.org\ncora,\nxy,nope\n"
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
		s.wantRows(shown, "2 anna changed\n", "3 cora added\n", "4 xy wrong\n", "0 bela deactivated\n")
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

// The accounts of those in a directory are as that says: a roster neither changes nor misses them, nor gives them a code.
func TestRosterLeavesTheDirectoryAlone(t *testing.T) {
	each(t, func(s *school) {
		id, person := "7", server.NewUser("anna", "Anna", "Berg", "")
		person.DirectoryID = &id
		if _, _, _, err := s.db.Users().FromDirectory(s.Context(), person); err != nil {
			s.Fatal(err)
		}
		missing := func(o *roster.Options) { o.DeactivateMissing, o.MostMissing = true, 1 }
		rows, codes := s.run("username,first_name\nanna,Other\nbela,Béla\n", missing)
		s.wantRows(rows, "2 anna wrong username: This account is as the directory says.", "3 bela added")
		if codes["anna"] != "" || codes["bela"] == "" {
			s.Errorf("codes %v", codes)
		}
		rows, _ = s.run("username\ncora\n", missing)
		s.wantRows(rows[:2], "2 cora added", "bela deactivated not on the roster")
		if anna := s.user("anna"); !anna.IsActive || anna.FirstName != "Anna" {
			s.Errorf("it is %+v", anna)
		}
	})
}
