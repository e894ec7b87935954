// Package csvfile writes CSV files that are there as a whole or not at all.
package csvfile

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Writer writes a file that only its owner can read, and that takes its place when it is finished. Until then it is beside
// it, with .tmp at its end.
type Writer struct {
	path string
	file *os.File
	buf  *bufio.Writer
	csv  *csv.Writer
}

// Create begins a file with its header.
func Create(path string, header []string) (*Writer, error) {
	if err := os.Remove(path + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was interrupted
		return nil, err
	}
	file, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the operator says which
	if err != nil {
		return nil, err
	}
	buf := bufio.NewWriter(file)
	w := &Writer{path, file, buf, csv.NewWriter(buf)}
	return w, w.Write(header...)
}

// Write writes a row.
func (w *Writer) Write(cells ...string) error { return w.csv.Write(cells) }

// Finish puts the file in its place, where it stays also when the machine stops.
func (w *Writer) Finish() error {
	w.csv.Flush()
	err := errors.Join(w.csv.Error(), w.buf.Flush(), w.file.Sync(), w.file.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	if err := os.Rename(w.path+".tmp", w.path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(w.path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close()) // so that it is known under its name, too
}

// Abandon removes what was written. After Finish it does nothing.
func (w *Writer) Abandon() {
	_ = w.file.Close()             // it may be closed
	_ = os.Remove(w.path + ".tmp") // it may be in its place
}
