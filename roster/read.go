package roster

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// The columns that a roster may have. Of these, only the username is needed.
const (
	colUsername  = "username"
	colFirstName = "first_name"
	colLastName  = "last_name"
	colEmail     = "email"
	colPassword  = "password"
	colHash      = "password_hash"
	colActive    = "active"
)

var columns = []string{colUsername, colFirstName, colLastName, colEmail, colPassword, colHash, colActive}

const (
	// mostRecord is how many bytes a record may have.
	mostRecord = 64 << 10
	// mostLines is how many lines a roster may have: about each of them something is remembered.
	mostLines = 10_000_000
)

// record is a line of a roster, or several where a quoted cell has line ends.
type record struct {
	line  int               // the first, counted from 1
	cells map[string]string // by column; only columns that the roster has
	wrong string            // why it cannot be read; there are no cells then
}

// reader reads the records of a roster: CSV (RFC 4180) in UTF-8, separated by commas, semicolons or tabs.
type reader struct {
	in      *bufio.Reader
	comma   rune
	columns []string // of each cell, "" for one that is not read
	ignored []string // the names of the columns that are not read
	line    int      // the last that was taken
	ahead   []string // lines that were read and belong to later records
}

// newReader reads the header.
func newReader(in io.Reader) (*reader, error) {
	r := &reader{in: bufio.NewReaderSize(in, mostRecord)}
	header, err := r.nextLine()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the roster is empty: its first line must name the columns")
	}
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(header, "\xff\xfe") || strings.HasPrefix(header, "\xfe\xff") || !utf8.ValidString(header) {
		return nil, errors.New("the roster is not UTF-8: save it as “CSV UTF-8”")
	}
	if header = strings.TrimPrefix(header, "\uFEFF"); strings.Contains(header, "\r") {
		return nil, errors.New("the lines of the roster end in a way that is not read: save it as “CSV UTF-8”")
	}
	for _, r.comma = range ",;\t" {
		if err = r.readHeader(header); err == nil {
			return r, nil
		}
	}
	for _, r.comma = range ",;\t" { // the reason is that of the separator that the header has
		if strings.ContainsRune(header, r.comma) {
			return nil, r.readHeader(header)
		}
	}
	return nil, err
}

func (r *reader) readHeader(header string) error {
	names, err := r.split(header)
	if err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	r.columns, r.ignored = nil, nil
	for _, name := range names {
		column := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
		switch {
		case !slices.Contains(columns, column):
			r.ignored = append(r.ignored, name)
			column = ""
		case slices.Contains(r.columns, column):
			return fmt.Errorf("line 1: the column %s is there twice", column)
		}
		r.columns = append(r.columns, column)
	}
	if !slices.Contains(r.columns, colUsername) {
		return fmt.Errorf("line 1: there is no column %s; the first line must name the columns, out of %s", colUsername, strings.Join(columns, ", "))
	}
	return nil
}

// next returns the next record. It is io.EOF behind the last.
func (r *reader) next() (record, error) {
	for {
		text, err := r.nextLine()
		if err != nil {
			return record{}, err
		}
		rec, rest := r.parse(text)
		if rec.wrong == "" && rec.cells == nil {
			continue
		}
		if len(rest) > 0 {
			r.ahead = append(rest, r.ahead...)
		}
		return rec, nil
	}
}

// parse reads the record that begins with a line. A quoted cell may go on in the following lines; where no end is found,
// the line alone is wrong, and the rest are lines again. A blank record has neither cells nor a reason.
func (r *reader) parse(text string) (rec record, rest []string) {
	rec.line = r.line
	lines, length, quotes := []string{text}, len(text), strings.Count(text, `"`)
	for quotes%2 == 1 && length < mostRecord {
		more, err := r.nextLine()
		if err != nil {
			break
		}
		lines, length, quotes = append(lines, more), length+len(more), quotes+strings.Count(more, `"`)
	}
	cells, err := r.split(strings.Join(lines, "\n"))
	if quotes%2 == 1 && len(text) <= mostRecord && utf8.ValidString(text) {
		err = errors.New("a quote is not closed " + quoting)
	}
	if err == nil && len(cells) != len(r.columns) {
		err = fmt.Errorf("it has %d cells, and the first line has %d", len(cells), len(r.columns))
	}
	if err == nil && r.swallows(cells) {
		// What is quoted is never read as lines of its own: who chooses a name would write the roster.
		rec.wrong = fmt.Sprintf("a quoted cell goes on to line %d: where that is meant, take the line ends out of it", r.line)
		return rec, nil
	}
	if err != nil {
		r.line -= len(lines) - 1
		rec.wrong = err.Error()
		return rec, lines[1:]
	}
	if strings.TrimSpace(strings.Join(cells, "")) == "" {
		return rec, nil
	}
	rec.cells = make(map[string]string, len(cells))
	for i, cell := range cells {
		if name := r.columns[i]; name != "" {
			rec.cells[name] = cell
		}
	}
	return rec, nil
}

// swallows tells whether a quote that was never meant to begin a cell has taken lines into one: names and what is not read
// may have line ends, but names have none together with separators.
func (r *reader) swallows(cells []string) bool {
	for i, cell := range cells {
		if i >= len(r.columns) || !strings.Contains(cell, "\n") {
			continue
		}
		switch r.columns[i] {
		case "":
		case colFirstName, colLastName:
			if strings.ContainsRune(cell, r.comma) {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// quoting says how it is done.
const quoting = "(quotes stand around a whole cell, and twice within one)"

// split returns the cells of a record.
func (r *reader) split(text string) ([]string, error) {
	switch {
	case len(text) > mostRecord:
		return nil, fmt.Errorf("it has more than %d bytes", mostRecord)
	case !utf8.ValidString(text):
		return nil, errors.New("it is not UTF-8")
	case text == "":
		return make([]string, len(r.columns)), nil
	}
	c := csv.NewReader(strings.NewReader(text))
	c.Comma = r.comma
	c.FieldsPerRecord = -1
	cells, err := c.Read()
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, fmt.Errorf("%w %s", parse.Err, quoting)
	}
	return cells, err
}

// nextLine returns a line without its end; of one that is too long, as much as shows it.
func (r *reader) nextLine() (string, error) {
	if r.line >= mostLines {
		return "", fmt.Errorf("the roster has more than %d lines", mostLines)
	}
	if len(r.ahead) > 0 {
		text := r.ahead[0]
		r.ahead = r.ahead[1:]
		r.line++
		return text, nil
	}
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		if len(line) <= mostRecord {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
			r.line++
			return strings.TrimRight(strings.TrimSuffix(string(line), "\n"), "\r"), nil
		}
		return "", err
	}
}
