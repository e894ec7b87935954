package server

import (
	"net/netip"
	"strings"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
	"golang.org/x/net/idna"
)

const (
	formatUsername = "username"
	formatPassword = "password"
	formatEmail    = "email"
	formatUUID     = "uuid"

	maxEmail  = 254 // Django's EmailField
	maxDomain = 253 // RFC 1035, section 2.3.4: 255 octets, written as text
	maxLabel  = 63  // of a domain name, RFC 1034
)

// formats checks what the contract says in words about the format of a text.
var formats = map[string]openapi3.StringFormatValidator{
	formatUsername: openapi3.NewCallbackValidator(checkUsername),
	formatEmail:    openapi3.NewCallbackValidator(checkEmail),
}

// formatError is what is wrong with a text of some format. The problems name no field yet.
type formatError []problem

func (e formatError) Error() string { return e[0].message }

// blankLetters are letters by category that have no ink, beside those that Unicode itself calls ignorable.
var blankLetters = &unicode.RangeTable{R32: []unicode.Range32{
	{Lo: 0x13441, Hi: 0x13442, Stride: 1}, // Egyptian hieroglyphs full blank and half blank
}}

// isVisible reports whether a letter or number can be seen: two names must not differ in something invisible alone.
func isVisible(r rune) bool {
	return !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, blankLetters)
}

// checkUsername allows visible letters and digits of any script and @ . + - _; Django's UnicodeUsernameValidator also allows
// invisible letters. Emptiness and length are other keywords' to judge.
func checkUsername(name string) error {
	for _, r := range name {
		allowed := (unicode.IsLetter(r) || unicode.IsNumber(r)) && isVisible(r)
		if !allowed && !strings.ContainsRune("@.+-_", r) {
			return formatError{{rank: ofUsername, message: msgUsername}}
		}
	}
	return nil
}

// checkEmail allows what Django's EmailValidator does, and the empty text. Its length is that of the field.
func checkEmail(address string) error {
	if address != "" && !isEmail(address) {
		return formatError{{rank: ofOther, message: msgEmail}}
	}
	return nil
}

func isEmail(address string) bool {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return false
	}
	user, domain := address[:at], address[at+1:]
	if !isDotAtom(user) && !isQuoted(user) {
		return false
	}
	if domain == "localhost" || isDomain(domain) || isAddressLiteral(domain) {
		return true
	}
	if longerThan(domain, maxDomain) { // IDNA takes time that grows with the square of the length
		return false
	}
	ascii, err := domainToASCII(domain)
	return err == nil && isDomain(ascii)
}

// domainToASCII comes nearest to IDNA 2003, which Django's names go through in Python's codec. Tests replace it.
var domainToASCII = idna.New(
	idna.MapForLookup(), idna.BidiRule(), idna.Transitional(true), idna.StrictDomainName(false),
).ToASCII

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// isDotAtom tells whether a text is words of ordinary characters between single dots (RFC 5322, section 3.2.3).
func isDotAtom(text string) bool {
	for word := range strings.SplitSeq(text, ".") {
		special := func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("-!#$%&'*+/=?^_`{|}~", r) }
		if word == "" || strings.ContainsFunc(word, special) {
			return false
		}
	}
	return true
}

// isQuoted tells whether a text is a quoted string without spaces other than those behind a backslash (RFC 5322,
// section 3.2.4, in its obsolete form, which has control characters too).
func isQuoted(text string) bool {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return false
	}
	inner := text[1 : len(text)-1]
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		switch {
		case c == 0, c == '\n', c == '\r', c > unicode.MaxASCII:
			return false
		case c == '\\':
			i++
			if i == len(inner) || strings.IndexByte("\x00\n\r", inner[i]) >= 0 || inner[i] > unicode.MaxASCII {
				return false
			}
		case c == '"', c == ' ', c == '\t':
			return false
		}
	}
	return true
}

// isDomain tells whether a text is a name of two labels or more, the last of two characters or more.
func isDomain(name string) bool {
	labels := strings.Split(name, ".")
	last := len(labels) - 1
	for i, label := range labels {
		other := func(r rune) bool { return !isAlphanumeric(r) && r != '-' }
		if label == "" || len(label) > maxLabel || strings.HasSuffix(label, "-") || strings.ContainsFunc(label, other) {
			return false
		}
		if i < last && label[0] == '-' {
			return false
		}
	}
	return last > 0 && len(labels[last]) > 1
}

// isAddressLiteral tells whether a text is an IP address in square brackets.
func isAddressLiteral(text string) bool {
	inner, opened := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	ip, err := netip.ParseAddr(inner)
	return opened && closed && err == nil && ip.Zone() == ""
}
