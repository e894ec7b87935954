package parity

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Throttled is the row that says that a request came too early. What it would have been answered is not known then.
const Throttled = 8

// The rows of docs/differences.md, as far as two answers and their request show that one of them is the reason. The first
// that is counts.
var rows = []struct {
	row      int
	explains func(Exchange) bool
}{
	{Throttled, func(x Exchange) bool {
		return x.New.Status == http.StatusTooManyRequests && x.New.header("Retry-After") != ""
	}},
	{6, func(x Exchange) bool { // a bad token on an open operation
		return x.Old.Status == http.StatusUnauthorized && x.New.Status != http.StatusUnauthorized && x.isOpen() && x.authorization() != ""
	}},
	{23, func(x Exchange) bool { // a method in another case
		return x.Request.Method != strings.ToUpper(x.Request.Method) && x.New.Status == http.StatusMethodNotAllowed
	}},
	{10, func(x Exchange) bool { // an unlisted method without a token
		return x.Old.Status == http.StatusUnauthorized && x.New.Status == http.StatusMethodNotAllowed
	}},
	{7, func(x Exchange) bool { // an id of another spelling
		return x.Old.Status != http.StatusNotFound && x.New.Status == http.StatusNotFound && bareID.MatchString(x.Request.Path)
	}},
	{11, func(x Exchange) bool { // a path without its slash
		moved := x.Old.Status == http.StatusMovedPermanently || x.Old.Status == http.StatusNotFound || x.Old.Status == http.StatusInternalServerError
		return moved && !strings.HasSuffix(x.Request.Path, "/")
	}},
	{5, func(x Exchange) bool { // an unknown path
		_, isPage := x.Old.Body.(string)
		return x.Old.Status == http.StatusNotFound && isPage && x.New.Status == http.StatusNotFound && x.New.detail() == "Not found."
	}},
	{12, func(x Exchange) bool { // Bearer
		scheme, _, _ := strings.Cut(x.authorization(), " ")
		return strings.EqualFold(scheme, "Bearer") && x.Old.Status == http.StatusUnauthorized
	}},
	{14, func(x Exchange) bool { // a deactivated account
		return x.Old.detail() == "User inactive or deleted." && x.New.detail() == "Invalid token." && x.New.Status == x.Old.Status
	}},
	{15, func(x Exchange) bool { // another charset
		return x.New.Status == http.StatusUnsupportedMediaType && strings.Contains(strings.ToLower(x.contentType()), "charset=")
	}},
	{18, func(x Exchange) bool { // a media type with wildcards
		return x.New.Status == http.StatusUnsupportedMediaType && strings.Contains(x.contentType(), "*")
	}},
	{19, func(x Exchange) bool { return x.New.Status == http.StatusRequestEntityTooLarge }},
	{20, func(x Exchange) bool { return x.New.Status == http.StatusRequestTimeout }},
	{16, func(x Exchange) bool { return strings.HasSuffix(x.New.detail(), "the text is not UTF-8") }},
	{17, func(x Exchange) bool { return strings.HasPrefix(x.New.detail(), "Multipart form parse error - ") }},
	{13, func(x Exchange) bool { // a username that NFKC changes
		return x.isOpen() && x.isAboutAccount() && !norm.NFKC.IsNormalString(x.text())
	}},
	{2, func(x Exchange) bool { // a password with spaces at its ends
		return x.isOpen() && x.isAboutAccount() && spaced.MatchString(x.text())
	}},
	{3, func(x Exchange) bool { return x.refuses(weak) && x.refuses(weak, notText) }}, // a weak password, be there a number, too
	{4, func(x Exchange) bool { // a number for a text
		return x.isJSON() && number.MatchString(x.text()) && x.refuses(notText) && x.refuses(weak, notText)
	}},
	{24, func(x Exchange) bool { // a text that is too long, and wrong otherwise as well
		old, shortened := x.Old.fields(), 0
		for name, message := range x.New.fields() {
			if old[name] != message && tooLong.MatchString(message) && strings.Contains(old[name], message) {
				old[name] = message
				shortened++
			}
		}
		return shortened > 0 && maps.Equal(old, x.New.fields())
	}},
	{9, func(x Exchange) bool { // a taken username beside other wrong fields
		old, got := x.Old.fields(), x.New.fields()
		taken := strings.Contains(old["username"], "already exists")
		delete(old, "username")
		return taken && len(got) > 0 && maps.Equal(old, got)
	}},
}

