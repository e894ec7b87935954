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
)

var reportHeader = []string{"line", "username", "result", "reason", "code", "expires"}

// reportWriter writes a report that is there as a whole or not at all, also when the machine stops. It holds one-time
// codes, so that nobody else may read it.
type reportWriter struct {
	path string
	file *os.File
	buf  *bufio.Writer
	csv  *csv.Writer
}

func createReport(path string) (*reportWriter, error) {
	file, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the operator says which
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriter(file)
	w := &reportWriter{path, file, buf, csv.NewWriter(buf)}
	return w, w.csv.Write(reportHeader)
}

func (w *reportWriter) write(r Row) error {
	cells := []string{"", r.Username, string(r.Result), r.Reason, r.Code, ""}
	if r.Line > 0 {
		cells[0] = strconv.Itoa(r.Line)
	}
	if r.Code != "" {
		cells[5] = r.Expires.UTC().Format(time.RFC3339Nano)
	}
	return w.csv.Write(cells)
}

// finish puts the report in its place.
func (w *reportWriter) finish() error {
	w.csv.Flush()
	err := errors.Join(w.csv.Error(), w.buf.Flush(), w.file.Sync(), w.file.Close())
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.Rename(w.path+".tmp", w.path)
}

// abandon removes what was written. After finish it does nothing.
func (w *reportWriter) abandon() {
	_ = w.file.Close()             // it may be closed
	_ = os.Remove(w.path + ".tmp") // it may be in its place
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
			into[keyOf(row.Username)] = remembered{row.Code, row.Expires, planned}
		}
	}
}
