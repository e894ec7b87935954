package server_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	rollbook "github.com/rollbook/rollbook"
	"github.com/rollbook/rollbook/test/testserver"
)

func TestContractIsServed(t *testing.T) {
	s := sqlite(t)
	yaml := s.Do(testserver.Request{Method: "GET", Path: "/openapi.yaml"})
	if yaml.Status != 200 || yaml.Text != string(rollbook.OpenAPI) {
		t.Errorf("got %d and %d bytes, want the %d of the file as they are", yaml.Status, len(yaml.Text), len(rollbook.OpenAPI))
	}
	served := s.Do(testserver.Request{Method: "GET", Path: "/openapi.json"})
	fromYAML, err := openapi3.NewLoader().LoadFromData([]byte(yaml.Text))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if served.Status != 200 || !reflect.DeepEqual(served.JSON, want) {
		t.Error("/openapi.json says something else than /openapi.yaml")
	}
}

func TestDocsNeedNothingFromElsewhere(t *testing.T) {
	s := sqlite(t)
	for _, path := range []string{"/", "/docs"} {
		if got := s.Do(testserver.Request{Method: "GET", Path: path}); got.Status != 302 || got.Header.Get("Location") != "/docs/" {
			t.Errorf("%s: %d to %q", path, got.Status, got.Header.Get("Location"))
		}
	}
	page := s.Do(testserver.Request{Method: "GET", Path: "/docs/"})
	want(t, page, 200, "")
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	links := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.Text, -1)
	if len(links) != 4 {
		t.Fatalf("the page has %d links, want 4: %v", len(links), links)
	}
	for _, link := range links {
		for _, encoding := range []string{"gzip", "identity"} {
			got := s.Do(testserver.Request{Method: "GET", Path: "/docs/" + link[1], Header: map[string]string{"Accept-Encoding": encoding}})
			if got.Status != 200 || len(got.Text) < 100 || got.Header.Get("Content-Security-Policy") != policy {
				t.Errorf("%s as %s: %d, %d bytes, %q", link[1], encoding, got.Status, len(got.Text), got.Header.Get("Content-Security-Policy"))
			}
		}
	}
	want(t, s.Do(testserver.Request{Method: "GET", Path: "/docs/nope.js"}), 404, `{"detail":"Not found."}`)
	post := s.Do(testserver.Request{Method: "POST", Path: "/docs/"})
	if post.Status != 405 || !strings.Contains(post.Header.Get("Allow"), "GET") || strings.Contains(post.Header.Get("Allow"), "POST") {
		t.Errorf("POST: %d, Allow %q", post.Status, post.Header.Get("Allow"))
	}
}
