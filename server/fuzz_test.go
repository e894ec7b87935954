package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	rollbook "github.com/rollbook/rollbook"
)

// canonicalOf makes the body of a registration canonical.
func canonicalOf(op *operation, contentType string, body []byte) (map[string]any, []problem, error) {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/users/", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", contentType)
	return op.canonical(echo.New().NewContext(r, httptest.NewRecorder()))
}

// Whatever the bytes are, a body is refused as the client's fault, or becomes texts that JSON can carry, of the fields
// that the contract lists, and that stay as they are when they are sent again.
func FuzzCanonicalBody(f *testing.F) {
	api, err := loadContract(rollbook.OpenAPI)
	if err != nil {
		f.Fatal(err)
	}
	op := api.operations[key(http.MethodPost, "/api/v1/users/")]
	for _, seed := range []struct{ contentType, body string }{
		{mediaJSON, `{"username":" a\ud83d\ude00\ud800\u0000","username":"b","x":[{}],"email":null,"password":1e9}`},
		{mediaJSON, `[1.5,"\\\ud800"]`},
		{mediaJSON + "; charset=UTF_8", `null`},
		{mediaForm, "username=a+b%20%zz&&password&=x&email=%ff"},
		{mediaMultipart + "; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\na\r\n--B\r\nContent-Disposition: form-data; name=\"email\"; filename=\"x\"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n--B--\r\n"},
	} {
		f.Add(seed.contentType, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		fields, problems, err := canonicalOf(op, contentType, body)
		if err != nil {
			var detail detailError
			var wrong fieldErrors
			if !errors.As(err, &wrong) && (!errors.As(err, &detail) || detail.status >= 500) {
				t.Fatalf("not the client's fault: %v", err)
			}
			return
		}
		for name, value := range fields {
			text, isText := value.(string)
			if isText && !utf8.ValidString(text) {
				t.Errorf("%s is no UTF-8: %q", name, text)
			}
		}
		sent, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := canonicalOf(op, mediaJSON, sent)
		if err != nil {
			t.Fatal(err)
		}
		resent, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) == 0 && string(sent) != string(resent) {
			t.Errorf("%s becomes %s", sent, resent)
		}
	})
}

// Whatever the header is, it is refused as 401, or holds one key of UTF-8 without ASCII spaces.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Token", "token x", "Bearer\tx ", "Token a b", "Token \xff", "Basic x", "Token\u00a0x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		key, err := parseAuthorization(http.Header{"Authorization": {header}})
		if err != nil {
			var detail detailError
			if !errors.As(err, &detail) || detail.status != http.StatusUnauthorized {
				t.Errorf("got %v", err)
			}
			return
		}
		if key == "" || !utf8.ValidString(key) || strings.ContainsAny(key, asciiSpace) || !strings.Contains(header, key) {
			t.Errorf("got the key %q", key)
		}
	})
}
