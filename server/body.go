package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
	"golang.org/x/text/unicode/norm"

	"github.com/rollbook/rollbook/password"
)

// The media types of a body.
const (
	mediaJSON      = "application/json"
	mediaForm      = "application/x-www-form-urlencoded"
	mediaMultipart = "multipart/form-data"

	// mediaUnnamed is what a body without a Content-Type is (RFC 2045, section 5.2).
	mediaUnnamed = "text/plain"
)

// value is what a body holds under one name: a text, or something else as JSON.
type value struct {
	text      string
	surrogate rune            // the first surrogate that is not half of a pair; U+FFFD stands in its place
	other     json.RawMessage // nil for a text
}

// textField is what the contract says of a text in a body, as far as its canonical form goes.
type textField struct {
	name      string
	maxLength int // in characters of the canonical form; 0 is no limit
	trim      bool
	normalize bool
	policy    bool // it is a new password
}

// notText stands for any JSON value that is neither a text nor null: only its type counts, as every field is a text.
const notText = false

// canonical reads the body, in whatever media type, into one JSON object of the fields that the contract lists: text
// is trimmed and normalised as it says there. A field with problems is left out of the object. The problems are those that
// JSON could not carry on to the contract's own check, and those that make any further check of the field superfluous.
func (op *operation) canonical(c echo.Context) (map[string]any, []problem, error) {
	values, err := op.readBody(c)
	if err != nil {
		return nil, nil, err
	}
	fields := make(map[string]any, len(op.fields))
	var problems []problem
	for _, field := range op.fields {
		v, ok := values[field.name]
		switch {
		case !ok:
		case v.other == nil:
			problems = append(problems, field.read(v, fields)...)
		case string(v.other) == "null":
			fields[field.name] = nil
		default:
			fields[field.name] = notText
		}
	}
	return fields, problems, nil
}

// read puts the canonical form of a text into the fields, unless the text is too long or blank, and returns what is wrong
// with it whatever its field is.
func (f textField) read(v value, fields map[string]any) []problem {
	text, fits := f.canonical(v.text)
	if !fits {
		return []problem{{f.name, onlyOne, fmt.Sprintf(msgTooLong, f.maxLength)}}
	}
	if f.policy && strings.TrimFunc(text, password.IsSpace) == "" {
		return []problem{{f.name, onlyOne, msgBlank}}
	}
	fields[f.name] = text
	return f.unfit(v)
}

// unfit returns what is wrong with a text whatever its field is.
func (f textField) unfit(v value) []problem {
	var problems []problem
	if v.surrogate != 0 {
		problems = append(problems, problem{f.name, ofSurrogate, fmt.Sprintf(msgSurrogate, v.surrogate)})
	}
	if strings.ContainsRune(v.text, 0) {
		problems = append(problems, problem{f.name, ofNull, msgNUL})
	}
	return problems
}

const (
	// maxComposed is how many characters of a text NFKC makes one of, at most: no character decomposes into more than four
	// (UAX #15, table "Maximum Expansion Factors", NFD in UTF-32), and the NFD of the result is the NFKD of the text.
	maxComposed = 4

	// maxNormalized is how many bytes a text without a limit may have to be normalised. PostgreSQL's index on usernames holds
	// no longer ones, so that no account has one.
	maxNormalized = 4096
)

// canonical returns the canonical form of a text. It reports false, and returns the text trimmed at most, if the text is
// longer than the field may be. Such a text is not normalised.
func (f textField) canonical(text string) (canonical string, fits bool) {
	if f.trim {
		text = strings.TrimFunc(text, password.IsSpace)
	}
	if f.maxLength == 0 {
		if f.normalize && len(text) <= maxNormalized {
			text = norm.NFKC.String(text)
		}
		return text, true
	}
	if !f.normalize {
		return text, !longerThan(text, f.maxLength)
	}
	if longerThan(text, maxComposed*f.maxLength) {
		return text, false
	}
	text = norm.NFKC.String(text)
	return text, !longerThan(text, f.maxLength)
}

// longerThan reports whether a text has more characters than a limit.
func longerThan(text string, limit int) bool {
	return len(text) > limit && (len(text) > utf8.UTFMax*limit || utf8.RuneCountInString(text) > limit)
}

func (op *operation) readBody(c echo.Context) (map[string]value, error) {
	data, err := readLimited(c, op.maxBytes)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	header := mediaUnnamed
	if sent := c.Request().Header.Values(echo.HeaderContentType); len(sent) > 0 {
		header = sent[0]
	}
	media, params, err := mime.ParseMediaType(header)
	if errors.Is(err, mime.ErrInvalidMediaParameter) {
		err = nil // the type itself is clear
	}
	if err == nil && isUTF8(params["charset"]) {
		switch media {
		case mediaJSON:
			return jsonFields(data)
		case mediaForm:
			return formFields(string(data))
		case mediaMultipart:
			return multipartFields(data, params["boundary"])
		}
	}
	return nil, newDetail(http.StatusUnsupportedMediaType, fmt.Sprintf(`Unsupported media type "%s" in request.`, header))
}

var withoutHyphens = strings.NewReplacer("-", "", "_", "")

// isUTF8 tells whether a charset is UTF-8 or a part of it, by any of the names that Python knows them by.
func isUTF8(charset string) bool {
	switch withoutHyphens.Replace(strings.ToLower(charset)) {
	case "", "utf8", "utf", "u8", "cp65001", "usascii", "ascii":
		return true
	}
	return false
}

func readLimited(c echo.Context, most int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, c.Request().Body, most))
	if err == nil {
		return data, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, newDetail(http.StatusRequestEntityTooLarge, fmt.Sprintf("The request body is larger than %d bytes.", most))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errSlowBody
	}
	return nil, errUnreadableBody
}
