package password_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/password"
)

// breachedWords are as many passwords as the lists of these tests have, by their SHA-1 in order.
func breachedWords(n int) (words []string, hashes []string) {
	byHash := map[string]string{}
	for i := range n {
		word := fmt.Sprintf("breached-horse-%d", i)
		byHash[fmt.Sprintf("%X", sha1.Sum([]byte(word)))] = word
	}
	for hash := range byHash {
		hashes = append(hashes, hash)
	}
	slices.Sort(hashes)
	for _, hash := range hashes {
		words = append(words, byHash[hash])
	}
	return words, hashes
}

// writeList writes a list and returns its path.
func writeList(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "breached.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// countedReads counts the reads of a list, and the bytes.
type countedReads struct {
	io.ReaderAt
	reads, bytes int
}

func (c *countedReads) ReadAt(p []byte, offset int64) (int, error) {
	c.reads++
	c.bytes += len(p)
	return c.ReaderAt.ReadAt(p, offset)
}

// Every password of a list is found and no other, however the list is written, with few and small reads.
func TestBreachedPasswords(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 90, 100_000} {
		words, hashes := breachedWords(n)
		for name, form := range map[string]struct {
			line func(i int, hash string) string
			end  string
		}{
			"as published":             {func(i int, hash string) string { return fmt.Sprintf("%s:%d\r\n", hash, i*i+1) }, ""},
			"no final newline":         {func(i int, hash string) string { return fmt.Sprintf("%s:%d\n", hash, i) }, "cut"},
			"no count":                 {func(_ int, hash string) string { return hash + "\n" }, ""},
			"lower case, no counts":    {func(_ int, hash string) string { return strings.ToLower(hash) + "\r\n" }, "cut"},
			"counts of all magnitudes": {func(i int, hash string) string { return hash + ":" + strings.Repeat("9", i%10+1) + "\n" }, ""},
		} {
			var list strings.Builder
			for i, hash := range hashes {
				list.WriteString(form.line(i, hash))
			}
			text := list.String()
			if form.end == "cut" {
				text = strings.TrimRight(text, "\r\n")
			}
			opened, err := password.OpenBreached(writeList(t, text))
			if err != nil {
				t.Fatalf("%d, %s: %v", n, name, err)
			}
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
			reader := &countedReads{ReaderAt: strings.NewReader(text)}
			breached := password.NewBreached(reader, int64(len(text)))
			for i := range words {
				if i%997 != 0 && i > 200 && i < len(words)-200 {
					continue
				}
				for word, want := range map[string]bool{words[i]: true, words[i] + "x": false} {
					reader.reads, reader.bytes = 0, 0
					found, err := breached.Contains(t.Context(), word)
					if err != nil || found != want {
						t.Fatalf("%d, %s: line %d: %t, %v", n, name, i, found, err)
					}
					if reader.reads > 40 || reader.bytes > 40<<10 {
						t.Fatalf("%d reads of %d bytes", reader.reads, reader.bytes)
					}
				}
			}
		}
	}
}

// published is a list of 40 GB, which is made as it is read: line i has the hash that begins with i.
type published struct{}

const publishedLine = 44

func (published) ReadAt(p []byte, offset int64) (int, error) {
	for i := range p {
		at := offset + int64(i)
		p[i] = fmt.Sprintf("%010X%030d:1\r\n", at/publishedLine*1100, 0)[at%publishedLine]
	}
	return len(p), nil
}

// A list of 40 GB takes no more than 40 reads, and no more memory.
func TestBreachedListIsNotLoaded(t *testing.T) {
	t.Parallel()
	reader := &countedReads{ReaderAt: published{}}
	breached := password.NewBreached(reader, 900_000_000*publishedLine)
	for i := range 20 {
		reader.reads = 0
		if found, err := breached.Contains(t.Context(), fmt.Sprint(i)); found || err != nil {
			t.Errorf("%t, %v", found, err)
		}
		if reader.reads > 40 {
			t.Errorf("%d reads", reader.reads)
		}
	}
}

func TestBreachedListIsChecked(t *testing.T) {
	t.Parallel()
	_, hashes := breachedWords(1000)
	shuffled := slices.Clone(hashes)
	slices.SortFunc(shuffled, func(a, b string) int { return strings.Compare(a[5:], b[5:]) })
	for name, test := range map[string]struct{ text, want string }{
		"empty":            {"", "it is empty"},
		"NTLM":             {strings.Repeat("8846F7EAEE8FB117AD06BDD830B7586C:3\r\n", 10), "line 1: a line is not as expected: it has an NTLM hash"},
		"passwords":        {"password\n123456\n", "40 hexadecimal digits"},
		"a web page":       {"<!DOCTYPE html>\n<html>", "40 hexadecimal digits"},
		"zipped":           {"PK\x03\x04" + strings.Repeat("\xff", 1000), "40 hexadecimal digits"},
		"a count of words": {hashes[0] + ":many\n", "40 hexadecimal digits"},
		"sorted by count":  {strings.Join(shuffled, "\n"), "it is not sorted by hash"},
		"one long line":    {hashes[0] + "\n" + strings.Repeat("A", 10000), "it has more than 128 bytes"},
		"cut off":          {strings.Join(hashes, "\n")[:20_000], "the last line: a line is not as expected"},
		"cut off at a line": {
			strings.Repeat(hashes[0]+":1234567\n", 30_000), "it ends with hashes that begin with 00: was the download cut off?",
		},
		"other in between": {strings.Join(hashes[:500], "\n") + strings.Repeat("\nx", 10000), "40 hexadecimal digits"},
	} {
		_, err := password.OpenBreached(writeList(t, test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := password.OpenBreached(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := password.OpenBreached(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// A password that cannot be looked up is not accepted.
func TestUnreadableBreachedList(t *testing.T) {
	t.Parallel()
	words, hashes := breachedWords(1000)
	text := strings.Join(hashes, "\n")
	for name, breached := range map[string]*password.Breached{
		"cut off":  password.NewBreached(strings.NewReader(text[:len(text)/2]), int64(len(text))),
		"replaced": password.NewBreached(bytes.NewReader(bytes.Repeat([]byte("x\n"), len(text)/2)), int64(len(text)/2*2)),
	} {
		got, err := password.Policy{Breached: breached}.CheckBreached(t.Context(), words[900])
		if !errors.Is(err, password.ErrBreachedList) || got != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	breached := password.NewBreached(strings.NewReader(text), int64(len(text)))
	if _, err := breached.Contains(ended, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that has ended: %v", err)
	}
}

// A breached password is refused in the words of a common one, once.
func TestPolicyRefusesBreachedPasswords(t *testing.T) {
	t.Parallel()
	_, hashes := breachedWords(0)
	for _, word := range []string{"password", "breached-horse-9"} {
		hashes = append(hashes, fmt.Sprintf("%X:7", sha1.Sum([]byte(word))))
	}
	slices.Sort(hashes)
	breached, err := password.OpenBreached(writeList(t, strings.Join(hashes, "\r\n")+"\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = breached.Close() })
	for plain, want := range map[string][]string{
		"password": {tooCommon}, "breached-horse-9": {tooCommon}, "Breached-horse-9": nil, "correct-horse-9": nil,
	} {
		if got := policyErrors(t, password.Policy{Breached: breached}, plain, nil); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", plain, got, want)
		}
	}
}
