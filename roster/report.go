package roster

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/rollbook/rollbook/csvfile"
)

var reportHeader = []string{"line", "username", "result", "reason", "code", "expires"}

// createReport begins a report. It holds one-time codes.
func createReport(path string) (*csvfile.Writer, error) { return csvfile.Create(path, reportHeader) }

// cells are what a report has of a row.
func (r Row) cells() []string {
	cells := []string{"", r.Username, string(r.Result), r.Reason, r.Code, ""}
	if r.Line > 0 {
		cells[0] = strconv.Itoa(r.Line)
	}
	if r.Code != "" {
		cells[5] = r.Expires.UTC().Format(time.RFC3339Nano)
	}
	return cells
}

// reportReader reads a report.
type reportReader struct {
	file *os.File
	csv  *csv.Reader
}

// openReport is fs.ErrNotExist where there is none.
func openReport(path string) (*reportReader, error) {
	file, err := os.Open(path) //nolint:gosec // the operator says which
	if err != nil {
		return nil, err
	}
	r := &reportReader{file, csv.NewReader(bufio.NewReader(file))}
	if header, err := r.csv.Read(); err != nil || !slices.Equal(header, reportHeader) {
		return nil, errors.Join(fmt.Errorf("%s is there and is no report of an import: name another file for the report", path), file.Close())
	}
	return r, nil
}

// next is io.EOF behind the last row.
func (r *reportReader) next() (Row, error) {
	cells, err := r.csv.Read()
	if err != nil {
		return Row{}, err
	}
	row := Row{Username: cells[1], Result: Result(cells[2]), Reason: cells[3], Code: cells[4]}
	if cells[0] != "" {
		if row.Line, err = strconv.Atoi(cells[0]); err != nil {
			return Row{}, fmt.Errorf("read the report: %w", err)
		}
	}
	if cells[5] != "" {
		if row.Expires, err = time.Parse(time.RFC3339Nano, cells[5]); err != nil {
			return Row{}, fmt.Errorf("read the report: %w", err)
		}
	}
	return row, nil
}

func (r *reportReader) close() error { return r.file.Close() }

// remembered is a code that an earlier run has reported.
type remembered struct {
	name    string
	plain   string
	expires time.Time
	planned bool // by a run that did not end; the code may have been stored or not
}

// remember reads the codes of an earlier report, if there is one.
func remember(path string, planned bool, into map[nameKey]remembered) error {
	r, err := openReport(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for {
		row, err := r.next()
		if errors.Is(err, io.EOF) {
			return r.close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("read %s: %w", path, err), r.close())
		}
		if row.Code != "" {
			into[keyOf(row.Username)] = remembered{row.Username, row.Code, row.Expires, planned}
		}
	}
}
