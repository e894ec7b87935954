package main

import (
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	t.Parallel()
	for origin, problem := range map[string]string{
		"*": "", "https://example.org": "", "http://localhost:5173": "", "https://example.org:8443": "", "http://127.0.0.1:3000": "",
		"http://[::1]:3000": "", "https://xn--bcher-kva.example": "", "capacitor://localhost": "", "https://a_b.example.org": "",
		"http://example.org:443": "", "https://example.org:80": "",

		"https://*.example.org": "has a wildcard", "https://ex*mple.org": "has a wildcard", "http*://example.org": "has a wildcard",
		"https://example.org:*": "has a wildcard", "https://exampl?.org": "has a wildcard", "https://*": "has a wildcard", "**": "has a wildcard",
		"*://example.org": "has a wildcard", "https://example.org?": "has a wildcard", "*.example.org": "has a wildcard",
		"null": "cannot be allowed", "": "must be as in", "example.org": "must be as in", "//example.org": "must be as in",
		"https://example.org/": "must be as in", "https://example.org/x": "must be as in", "https://example.org#x": "must be as in",
		"https://u:p@example.org": "must be as in", "https:example.org": "must be as in", "https://": "must be as in", " https://example.org": "must be as in",
		"https://exa mple.org": "must be as in", "https://example.org\n": "must be as in", "file://": "must be as in", "mailto:a@b": "must be as in",
		"https://Example.org": "must be in lower case, as browsers send it: https://example.org", "HTTPS://example.org": "must be in lower case",
		"https://example.org:443": "without its port, as browsers send it: https://example.org", "http://example.org:80": "without its port",
		"https://example.org:": "without its port, as browsers send it: https://example.org", "https://example.org:0": "has no port", "https://example.org:99999": "has no port",
		"https://example.org:08443": "has no port", "https://bücher.example": "in ASCII", "https://b%C3%BCcher.example": "in ASCII",
		"http://[0:0:0:0:0:0:0:1]:3000": "as browsers send it: http://[::1]:3000", "http://[::1%25eth0]": "must have its",
	} {
		err := checkOrigins([]string{"https://first.example", origin})
		if (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: %v, want %q", origin, err, problem)
		}
	}
}
