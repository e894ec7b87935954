package password

import (
	"context"
	_ "embed" // of the list of common passwords
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MinLength is the least that a Policy may ask for, and what it asks for by default, in characters: NIST SP 800-63B-4,
	// section 3.1.1.2, for passwords beside a second factor, and Django's default.
	MinLength = 8

	// MaxLength is how many characters a new password may have.
	MaxLength = 128

	// maxAttribute is how many bytes an attribute may have to be compared. None that is stored has more.
	maxAttribute = 4096

	// maxSimilarity is the likeness from which on a password counts as made of an attribute, as in Django.
	maxSimilarity = 0.7
)

// Policy says which new passwords are good enough, in the words of Django's validators.
type Policy struct {
	MinLength int       // in characters; 0 is for the constant MinLength
	Words     []string  // that a password may not consist of, such as the name of the site
	Breached  *Breached // nil for none
}

// Attribute is something about the account that its password may not be like.
type Attribute struct {
	Name  string // as the message calls it
	Value string
}

const msgCommon = "This password is too common."

// Check returns everything that is wrong with a password, for the user to read, as far as no file has to be read; nil if it
// is good.
func (p Policy) Check(plain string, attributes []Attribute) []string {
	length := utf8.RuneCountInString(plain)
	if length > MaxLength { // nothing else is checked
		return []string{fmt.Sprintf("Ensure this field has no more than %d characters.", MaxLength)}
	}
	var messages []string
	lower := strings.ToLower(plain)
	if name, ok := newLikeness(lower).first(attributes); ok {
		messages = append(messages, fmt.Sprintf("The password is too similar to the %s.", name))
	}
	if least := max(p.MinLength, MinLength); length < least {
		messages = append(messages, fmt.Sprintf("This password is too short. It must contain at least %d characters.", least))
	}
	if isListed(strings.TrimFunc(lower, IsSpace)) || madeOf(lower, p.Words) {
		messages = append(messages, msgCommon)
	}
	if isNumeric(plain) {
		messages = append(messages, "This password is entirely numeric.")
	}
	return messages
}

// CheckBreached does the same by the list of breached passwords. It reads a file: Check comes first, and so does any limit
// on requests. The error is ErrBreachedList or the context's.
func (p Policy) CheckBreached(ctx context.Context, plain string) ([]string, error) {
	if p.Breached == nil {
		return nil, nil
	}
	found, err := p.Breached.Contains(ctx, plain)
	if err != nil || !found {
		return nil, err
	}
	return []string{msgCommon}, nil
}

// commonList has a line for each common password, in lower case and sorted. See generate_common.go.
//
//go:embed common.txt
var commonList string

// IsSpace reports whether Python's str.strip removes a character: Unicode's white space and four separators of ASCII.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// isListed reports whether a password, in lower case, is a common one.
func isListed(lower string) bool {
	list := sortedLines{strings.NewReader(commonList), int64(len(commonList))}
	found, err := list.find(func(line []byte) (int, error) {
		return strings.Compare(string(line), lower), nil
	})
	if err != nil {
		panic(err) // the list is compiled in
	}
	return found
}

// plainLetters are those that people write as digits and signs.
var plainLetters = strings.NewReplacer("0", "o", "1", "l", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// madeOf reports whether a password, in lower case, is too similar to one of the words, or has no letters but those of
// a word of three characters or more.
func madeOf(lower string, words []string) bool {
	const minWord = 3
	for _, spelling := range []string{lower, plainLetters.Replace(lower)} {
		likeness := newLikeness(spelling)
		for _, word := range words {
			for _, part := range partsOf(strings.ToLower(word)) {
				if likeness.to(part) {
					return true
				}
				rest := strings.ReplaceAll(spelling, part, "")
				if rest != spelling && utf8.RuneCountInString(part) >= minWord && !strings.ContainsFunc(rest, unicode.IsLetter) {
					return true
				}
			}
		}
	}
	return false
}

// isNumeric is Python's str.isdigit, but for the digits that are no decimals.
func isNumeric(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsDigit(r) })
}

var nonWord = regexp.MustCompile(`[^\pL\pN_]+`)

// partsOf returns the words of a text, and the text itself.
func partsOf(text string) []string { return append(nonWord.Split(text, -1), text) }

// likeness compares texts with one password, whose characters it counts once.
type likeness struct {
	counts map[rune]int
	length int // in characters
	work   int // characters that were looked at, of the password and of texts
}

func newLikeness(plain string) *likeness {
	l := &likeness{counts: map[rune]int{}}
	for _, r := range plain {
		l.counts[r]++
		l.length++
	}
	l.work = l.length
	return l
}

// first returns the name of the first attribute that the password, in lower case, is made of: of the whole of it, or of
// one of its words.
func (l *likeness) first(attributes []Attribute) (string, bool) {
	for _, a := range attributes {
		if len(a.Value) > maxAttribute {
			continue
		}
		for _, part := range partsOf(strings.ToLower(a.Value)) {
			if l.to(part) {
				return a.Name, true
			}
		}
	}
	return "", false
}

// to reports whether the password is too similar to a text. A text that is much shorter than the password is not similar.
func (l *likeness) to(part string) bool {
	short := utf8.RuneCountInString(part)
	if short == 0 || l.length >= 10*short && float64(short) < maxSimilarity/2*float64(l.length) {
		return false
	}
	return l.ratio(part) >= maxSimilarity
}

// ratio is quick_ratio of Python's difflib: twice the characters that two texts have in common, in whatever order,
// through the characters of both.
func (l *likeness) ratio(part string) float64 {
	used := map[rune]int{}
	matches, total := 0, l.length
	for _, r := range part {
		total++
		if used[r] < l.counts[r] {
			used[r]++
			matches++
		}
	}
	l.work += total - l.length
	return 2 * float64(matches) / float64(total)
}
