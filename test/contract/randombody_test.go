package contract_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testserver"
)

const (
	mediaJSON      = "application/json"
	mediaForm      = "application/x-www-form-urlencoded"
	mediaMultipart = "multipart/form-data"
	maxBody        = 64 << 10
)

// field is one field of a body: as text, or as JSON where it is no text that every media type can carry.
type field struct {
	name, text, json string
}

// drawBody puts a body into a request and returns the answer that it alone leads to.
func (w *world) drawBody(rt *rapid.T, op operation, r *testserver.Request) answer {
	media := rapid.SampledFrom([]string{mediaJSON, mediaForm, mediaMultipart}).Draw(rt, "media")
	fields, wrong := w.drawFields(rt, op, media)
	want := answer{status: op.success}
	switch {
	case len(wrong) > 0:
		want = answer{http.StatusBadRequest, wrong}
	case op.id == "logIn":
		want = w.drawCredentials(rt, fields)
	case op.id == "setPassword":
		want = w.drawCode(rt, fields)
	case op.id == "changePassword": // with a wrong one: the right one is not to change under the other requests
		want = answer{http.StatusBadRequest, []string{"current_password"}}
	}
	fault := often(rt, "fault", "", "none", "huge", "type", "charset", "bytes", "cut", "trailing", "deep", "no object")
	body, contentType := encode(media, fields), media
	if media == mediaMultipart {
		contentType += "; boundary=B"
	}
	detail := answer{http.StatusBadRequest, []string{"detail"}}
	switch fault {
	case "none":
		body, want = "", w.withoutBody(op)
	case "huge":
		body = strings.Repeat(" ", maxBody+1)
		want = answer{http.StatusRequestEntityTooLarge, []string{"detail"}}
	case "type":
		contentType = rapid.SampledFrom([]string{"text/plain", "application/xml", "text/json", "application/json+x", "x", "", "application/json, x"}).Draw(rt, "type")
		want = answer{http.StatusUnsupportedMediaType, []string{"detail"}}
	case "charset":
		contentType += "; charset=" + rapid.SampledFrom([]string{"latin-1", "utf-16", "utf-7", "x"}).Draw(rt, "charset")
		want = answer{http.StatusUnsupportedMediaType, []string{"detail"}}
	case "bytes":
		body, want = encode(media, append(fields, field{name: "x", text: "\xff", json: "\"\xff\""})), detail
	default:
		if media == mediaForm || media == mediaMultipart && fault != "cut" {
			break // these are about JSON
		}
		body, want = spoil(rt, fault, body, want)
	}
	r.Body = body
	r.Header = withHeader(r.Header, "Content-Type", contentType)
	return want
}

// spoil makes something of a body that its syntax, or the place for an object, does not allow.
func spoil(rt *rapid.T, fault, body string, want answer) (string, answer) {
	detail := answer{http.StatusBadRequest, []string{"detail"}}
	switch fault {
	case "cut":
		return body[:rapid.IntRange(1, len(body)-1-len("--\r\n")).Draw(rt, "length")], detail
	case "trailing":
		return body + rapid.SampledFrom([]string{"{}", "x", ",", "\x00", "]"}).Draw(rt, "trailing"), detail
	case "deep":
		return strings.Repeat(`{"x":`, 11000), detail
	case "no object":
		return rapid.SampledFrom([]string{"[]", "null", "1", "1.5", "true", `"x"`, "[{}]"}).Draw(rt, "value"),
			answer{http.StatusBadRequest, []string{"non_field_errors"}}
	}
	return body, want
}

// withoutBody is the answer to no body at all, which counts as an empty object.
func (w *world) withoutBody(op operation) answer {
	if len(op.body.Required) == 0 {
		return answer{status: op.success}
	}
	return answer{http.StatusBadRequest, slices.Sorted(slices.Values(op.body.Required))}
}

// drawCredentials makes fields that are right in form those of an account, or leaves them.
func (w *world) drawCredentials(rt *rapid.T, fields []field) answer {
	if rapid.Bool().Draw(rt, "wrong credentials") {
		return answer{http.StatusBadRequest, []string{"non_field_errors"}}
	}
	for i, f := range fields {
		switch f.name {
		case "username":
			fields[i].text = w.username
		case "password":
			fields[i].text = testserver.Password
		}
	}
	return answer{status: http.StatusOK}
}

// drawCode makes fields that are right in form those of an account that was given a code, or leaves them.
func (w *world) drawCode(rt *rapid.T, fields []field) answer {
	if rapid.Bool().Draw(rt, "wrong code") {
		return answer{http.StatusBadRequest, []string{"non_field_errors"}}
	}
	code := repository.NewCode()
	if err := w.server.DB.Codes().Put(context.Background(), repository.CodeFor(uuid.MustParse(w.other), code, time.Now().Add(time.Hour))); err != nil {
		rt.Fatal(err)
	}
	for i, f := range fields {
		switch f.name {
		case "username":
			fields[i].text = "other"
		case "code":
			fields[i].text = code
		}
	}
	return answer{status: http.StatusNoContent}
}

