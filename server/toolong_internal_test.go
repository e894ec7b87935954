package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	rollbook "github.com/rollbook/rollbook"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// countedPolicy counts how often it is asked, and about how many characters of attributes.
type countedPolicy struct{ checks, characters, breached int }

func (p *countedPolicy) Check(_ string, attributes []password.Attribute) []string {
	p.checks++
	for _, a := range attributes {
		p.characters += utf8.RuneCountInString(a.Value)
	}
	return nil
}

func (p *countedPolicy) CheckBreached(context.Context, string) ([]string, error) {
	p.breached++
	return nil, nil
}

// countIDNA counts the domains that go through IDNA until the test ends. No test may run beside it.
func countIDNA(t *testing.T) *int {
	t.Helper()
	calls, original := 0, domainToASCII
	domainToASCII = func(domain string) (string, error) {
		calls++
		if length := utf8.RuneCountInString(domain); length > maxDomain {
			t.Errorf("a domain of %d characters goes through IDNA", length)
		}
		return original(domain)
	}
	t.Cleanup(func() { domainToASCII = original })
	return &calls
}

// A text that is too long for its field gets one message in each operation, and nothing else is done with it.
func TestTooLongIsNotCheckedFurther(t *testing.T) {
	api, err := loadContract(rollbook.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	calls, limited := countIDNA(t), 0
	for _, op := range api.operations {
		for _, field := range op.fields {
			if field.maxLength == 0 {
				continue
			}
			limited++
			for name, long := range map[string]string{
				"just too long": strings.Repeat("x", field.maxLength+1),
				"very long":     "a@" + strings.Repeat("名", 20000),
				"NUL and more":  strings.Repeat("\x00 \ufdfa", 10000) + ".",
				"compositions":  strings.Repeat("e\u0301", field.maxLength+1),
			} {
				values := map[string]any{}
				problems := field.read(value{text: long, surrogate: 0xd800}, values)
				violations, err := op.violations(values, problems)
				if err != nil {
					t.Fatal(err)
				}
				policy := &countedPolicy{}
				weaknesses(policy, op.fields, values, repository.Profile{})
				messages := sorted(slices.Concat(problems, violations))[field.name]
				if len(messages) != 1 || !strings.HasPrefix(messages[0], "Ensure this field has no more than ") {
					t.Errorf("%s %s, %s: %q", op.id, field.name, name, messages)
				}
				if policy.checks != 0 || policy.characters != 0 {
					t.Errorf("%s %s, %s: the policy was asked %d times, about %d characters", op.id, field.name, name, policy.checks, policy.characters)
				}
			}
		}
	}
	if *calls != 0 || limited < 10 {
		t.Errorf("%d calls of IDNA, %d fields with limits", *calls, limited)
	}
	if checkEmail("a@"+strings.Repeat("名", maxDomain+1)) == nil || *calls != 0 {
		t.Errorf("%d calls of IDNA for a domain that is too long", *calls)
	}
	if checkEmail("a@ä.org") != nil || *calls != 1 {
		t.Errorf("%d calls of IDNA for an address that needs it", *calls)
	}
}

// The same holds for accounts created outside the HTTP API.
func TestRulesCheckNothingMoreOfTooLong(t *testing.T) {
	api, err := loadContract(rollbook.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	calls, policy := countIDNA(t), &countedPolicy{}
	rules := rulesOf(api, policy)
	fields := map[string]string{}
	for _, field := range rules.op.fields {
		fields[field.name] = "a@" + strings.Repeat("名", 1<<20)
	}
	_, wrong, err := rules.Check(t.Context(), fields)
	if err != nil || len(wrong) != len(fields) || *calls != 0 || policy.checks+policy.breached != 0 {
		t.Errorf("%d fields are wrong, %d calls of IDNA, the policy was asked %d times, %v", len(wrong), *calls, policy.checks, err)
	}
	for name, messages := range wrong {
		if len(messages) != 1 || !strings.HasPrefix(messages[0], "Ensure this field has no more than ") {
			t.Errorf("%s: %q", name, messages)
		}
	}
	fields["password"] = "Correct-Horse-9"
	if _, _, err := rules.Check(t.Context(), fields); err != nil || policy.checks != 1 || policy.breached != 1 || policy.characters != 0 {
		t.Errorf("the policy was asked %d times, about %d characters, %v", policy.checks, policy.characters, err)
	}
}

// No text whose canonical form fits is refused before it is normalised.
func TestNoCharacterIsComposedOfMoreThanFour(t *testing.T) {
	for r := range rune(utf8.MaxRune) + 1 {
		if n := utf8.RuneCountInString(norm.NFD.String(string(r))); n > maxComposed {
			t.Errorf("%U decomposes into %d characters", r, n)
		}
	}
	field := textField{maxLength: 150, trim: true, normalize: true}
	longest := strings.Repeat("\u03b1\u0313\u0300\u0345", 150)
	if text, fits := field.canonical("  " + longest + "\n"); !fits || text != strings.Repeat("\u1f82", 150) {
		t.Errorf("%q, %t", text, fits)
	}
	if _, fits := field.canonical(longest + "\u03b1"); fits {
		t.Error("151 characters fit")
	}
	login := textField{trim: true, normalize: true}
	if text, fits := login.canonical(longest); !fits || text != strings.Repeat("\u1f82", 150) {
		t.Errorf("%q, %t", text, fits)
	}
	if text, fits := login.canonical(strings.Repeat("\ufdfa", 20000)); !fits || len(text) != 60000 {
		t.Errorf("a text that no account has was normalised: %d bytes", len(text))
	}
}

// What is wrong with one field does not hide what is wrong with another.
func TestOtherFieldsAreStillMissing(t *testing.T) {
	api, err := loadContract(rollbook.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	op := api.operations[key(http.MethodPost, "/api/v1/users/")]
	known := []problem{{"email", onlyOne, "x"}, {"username", onlyOne, "x"}}
	violations, err := op.violations(map[string]any{}, known)
	if err != nil || len(violations) != 1 || violations[0].field != "password" {
		t.Errorf("got %v, %v", violations, err)
	}
}
