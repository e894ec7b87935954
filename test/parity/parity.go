// Package parity replays requests that a Django REST Framework server once answered, and tells where a server answers
// otherwise.
package parity

import (
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
)

//go:embed cases.json
var recorded []byte

// Case is a recorded conversation.
type Case struct {
	Group string
	Name  string
	Steps []Step
}

// ID names a case.
func (c Case) ID() string { return c.Group + " / " + c.Name }

// Step is a request and what DRF answered. Names in double braces stand for captured values, {{rand}} for a text that is
// fresh for each replay, {{x:upper}} and {{x:bare}} for x in upper case and without hyphens.
type Step struct {
	Method  string
	Path    string
	Headers map[string]string
	Body    *string
	Capture map[string]string // from a name to the member of the answer that it stands for from then on
	Expect  Answer
}

// Answer is what a server said to a step.
type Answer struct {
	Status  int
	Headers map[string]string
	Body    any
}

// Load returns the recorded cases.
func Load() ([]Case, error) {
	var cases []Case
	err := json.Unmarshal(recorded, &cases)
	return cases, err
}

// randLength is how long {{rand}} is; the recorded lengths of usernames count on it.
const randLength = 12

// Replay sends the requests of a case to the server at base and returns what it answered otherwise than DRF, one
// sentence each. It ends at the first step with a difference.
func (c Case) Replay(client *http.Client, base string) ([]string, error) {
	values := map[string]string{"rand": strings.ToLower(rand.Text()[:randLength])}
	for i, step := range c.Steps {
		got, err := step.send(client, base, values)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		step.capture(got, values)
		if differences := step.compare(got, values); len(differences) > 0 {
			for j := range differences {
				differences[j] = fmt.Sprintf("step %d, %s %s: %s", i+1, step.Method, step.Path, differences[j])
			}
			return differences, nil
		}
	}
	return nil, nil
}

// fill puts values in the places of their names.
func fill(text string, values map[string]string) string {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs,
			"{{"+name+"}}", value,
			"{{"+name+":upper}}", strings.ToUpper(value),
			"{{"+name+":bare}}", strings.ReplaceAll(value, "-", ""))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func (s Step) send(client *http.Client, base string, values map[string]string) (got Answer, err error) {
	var body io.Reader
	if s.Body != nil {
		body = strings.NewReader(fill(*s.Body, values))
	}
	req, err := http.NewRequest(s.Method, base+fill(s.Path, values), body)
	if err != nil {
		return Answer{}, err
	}
	for name, value := range s.Headers {
		req.Header.Set(name, fill(value, values))
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	got = Answer{Status: resp.StatusCode, Headers: map[string]string{}}
	for name := range resp.Header {
		got.Headers[name] = resp.Header.Get(name)
	}
	if len(text) > 0 && json.Unmarshal(text, &got.Body) != nil {
		got.Body = string(text)
	}
	return got, nil
}

func (s Step) capture(got Answer, values map[string]string) {
	members, _ := got.Body.(map[string]any) // nil where it is something else: nothing to capture
	for name, member := range s.Capture {
		if text, ok := members[member].(string); ok {
			values[name] = text
		}
	}
}

func (s Step) compare(got Answer, values map[string]string) []string {
	var differences []string
	differ := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			differences = append(differences, fmt.Sprintf("%s is %v, DRF's was %v", what, got, want))
		}
	}
	differ("the status", got.Status, s.Expect.Status)
	differ("the body", wordless(got.Body), wordless(filled(s.Expect.Body, values)))
	differ("WWW-Authenticate", got.Headers["Www-Authenticate"], s.Expect.Headers["WWW-Authenticate"])
	if s.Expect.Status == http.StatusMethodNotAllowed {
		differ("Allow", methods(got.Headers["Allow"]), methods(s.Expect.Headers["Allow"]))
	}
	return differences
}

// filled puts values in the places of their names, all through a body.
func filled(body any, values map[string]string) any {
	members, ok := body.(map[string]any)
	if !ok {
		return body
	}
	result := map[string]any{}
	for name, value := range members {
		if text, ok := value.(string); ok {
			value = fill(text, values)
		}
		result[name] = value
	}
	return result
}

// wordless cuts off what stands behind "JSON parse error": each parser has words of its own.
func wordless(body any) any {
	const prefix = "JSON parse error - "
	members, ok := body.(map[string]any)
	if !ok {
		return body
	}
	if detail, ok := members["detail"].(string); ok && strings.HasPrefix(detail, prefix) {
		return map[string]any{"detail": prefix}
	}
	return members
}

// methods sorts the methods of an Allow header, without HEAD and OPTIONS, which not every server lists.
func methods(allow string) []string {
	var methods []string
	for method := range strings.SplitSeq(allow, ",") {
		if method = strings.TrimSpace(method); method != "" && method != http.MethodHead && method != http.MethodOptions {
			methods = append(methods, method)
		}
	}
	slices.Sort(methods)
	return methods
}
