package password

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // what the published list holds; nothing is stored
	"encoding/hex"
	"errors"
	"fmt"
	"os"
)

// ErrBreachedList means that the list of breached passwords cannot be read, so that a new password cannot be checked.
var ErrBreachedList = errors.New("the list of breached passwords cannot be read")

// Breached is a list of the SHA-1 hashes of breached passwords, as "Have I Been Pwned" publishes it: a line for each, sorted,
// with 40 hexadecimal digits and, optionally, a colon and a count. It stays on disk.
type Breached struct {
	lines sortedLines
	close func() error
}

// OpenBreached opens a list and reads some of its lines, to refuse a file of another format or order.
func OpenBreached(path string) (*Breached, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("open the list of breached passwords: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	b := &Breached{close: file.Close}
	if err == nil {
		b.lines = sortedLines{file, info.Size()}
		err = b.probe()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the list of breached passwords %s: %w", path, err), file.Close())
	}
	return b, nil
}

// Close closes the file.
func (b *Breached) Close() error { return b.close() }

// Contains reports whether a password is on the list. Any error is an ErrBreachedList, unless the context has ended.
func (b *Breached) Contains(ctx context.Context, plain string) (bool, error) {
	hash := sha1.Sum([]byte(plain)) //nolint:gosec // see above
	found, err := b.lines.find(func(line []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		listed, err := listedHash(line)
		return bytes.Compare(listed, hash[:]), err
	})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", ErrBreachedList, err)
	}
	return found, err
}

// listedHash reads the hash of a line. Its error does not show the line.
func listedHash(line []byte) ([]byte, error) {
	digits, count, _ := bytes.Cut(line, []byte{':'})
	var hash [sha1.Size]byte
	const ntlm = 32 // hexadecimal digits
	switch _, err := hex.Decode(hash[:], digits[:min(len(digits), hex.EncodedLen(sha1.Size))]); {
	case err == nil && len(digits) == ntlm:
		return nil, fmt.Errorf("%w: it has an NTLM hash; the list of SHA-1 hashes is needed", errLine)
	case err != nil || len(digits) != hex.EncodedLen(sha1.Size) || len(bytes.Trim(count, "0123456789")) > 0:
		return nil, fmt.Errorf("%w: 40 hexadecimal digits, a colon and a count are needed", errLine)
	}
	return hash[:], nil
}

// probe reads the first line and some at equal distances, and checks their format and order.
func (b *Breached) probe() error {
	const probes = 64
	if b.lines.size == 0 {
		return errors.New("it is empty")
	}
	first, err := b.lines.read(0, maxLine)
	if err != nil {
		return err
	}
	line, _, _ := bytes.Cut(first, []byte{'\n'})
	last, err := listedHash(bytes.TrimSuffix(line, []byte{'\r'}))
	if err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	for i := range int64(probes) {
		start, line, err := b.lines.lineAfter(b.lines.size / probes * i)
		if err != nil {
			return err
		}
		if start == b.lines.size {
			return nil
		}
		hash, err := listedHash(line)
		if err != nil {
			return fmt.Errorf("at byte %d: %w", start, err)
		}
		if bytes.Compare(last, hash) > 0 {
			return fmt.Errorf("at byte %d: it is not sorted by hash", start)
		}
		last = hash
	}
	return b.probeEnd(last)
}

// probeEnd checks that the list ends with a whole line, behind the last one that was probed, and for a large one that it
// covers all hashes: a download may have been cut off.
func (b *Breached) probeEnd(last []byte) error {
	const large = 1 << 20 // bytes, in which the hashes begin with each of 256 bytes
	tail, err := b.lines.read(max(0, b.lines.size-2*maxLine), 2*maxLine)
	if err != nil {
		return err
	}
	tail = bytes.TrimRight(tail, "\r\n")
	hash, err := listedHash(tail[bytes.LastIndexByte(tail, '\n')+1:])
	switch {
	case err != nil:
		return fmt.Errorf("the last line: %w: was the download cut off?", err)
	case bytes.Compare(last, hash) > 0:
		return errors.New("the last line: it is not sorted by hash")
	case b.lines.size > large && hash[0] != 0xff:
		return fmt.Errorf("it ends with hashes that begin with %02X: was the download cut off?", hash[0])
	}
	return nil
}
