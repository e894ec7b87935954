package password

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go/data"
)

// MinLength is the least that a Policy may ask for, and what it asks for by default, in characters: NIST SP 800-63B-4,
// section 3.1.1.2, for passwords beside a second factor, and Django's default.
const MinLength = 8

// maxSimilarity is the likeness from which on a password counts as made of an attribute, as in Django.
const maxSimilarity = 0.7

// Policy says which new passwords are good enough, in the words of Django's validators.
type Policy struct {
	MinLength int // in characters; 0 is for MinLength
}

// Attribute is something about the account that its password may not be like.
type Attribute struct {
	Name  string // as the message calls it
	Value string
}

// Check returns everything that is wrong with a password, for the user to read; nil where it is good.
func (p Policy) Check(plain string, attributes []Attribute) []string {
	var messages []string
	if name, ok := likeness(strings.ToLower(plain), attributes); ok {
		messages = append(messages, fmt.Sprintf("The password is too similar to the %s.", name))
	}
	if least := max(p.MinLength, MinLength); utf8.RuneCountInString(plain) < least {
		messages = append(messages, fmt.Sprintf("This password is too short. It must contain at least %d characters.", least))
	}
	if common()[strings.TrimSpace(strings.ToLower(plain))] {
		messages = append(messages, "This password is too common.")
	}
	if isNumeric(plain) {
		messages = append(messages, "This password is entirely numeric.")
	}
	return messages
}

// common are the passwords that the zxcvbn project found to be used most, in lower case. Some 47,000, read at first need.
var common = sync.OnceValue(func() map[string]bool {
	text, err := data.Asset("data/Passwords.json")
	if err != nil {
		panic(err) // it is compiled in
	}
	var list struct{ List []string }
	if err := json.Unmarshal(text, &list); err != nil {
		panic(err)
	}
	set := make(map[string]bool, len(list.List))
	for _, word := range list.List {
		set[strings.ToLower(word)] = true
	}
	return set
})

// isNumeric is Python's str.isdigit, but for the digits that are no decimals.
func isNumeric(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsDigit(r) })
}

var nonWord = regexp.MustCompile(`[^\pL\pN_]+`)

// likeness returns the name of the first attribute that a password, in lower case, is made of: of the whole of it, or of
// one of its words.
func likeness(plain string, attributes []Attribute) (string, bool) {
	for _, a := range attributes {
		value := strings.ToLower(a.Value)
		for _, part := range append(nonWord.Split(value, -1), value) {
			if part != "" && !tooShort(plain, part) && similarity(plain, part) >= maxSimilarity {
				return a.Name, true
			}
		}
	}
	return "", false
}

// tooShort tells whether a part is so much shorter than the password that likeness to it means nothing.
func tooShort(plain, part string) bool {
	length, short := utf8.RuneCountInString(plain), utf8.RuneCountInString(part)
	return length >= 10*short && float64(short) < maxSimilarity/2*float64(length)
}

// similarity is quick_ratio of Python's difflib: twice the characters that two texts have in common, in whatever order,
// through the characters of both.
func similarity(a, b string) float64 {
	available := map[rune]int{}
	for _, r := range b {
		available[r]++
	}
	matches, total := 0, utf8.RuneCountInString(a)+utf8.RuneCountInString(b)
	for _, r := range a {
		if available[r] > 0 {
			available[r]--
			matches++
		}
	}
	return 2 * float64(matches) / float64(total)
}