// drawFields returns fields, right and wrong, and the sorted names of the wrong ones.
func (w *world) drawFields(rt *rapid.T, op operation, media string) (fields []field, wrong []string) {
	names := make([]string, 0, len(op.body.Properties))
	for name := range op.body.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		schema := op.body.Properties[name].Value
		required := slices.Contains(op.body.Required, name)
		f := field{name: name, text: w.drawText(rt, schema)}
		if rapid.IntRange(0, 4).Draw(rt, name) == 0 {
			faults := faultsOf(schema, required, media)
			fault := rapid.SampledFrom(faults).Draw(rt, name+" fault")
			wrong = append(wrong, name)
			if fault == "missing" {
				continue
			}
			f = faulty(name, schema, fault)
		} else if !required && rapid.Bool().Draw(rt, name+" absent") {
			continue
		}
		fields = append(fields, f)
	}
	fields = append(fields, field{name: "unlisted", text: "x"})
	return fields, wrong
}

// faultsOf names what can be wrong with a field of a schema, in a media type.
func faultsOf(schema *openapi3.Schema, required bool, media string) []string {
	faults := []string{"NUL"}
	if required {
		faults = append(faults, "missing")
	}
	if schema.MinLength > 0 {
		faults = append(faults, "blank")
	}
	if schema.MaxLength != nil || schema.Format == "email" {
		faults = append(faults, "long")
	}
	if schema.Format == "username" || schema.Format == "email" {
		faults = append(faults, "format")
	}
	if media == mediaJSON {
		faults = append(faults, "null", "number", "boolean", "list", "object", "surrogate")
	}
	return faults
}

func faulty(name string, schema *openapi3.Schema, fault string) field {
	switch fault {
	case "NUL":
		return field{name: name, text: "a\x00b"}
	case "blank":
		if schema.Format == "password" {
			return field{name: name}
		}
		return field{name: name, text: " \t\u00a0"}
	case "long":
		most := 254
		if schema.MaxLength != nil {
			most = int(*schema.MaxLength)
		}
		return field{name: name, text: strings.Repeat("é", most+1)}
	case "format":
		return field{name: name, text: "not a name@"}
	}
	return field{name: name, json: map[string]string{
		"null": "null", "number": "17", "boolean": "true", "list": `["a"]`, "object": `{"a":"b"}`, "surrogate": `"a\ud800b"`,
	}[fault]}
}

// drawText returns a text that a schema allows. Those of usernames are fresh.
func (w *world) drawText(rt *rapid.T, schema *openapi3.Schema) string {
	most := 40
	if schema.MaxLength != nil {
		most = int(*schema.MaxLength)
	}
	length := often(rt, "length", rapid.IntRange(int(schema.MinLength), most).Draw(rt, "any length"), int(schema.MinLength), most)
	switch schema.Format {
	case "username":
		w.count++
		unique := fmt.Sprint("u", w.count, ".")
		runes := rapid.RuneFrom([]rune("aZ09@.+-_éß名١"))
		return unique + rapid.StringOfN(runes, 0, max(0, length-len(unique)), -1).Draw(rt, "username")
	case "email":
		return rapid.StringMatching(`|[a-z0-9]{1,20}(\.[a-z]{1,3})?@([a-z0-9]{1,20}\.){1,3}[a-z]{2,6}`).Draw(rt, "email")
	}
	if schema.Extensions["x-policy"] == "password" {
		return rapid.StringMatching(`[A-Z][0-9]-[a-z]{6,100}[!-~]{3,20}`).Draw(rt, "password") // good enough, and like nobody
	}
	anything := rapid.Rune().Filter(func(r rune) bool { return r != 0 && utf8.ValidRune(r) })
	text := rapid.StringOfN(anything, length, length, -1).Draw(rt, "text")
	if schema.MinLength > 0 && schema.Format != "password" {
		_, first := utf8.DecodeRuneInString(text)
		return "x" + text[first:] // something is left when it is trimmed
	}
	return text
}

// encode writes fields in a media type.
func encode(media string, fields []field) string {
	var parts []string
	for _, f := range fields {
		switch {
		case media == mediaForm:
			parts = append(parts, url.QueryEscape(f.name)+"="+url.QueryEscape(f.text))
		case media == mediaMultipart:
			parts = append(parts, fmt.Sprintf("--B\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", f.name, f.text))
		case f.json != "":
			parts = append(parts, mustJSON(f.name)+":"+f.json)
		default:
			parts = append(parts, mustJSON(f.name)+":"+mustJSON(f.text))
		}
	}
	switch media {
	case mediaForm:
		return strings.Join(parts, "&")
	case mediaMultipart:
		return strings.Join(parts, "") + "--B--\r\n"
	}
	return "{" + strings.Join(parts, ",") + "}"
}
