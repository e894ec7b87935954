package roster

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// readAll returns the records of a roster as texts: the line, the cells that are read, or why it is wrong.
func readAll(t *testing.T, text string) ([]string, error) {
	t.Helper()
	r, err := newReader(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	var records []string
	for {
		rec, err := r.next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		said := rec.wrong
		for _, name := range columns {
			if cell, ok := rec.cells[name]; ok {
				said += fmt.Sprintf("%s=%q ", name, cell)
			}
		}
		records = append(records, fmt.Sprint(rec.line, " ", strings.TrimSpace(said)))
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"commas":                {"username,email\na,b@x.org\n", []string{`2 username="a" email="b@x.org"`}},
		"semicolons":            {"email;username\r\nb@x.org;a,b\r\n", []string{`2 username="a,b" email="b@x.org"`}},
		"tabs, no last end":     {"username\temail\na\t", []string{`2 username="a" email=""`}},
		"a byte order mark":     {"\uFEFFusername\na", []string{`2 username="a"`}},
		"quotes after a mark":   {"\uFEFF\"username\",\"class\"\n\"a\"\"b\",c\n", []string{`2 username="a\"b"`}},
		"names of columns":      {" User Name ,First Name,USERNAME\nx,A,a\n", []string{`2 username="a" first_name="A"`}},
		"blank lines":           {"username,class\n\n,\n a ,\n\t, \n,5a\n", []string{`4 username=" a "`, `6 username=""`}},
		"a cell of two lines":   {"username,first_name\na,\"x\r\ny\"\nb,\n", []string{`2 username="a" first_name="x\ny"`, `4 username="b" first_name=""`}},
		"and of a name":         {"username,first_name\na,\"\nb,x\n,\"\n\"c,\",\"x,\"\n", []string{"2 a quoted cell goes on to line 4: where that is meant, take the line ends out of it", `5 username="c," first_name="x,"`}},
		"lines not read":        {"username,address\na,\"x,\ny, z\"\nb,\n", []string{`2 username="a"`, `4 username="b"`}},
		"too few and too many":  {"username,email\na\nb,c,d\ne,\n", []string{"2 it has 1 cells, and the first line has 2", "3 it has 3 cells, and the first line has 2", `4 username="e" email=""`}},
		"more ends than needed": {"username\r\r\na\r\r\n\r\r\n", []string{`2 username="a"`}},
		"no UTF-8":              {"username\nm\xfcller\nb\n", []string{"2 it is not UTF-8", `3 username="b"`}},
		"a stray quote": {"username,email\na,5\" x\nb,\nc,\n", []string{
			`2 a quote is not closed (quotes stand around a whole cell, and twice within one)`, `3 username="b" email=""`, `4 username="c" email=""`,
		}},
		"two quotes that do not end": {"username,email\na,\"\nb,\nc,\"\"\nd,\"\ne,\n", []string{
			`2 a quoted cell goes on to line 5: where that is meant, take the line ends out of it`, `6 username="e" email=""`,
		}},
		"a very long line":      {"username\n" + strings.Repeat("x", 5*mostRecord) + "\nb\n", []string{"2 it has more than 65536 bytes", `3 username="b"`}},
		"a quote, and then all": {"username\n\"" + strings.Repeat("x\n", mostRecord) + "b\n", append([]string{`2 a quote is not closed (quotes stand around a whole cell, and twice within one)`}, numbered(3, mostRecord)...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readAll(t, test.text)
			if name == "a quote, and then all" {
				got[1] = `3 username="x"` // the rest of the line with the quote
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %d records, %.300q, %v; want %d, %.300q", len(got), got, err, len(test.want), test.want)
			}
		})
	}
}

// numbered are the records of n lines from one on, of which the last says b and the others x.
func numbered(from, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`%d username="x"`, from+i)
	}
	lines[n-1] = fmt.Sprintf(`%d username="b"`, from+n-1)
	return lines
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "the roster is empty: its first line must name the columns",
		"username\ranna\r":         "the lines of the roster end in a way that is not read: save it as “CSV UTF-8”",
		"\xff\xfeu\x00":            "the roster is not UTF-8: save it as “CSV UTF-8”",
		"name;email\n":             "line 1: there is no column username; the first line must name the columns, out of username, first_name, last_name, email, password, password_hash, active",
		"anna\n":                   "line 1: there is no column username; the first line must name the columns, out of username, first_name, last_name, email, password, password_hash, active",
		"username;email;E-Mail\n":  "",
		"username,email,Email\n":   "line 1: the column email is there twice",
		"username,\"email\n":       `line 1: extraneous or missing " in quoted-field (quotes stand around a whole cell, and twice within one)`,
		"username|email\na|b@x.y":  "line 1: there is no column username; the first line must name the columns, out of username, first_name, last_name, email, password, password_hash, active",
		"USERNAME\tfirst name\n\t": "",
	} {
		_, err := readAll(t, text)
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
