package password_test

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/test/need"
)

// What the documents say of the list of common passwords.
const (
	listedPasswords = 56110
	listedUsable    = 18694 // those of 8 characters or more that are not all digits, which only the list refuses
)

const (
	tooCommon  = "This password is too common."
	djangoList = "/usr/lib/python3/dist-packages/django/contrib/auth/common-passwords.txt.gz"
)

// isUsable reports whether nothing but the list refuses a common password.
func isUsable(word string) bool {
	return utf8.RuneCountInString(word) >= 8 && strings.Trim(word, "0123456789") != ""
}

func TestCommonListIsAsDocumented(t *testing.T) {
	t.Parallel()
	words := strings.Split(strings.TrimSuffix(password.CommonList(), "\n"), "\n")
	usable := 0
	for _, word := range words {
		if isUsable(word) {
			usable++
		}
		if word == "" || word != strings.TrimSpace(strings.ToLower(word)) {
			t.Errorf("%q is not in lower case and trimmed", word)
		}
	}
	if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Error("the list is not sorted, or has a word twice")
	}
	if len(words) != listedPasswords || usable != listedUsable {
		t.Errorf("there are %d passwords, %d of them usable", len(words), usable)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	cited := 0
	for _, page := range append(pages, "../docs/decisions/0001-libraries.md", "../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, number := range regexp.MustCompile(`([0-9,]+) common passwords`).FindAllStringSubmatch(string(text), -1) {
			cited++
			if n, err := strconv.Atoi(strings.ReplaceAll(number[1], ",", "")); err != nil || n != listedPasswords && n != listedUsable {
				t.Errorf("%s: %s", page, number[0])
			}
		}
	}
	if cited < 3 {
		t.Errorf("the documents give the number %d times only", cited)
	}
}

// Every word of the list is refused, in whatever case and with white space around it, and its neighbours are not.
func TestCommonPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	words := strings.Split(strings.TrimSuffix(password.CommonList(), "\n"), "\n")
	for i, word := range append(words, "password1234", "P@ssw0rd", "Password123", "happiness", " HAPPINESS\t", "\x1cpassword1234\x1f") {
		if i%7 != 0 && i < len(words)-100 && i > 100 {
			continue
		}
		if !slices.Contains(policyErrors(t, password.Policy{}, word, nil), tooCommon) {
			t.Errorf("%q is accepted", word)
		}
		if other := word + "\x01"; slices.Contains(policyErrors(t, password.Policy{}, other, nil), tooCommon) {
			t.Errorf("%q is refused", other)
		}
	}
}

// Django's own list is covered.
func TestDjangosCommonPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	need.File(t, djangoList, "install python3-django")
	file, err := os.Open(djangoList)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // it is only read
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	all, refused := 0, 0
	for word := range strings.Lines(string(text)) {
		if word = strings.TrimSpace(word); !isUsable(word) {
			continue
		}
		all++
		if slices.Contains(policyErrors(t, password.Policy{}, word, nil), tooCommon) {
			refused++
		}
	}
	t.Logf("%d of %d are refused", refused, all)
	if all < 7500 || float64(refused) < 0.95*float64(all) {
		t.Errorf("%d of %d are refused", refused, all)
	}
}

func TestPolicyWords(t *testing.T) {
	t.Parallel()
	policy := password.Policy{Words: []string{"Rollbook", "Springfield School", "club"}}
	for plain, want := range map[string]bool{
		"rollbook": true, "ROLLBOOK1": true, "rollbook2026!": true, "2026-rollbook": true, "R0llb00k!": true, "koobllor9": true,
		"rollbookrollbook": true, "rollbook12345678901234567890": true, "springfield": true, "SpringfieldSchool1": true, "school2026": true,
		"club1234": true, "!!club!!!": true,
		"rollbook-horse-staple": false, "correct-horse-9": false, "our-school-choir-sings": false, "clubhouse-tiger-moon": false,
	} {
		got := policyErrors(t, policy, plain, nil)
		if slices.Contains(got, tooCommon) != want {
			t.Errorf("%q: got %q, want it refused: %t", plain, got, want)
		}
	}
	if got := policyErrors(t, policy, "password", []password.Attribute{{Name: "username", Value: "x"}}); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

// Each attribute is looked at once as a whole and once in its words, and the password once.
func TestSimilarityIsLinear(t *testing.T) {
	t.Parallel()
	plain := strings.Repeat("ab", 64)
	for name, value := range map[string]string{
		"many words":  strings.Repeat("xy-", 1300),
		"long words":  strings.Repeat("abababababababababababababababababababababababababab-", 70),
		"one word":    strings.Repeat("x", 4000),
		"no words":    strings.Repeat("-", 4000),
		"far too big": strings.Repeat("abababababababababababababababababababababababababab-", 20000),
	} {
		work := password.SimilarityWork(plain, []password.Attribute{{Name: "username", Value: value}})
		if most := len(plain) + 2*min(len(value), 4096); work > most {
			t.Errorf("%s: %d characters, want %d at most", name, work, most)
		}
	}
	long := strings.Repeat("ab", 1<<19)
	if got := policyErrors(t, password.Policy{}, long, []password.Attribute{{Name: "username", Value: long}}); len(got) != 1 || !strings.Contains(got[0], "no more than 128") {
		t.Errorf("a password of a megabyte: %q", got)
	}
}
