package password

import "io"

// Acquire takes one of the slots, for tests of what happens while it is taken.
var Acquire = (*Hasher).acquire

// SimilarityWork returns how many characters are looked at to compare a password, in lower case, with attributes.
func SimilarityWork(lower string, attributes []Attribute) int {
	l := newLikeness(lower)
	l.first(attributes)
	return l.work
}

// CommonList is the list of common passwords.
func CommonList() string { return commonList }

// NewBreached returns the list of breached passwords that a reader holds, without probing it.
func NewBreached(r io.ReaderAt, size int64) *Breached {
	return &Breached{lines: sortedLines{r, size}, close: func() error { return nil }}
}
