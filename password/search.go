package password

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	maxLine      = 128  // bytes of a line with its end
	searchWindow = 4096 // bytes that are read at once when the search has come close
)

// errLine means that a list has a line of an unexpected form.
var errLine = errors.New("a line is not as expected")

// sortedLines is a list of lines that are sorted by bytes. It is read in small pieces.
type sortedLines struct {
	io.ReaderAt
	size int64
}

// find searches for the line for which order returns 0. order is negative for lines before it, and positive for lines
// after it.
func (l sortedLines) find(order func(line []byte) (int, error)) (bool, error) {
	low, high := int64(0), l.size // the line begins at low or later, and before high
	for high-low > searchWindow {
		middle := low + (high-low)/2
		start, line, err := l.lineAfter(middle)
		if err != nil {
			return false, err
		}
		if start >= high || start == l.size {
			high = middle + 1
			continue
		}
		switch which, err := order(line); {
		case err != nil:
			return false, fmt.Errorf("at byte %d: %w", start, err)
		case which == 0:
			return true, nil
		case which < 0:
			low = start
		default:
			high = middle + 1
		}
	}
	return l.scan(low, high, order)
}

// lineAfter returns the first line that begins behind an offset, and where it begins: at the size if there is none.
func (l sortedLines) lineAfter(offset int64) (start int64, line []byte, err error) {
	text, err := l.read(offset, 2*maxLine)
	if err != nil {
		return 0, nil, err
	}
	_, rest, found := bytes.Cut(text, []byte{'\n'})
	start = offset + int64(len(text)-len(rest))
	if !found && offset+int64(len(text)) == l.size {
		return l.size, nil, nil
	}
	line, _, ended := bytes.Cut(rest, []byte{'\n'})
	if !found || !ended && start+int64(len(rest)) < l.size {
		return 0, nil, fmt.Errorf("near byte %d: %w: it has more than %d bytes", offset, errLine, maxLine)
	}
	return start, bytes.TrimSuffix(line, []byte{'\r'}), nil
}

// scan looks at each line that begins from low on and before high.
func (l sortedLines) scan(low, high int64, order func(line []byte) (int, error)) (bool, error) {
	text, err := l.read(low, int(high-low)+maxLine)
	if err != nil {
		return false, err
	}
	for start := low; start < high && len(text) > 0; {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		which, err := order(bytes.TrimSuffix(line, []byte{'\r'}))
		if err != nil {
			return false, fmt.Errorf("at byte %d: %w", start, err)
		}
		if which >= 0 {
			return which == 0, nil
		}
		start, text = start+int64(len(text)-len(rest)), rest
	}
	return false, nil
}

// read returns the bytes from an offset on, as many as there are up to a number.
func (l sortedLines) read(offset int64, most int) ([]byte, error) {
	text := make([]byte, min(int64(most), l.size-offset))
	if n, err := l.ReadAt(text, offset); n < len(text) {
		return nil, fmt.Errorf("read %d bytes at byte %d: %w", len(text), offset, err)
	}
	return text, nil
}