var (
	bareID  = regexp.MustCompile(`/users/([0-9a-fA-F]{32}|\{.*\}|urn:.*)/?$`)
	number  = regexp.MustCompile(`[:\[]\s*-?[0-9]`)
	spaced  = regexp.MustCompile(`password"\s*:\s*"(\s|[^"]*\s")|(^|&)password=(\s|[^&]*\s(&|$))|name="password"\r\n\r\n([ \t]|[^\r\n]*[ \t]\r\n)`)
	tooLong = regexp.MustCompile(`^Ensure this field has no more than [0-9]+ characters\.$`)
	notText = regexp.MustCompile(`^(Not a valid string\.|Enter a valid email address\.)$`)
	weak    = regexp.MustCompile(`^(This password is|The password is too similar|Ensure this field has no more than 128 characters)`)
)

// Row is the row of docs/differences.md that explains the difference of the answers, and 0 where none does.
func (x Exchange) Row() int {
	if x.New.Status >= http.StatusInternalServerError {
		return 0
	}
	for _, r := range rows {
		if r.explains(x) {
			return r.row
		}
	}
	return 0
}

// refuses tells whether the new server has refused fields for reasons of its own, all of which, after what the old one has
// said as well, are of these kinds. With one kind, it is enough that one of the reasons is.
func (x Exchange) refuses(kinds ...*regexp.Regexp) bool {
	old, found, others := x.Old.fields(), false, false
	for name, message := range x.New.fields() {
		own := strings.TrimSpace(strings.TrimPrefix(message, old[name]))
		if own == "" {
			continue
		}
		isOne := slices.ContainsFunc(kinds, func(kind *regexp.Regexp) bool {
			return kind.MatchString(own) && (kind != weak || name == "password")
		})
		found, others = found || isOne, others || !isOne
	}
	return found && (len(kinds) == 1 || !others)
}

// isAboutAccount tells whether both answers have made something, or have found fault with fields.
func (x Exchange) isAboutAccount() bool {
	return slices.Contains(made, x.Old.Status) && slices.Contains(made, x.New.Status)
}

var made = []int{http.StatusOK, http.StatusCreated, http.StatusBadRequest}

// isOpen tells whether a request is one that needs no token.
func (x Exchange) isOpen() bool {
	return x.Request.Method == http.MethodPost && slices.Contains([]string{"/api/v1/users", "/api-token-auth"}, strings.TrimSuffix(x.Request.Path, "/"))
}

func (x Exchange) header(name string) string { return Answer{Headers: x.Request.Headers}.header(name) }

func (x Exchange) authorization() string { return x.header("Authorization") }

func (x Exchange) contentType() string { return x.header("Content-Type") }

func (x Exchange) isJSON() bool {
	return strings.HasPrefix(strings.ToLower(x.contentType()), "application/json")
}

// text is the body of a request without the escapes of its media type, and empty where there is none.
func (x Exchange) text() string {
	if x.Request.Body == nil {
		return ""
	}
	text := *x.Request.Body
	if x.isJSON() {
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			return text
		}
		var plain bytes.Buffer
		encoder := json.NewEncoder(&plain)
		encoder.SetEscapeHTML(false)
		if encoder.Encode(value) != nil {
			return text
		}
		return plain.String()
	}
	if form, err := url.QueryUnescape(text); err == nil && strings.Contains(x.contentType(), "urlencoded") {
		return form
	}
	return text
}
