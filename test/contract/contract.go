// Package contract holds the answers of a running server against openapi.yaml.
package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	rollbook "github.com/rollbook/rollbook"
)

// Transport returns a transport that fails the test for every answer that the contract does not allow: an undeclared
// status, a header that is missing, a body of another shape, or a member that no schema lists.
func Transport(t testing.TB) http.RoundTripper { return transport{t} }

type transport struct{ t testing.TB }

func (tr transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err := Check(req, resp, body); err != nil {
		tr.t.Errorf("%s %s answered %d against the contract: %v", req.Method, req.URL.Path, resp.StatusCode, err)
	}
	return resp, nil
}

// load reads the contract, with every schema of an answer closed against members that it does not list.
var load = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(rollbook.OpenAPI)
	if err != nil {
		return nil, err
	}
	for _, schema := range doc.Components.Schemas {
		if len(schema.Value.Properties) > 0 {
			schema.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: new(false)}
		}
	}
	return doc, nil
})

// documentation is what is served beside the contract's operations.
var documentation = []string{
	"/", "/docs", "/docs/", "/docs/init.js", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/favicon-32x32.png",
	"/openapi.yaml", "/openapi.json",
}

// Check returns what the contract has against an answer, whose body has been read. The documentation and the contract
// file are no part of it.
func Check(req *http.Request, resp *http.Response, body []byte) error {
	doc, err := load()
	if err != nil {
		return err
	}
	path := req.URL.Path
	if slices.Contains(documentation, path) && (req.Method == http.MethodGet || req.Method == http.MethodHead) {
		return nil
	}
	if resp.Header.Get("X-Request-Id") == "" {
		return errors.New("there is no X-Request-Id")
	}
	method := req.Method
	if method == "patch" { // the one method that is accepted in lower case
		method = http.MethodPatch
	}
	item, route, params := find(doc, path, method)
	switch {
	case slices.Contains(documentation, path):
		return checkRouterError(resp, body, req.Method, http.StatusMethodNotAllowed)
	case item == nil:
		return checkRouterError(resp, body, req.Method, http.StatusNotFound)
	case req.Method == http.MethodOptions:
		return checkOptions(resp)
	case route == nil:
		return checkRouterError(resp, body, req.Method, http.StatusMethodNotAllowed)
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true,
			MultiError:            true,
			ExcludeResponseBody:   req.Method == http.MethodHead,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{
				openapi3.WithStringFormatValidator("uuid", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForUUIDOfRFC4122)),
			},
		},
	}
	input.SetBodyBytes(body)
	for _, line := range exercised(route.Operation, req, resp.StatusCode) {
		if err := note()(line); err != nil {
			return err
		}
	}
	if resp.StatusCode == http.StatusNoContent && len(body) > 0 {
		return errors.New("204 with a body")
	}
	return openapi3filter.ValidateResponse(context.Background(), input)
}

// find returns the path of the contract that a request is for, and its operation where it has one.
func find(doc *openapi3.T, path, method string) (*openapi3.PathItem, *routers.Route, map[string]string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var found string
	var params map[string]string
	for template := range doc.Paths.Map() {
		if p, ok := match(template, path); ok && (found == "" || len(p) < len(params)) { // the fewest parameters count
			found, params = template, p
		}
	}
	if found == "" {
		return nil, nil, nil
	}
	item := doc.Paths.Value(found)
	op := item.GetOperation(method)
	if op == nil {
		return item, nil, params
	}
	return item, &routers.Route{Spec: doc, Path: found, PathItem: item, Method: method, Operation: op}, params
}

// match compares a path with a template of the contract. The trailing slash may be missing.
func match(template, path string) (map[string]string, bool) {
	params := map[string]string{}
	want, got := strings.Split(strings.TrimSuffix(template, "/"), "/"), strings.Split(path, "/")
	if strings.HasSuffix(template, "/") && len(got) == len(want)+1 && got[len(want)] == "" {
		got = got[:len(want)]
	}
	if len(want) != len(got) {
		return nil, false
	}
	for i := range want {
		if name, ok := strings.CutPrefix(want[i], "{"); ok {
			params[strings.TrimSuffix(name, "}")] = got[i]
		} else if want[i] != got[i] {
			return nil, false
		}
	}
	return params, true
}

// checkRouterError checks a 404 or 405 that belongs to no operation.
func checkRouterError(resp *http.Response, body []byte, method string, status int) error {
	if resp.StatusCode != status {
		return fmt.Errorf("it is in no contract, so the status should be %d", status)
	}
	if status == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
		return errors.New("there is no Allow")
	}
	if method == http.MethodHead {
		return nil
	}
	var got map[string]string
	if err := json.Unmarshal(body, &got); err != nil || len(got) != 1 || got["detail"] == "" {
		return fmt.Errorf("the body should be a detail, not %s", body)
	}
	return nil
}

func checkOptions(resp *http.Response) error {
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(resp.Header.Get("Allow"), http.MethodOptions) {
		return fmt.Errorf("OPTIONS should be 204 with Allow, which is %q", resp.Header.Get("Allow"))
	}
	return nil
}
