// Package parity replays requests that a Django REST Framework server once answered, and tells where a server answers
// otherwise.
package parity

import (
	"bytes"
	"context"
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
	values := map[string]string{"rand": random()}
	for i, step := range c.Steps {
		got, err := step.fill(values).send(context.Background(), client, base)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		step.capture(got, values)
		want := step.Expect
		want.Body = filled(want.Body, values)
		if differences := differ(want, got); len(differences) > 0 {
			for j := range differences {
				differences[j] = fmt.Sprintf("step %d, %s %s: %s", i+1, step.Method, step.Path, differences[j])
			}
			return differences, nil
		}
	}
	return nil, nil
}

// random is what {{rand}} stands for.
func random() string { return strings.ToLower(rand.Text()[:randLength]) }

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

// fill puts values in the places of their names, all through a request.
func (s Step) fill(values map[string]string) Step {
	filled := Step{Method: s.Method, Path: fill(s.Path, values), Headers: map[string]string{}}
	for name, value := range s.Headers {
		filled.Headers[name] = fill(value, values)
	}
	if s.Body != nil {
		body := fill(*s.Body, values)
		filled.Body = &body
	}
	return filled
}

// mostAnswer is how many bytes of an answer are read.
const mostAnswer = 1 << 20

func (s Step) send(ctx context.Context, client *http.Client, base string) (got Answer, err error) {
	var body io.Reader
	if s.Body != nil {
		body = strings.NewReader(*s.Body)
	}
	req, err := http.NewRequestWithContext(ctx, s.Method, base+s.Path, body)
	if err != nil {
		return Answer{}, err
	}
	for name, value := range s.Headers {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return Answer{}, err
	}
	got = Answer{Status: resp.StatusCode, Headers: map[string]string{}}
	for name := range resp.Header {
		got.Headers[name] = resp.Header.Get(name)
	}
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber() // an id can be one
	if len(text) > 0 && numbers.Decode(&got.Body) != nil {
		got.Body = string(text)
	}
	return got, nil
}

func (s Step) capture(got Answer, values map[string]string) {
	members, _ := got.Body.(map[string]any) // nil where it is something else: nothing to capture
	for name, member := range s.Capture {
		switch value := members[member].(type) {
		case string:
			values[name] = value
		case json.Number:
			values[name] = value.String()
		}
	}
}

// differ says in what an answer is another than DRF's, one sentence each.
func differ(drf, got Answer) []string {
	var differences []string
	differ := func(what string, got, want any) {
		if !reflect.DeepEqual(got, want) {
			differences = append(differences, fmt.Sprintf("%s is %v, DRF's was %v", what, got, want))
		}
	}
	differ("the status", got.Status, drf.Status)
	differ("the body", wordless(got.Body), wordless(drf.Body))
	differ("WWW-Authenticate", got.header("WWW-Authenticate"), drf.header("WWW-Authenticate"))
	if drf.Status == http.StatusMethodNotAllowed {
		differ("Allow", methods(got.header("Allow")), methods(drf.header("Allow")))
	}
	return differences
}

// header is a header of an answer, however its name is spelled.
func (a Answer) header(name string) string {
	for n, value := range a.Headers {
		if strings.EqualFold(n, name) {
			return value
		}
	}
	return ""
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
