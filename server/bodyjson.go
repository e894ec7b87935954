package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonFields reads a JSON object. The last of repeated names counts.
func jsonFields(data []byte) (map[string]value, error) {
	if !utf8.Valid(data) {
		return nil, jsonError("the text is not UTF-8")
	}
	var members map[string]json.RawMessage
	err := json.Unmarshal(data, &members)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, jsonError(fmt.Sprintf("%s (byte %d)", syntax, syntax.Offset))
	}
	if err != nil { // valid JSON, but no object
		return nil, fieldErrors{nonField: {"Invalid data. Expected a dictionary, but got " + pythonType(data) + "."}}
	}
	if members == nil {
		return nil, fieldErrors{nonField: {"No data provided"}}
	}
	values := make(map[string]value, len(members))
	for name, raw := range members {
		v := value{other: raw}
		if raw[0] == '"' {
			v = value{surrogate: loneSurrogate(raw)}
			if err := json.Unmarshal(raw, &v.text); err != nil {
				return nil, fmt.Errorf("read a JSON string: %w", err)
			}
		}
		values[name] = v
	}
	return values, nil
}

func jsonError(what string) error {
	return newDetail(http.StatusBadRequest, "JSON parse error - "+what)
}

// pythonType is Python's name for the type of a JSON value that is no object.
func pythonType(data []byte) string {
	text := strings.TrimSpace(string(data))
	switch {
	case text[0] == '[':
		return "list"
	case text[0] == '"':
		return "str"
	case text[0] == 't', text[0] == 'f':
		return "bool"
	case strings.ContainsAny(text, ".eE"):
		return "float"
	}
	return "int"
}

// loneSurrogate returns the first \u escape in a JSON string that is a surrogate but not half of a pair, or 0.
func loneSurrogate(raw []byte) rune {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		first, ok := escapedUnit(raw[i:])
		switch {
		case !ok:
			i++ // the character after the backslash
			continue
		case !utf16.IsSurrogate(first):
			i += escapeLength - 1
			continue
		}
		second, ok := escapedUnit(raw[i+escapeLength:])
		if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
			return first
		}
		i += 2*escapeLength - 1
	}
	return 0
}

const escapeLength = len(`\u0000`)

// escapedUnit reads the UTF-16 code unit of a \u escape at the start of a text.
func escapedUnit(text []byte) (rune, bool) {
	if len(text) < escapeLength || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:escapeLength]), 16, 16)
	return rune(unit), err == nil
}
