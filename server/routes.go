package server

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollbook/rollbook/gen"
)

// methods are those that every path of the contract answers, be it with 405. Others are refused by Echo.
var methods = []string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions,
}

// router registers what the generated code asks for, behind the guard and under both spellings of a path. It lacks the
// methods that the contract does not use: to use one ends the program at its start.
type router struct {
	gen.EchoRouter
	echo       *echo.Echo
	guard      func(*operation) echo.MiddlewareFunc
	operations map[string]*operation
}

// GET registers HEAD too.
func (r router) GET(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	guard := r.guard(r.operations[key(http.MethodGet, path)])
	r.both(http.MethodHead, path, h, guard)
	return r.both(http.MethodGet, path, h, guard)
}

func (r router) POST(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.guarded(http.MethodPost, path, h)
}

func (r router) PUT(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.guarded(http.MethodPut, path, h)
}

func (r router) PATCH(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.guarded(http.MethodPatch, path, h)
}

func (r router) DELETE(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.guarded(http.MethodDelete, path, h)
}

func (r router) guarded(method, path string, h echo.HandlerFunc) *echo.Route {
	return r.both(method, path, h, r.guard(r.operations[key(method, path)]))
}

// both registers a path with and without its trailing slash.
func (r router) both(method, path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route {
	for _, spelling := range spellings(path)[1:] {
		r.echo.Add(method, spelling, h, m...)
	}
	return r.echo.Add(method, path, h, m...)
}

// spellings returns a path as it is and, where it ends in a slash, without that.
func spellings(path string) []string {
	if short, ok := strings.CutSuffix(path, "/"); ok {
		return []string{path, short}
	}
	return []string{path}
}

// route registers the operations of the contract, and on each of its paths an answer for every other method: without
// one, Echo would hand PUT /users/me/ to PUT /users/{id}/.
func (s *Server) route(e *echo.Echo, api *contract) {
	r := router{echo: e, guard: s.guard, operations: api.operations}
	for path, item := range api.doc.Paths.Map() {
		var allowed []string
		for _, method := range methods {
			listed := item.GetOperation(method) != nil
			switch {
			case listed, method == http.MethodHead && item.Get != nil:
				allowed = append(allowed, method)
			case method == http.MethodOptions:
				allowed = append(allowed, method)
				r.both(method, echoPath(path), s.answerOptions)
			default:
				r.both(method, echoPath(path), echo.MethodNotAllowedHandler)
			}
		}
		for _, spelling := range spellings(echoPath(path)) {
			s.allow[spelling] = strings.Join(allowed, ", ")
		}
	}
	gen.RegisterHandlers(r, gen.NewStrictHandler(s, nil))
}

func (s *Server) answerOptions(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderAllow, s.allow[c.Path()])
	return c.NoContent(http.StatusNoContent)
}
