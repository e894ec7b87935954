package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	errFormUTF8      = newDetail(http.StatusBadRequest, "Form parse error - the text is not UTF-8")
	errNoBoundary    = newDetail(http.StatusBadRequest, "Multipart form parse error - Invalid boundary in multipart: None")
	errMultipart     = newDetail(http.StatusBadRequest, "Multipart form parse error - the body is malformed or ends early")
	errMultipartUTF8 = newDetail(http.StatusBadRequest, "Multipart form parse error - the text is not UTF-8")
)

// formFields reads a URL-encoded form as Python does: only & separates fields, a field may lack its value, and a % that
// begins no escape stands for itself. The last of repeated names counts.
func formFields(data string) (map[string]value, error) {
	values := map[string]value{}
	for pair := range strings.SplitSeq(data, "&") {
		if pair == "" {
			continue
		}
		name, text, _ := strings.Cut(pair, "=")
		name, text = unescapeForm(name), unescapeForm(text)
		if !utf8.ValidString(name) || !utf8.ValidString(text) {
			return nil, errFormUTF8
		}
		values[name] = value{text: text}
	}
	return values, nil
}

func unescapeForm(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '+':
			b.WriteByte(' ')
		case '%':
			if i+2 < len(text) {
				if code, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
					b.WriteByte(byte(code))
					i += 2
					continue
				}
			}
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// multipartFields reads a multipart form. The last of repeated names counts, and a file, which is no text, counts before
// a field of its name.
func multipartFields(data []byte, boundary string) (map[string]value, error) {
	if boundary == "" {
		return nil, errNoBoundary
	}
	last := []byte("--" + boundary + "--")
	if !bytes.HasPrefix(data, last) && !bytes.Contains(data, append([]byte{'\n'}, last...)) {
		return nil, errMultipart // the reader takes some bodies without an end
	}
	values, files := map[string]value{}, map[string]value{}
	reader := multipart.NewReader(bytes.NewReader(data), boundary)
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF { //nolint:errorlint // a wrapped one is that of a body whose end is malformed
			break
		}
		if err != nil {
			return nil, errMultipart
		}
		_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil {
			continue // it names no field
		}
		name := strings.TrimSpace(params["name"])
		if params["filename"] != "" {
			files[name] = value{other: json.RawMessage("{}")}
			continue
		}
		text, err := partText(part)
		if err != nil {
			return nil, errMultipart
		}
		if !utf8.ValidString(name) || !utf8.ValidString(text) {
			return nil, errMultipartUTF8
		}
		values[name] = value{text: text}
	}
	maps.Copy(values, files)
	return values, nil
}

// partText reads a part, and decodes it where it says that it is base64 and is.
func partText(part *multipart.Part) (string, error) {
	text, err := io.ReadAll(part)
	if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "base64") {
		if decoded, err := base64.StdEncoding.DecodeString(string(text)); err == nil {
			text = decoded
		}
	}
	return string(text), err
}
