package parity

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Exchange is a request that two servers have answered: the old one, which is DRF's, and the new one.
type Exchange struct {
	Request  Step
	Old, New Answer
}

// Difference is what the new server answered otherwise than the old one. There is no token in it.
type Difference struct {
	Where string   // which request
	What  []string // one sentence each
	Row   int      // of docs/differences.md, which explains it; 0 where none does
}

// Servers are an old and a new server of the API, by their addresses without a slash at the end.
type Servers struct {
	Old, New string
	Client   *http.Client // that follows no redirects
}

// Ask sends one request to both, and says what is different, if anything is.
func (s Servers) Ask(ctx context.Context, request Step) (Exchange, *Difference, error) {
	none := map[string]string{}
	return s.ask(ctx, request, none, none)
}

// ask sends a request to both, with what each has named so far, and notes what it names.
func (s Servers) ask(ctx context.Context, step Step, was, is map[string]string) (x Exchange, difference *Difference, err error) {
	x.Request = step.fill(was)
	if x.Old, err = x.Request.send(ctx, s.Client, s.Old); err != nil {
		return x, nil, fmt.Errorf("ask the old server: %w", err)
	}
	if x.New, err = step.fill(is).send(ctx, s.Client, s.New); err != nil {
		return x, nil, fmt.Errorf("ask the new server: %w", err)
	}
	step.capture(x.Old, was)
	step.capture(x.New, is)
	named := Exchange{x.Request, x.Old, x.New}
	named.Old.Body, named.New.Body = nameValues(x.Old, was), nameValues(x.New, is)
	if what := differ(named.Old, named.New); len(what) > 0 {
		difference = &Difference{x.Request.Method + " " + x.Request.Path, what, named.Row()}
	}
	return x, difference, nil
}

// Profile reads a profile by its id at each server, with a token where there is one.
func (s Servers) Profile(ctx context.Context, oldID, newID, token string) (*Difference, error) {
	request := Step{Method: http.MethodGet, Path: "/api/v1/users/{{id}}/", Headers: map[string]string{}}
	if token != "" {
		request.Headers["Authorization"] = "Token " + token
	}
	_, difference, err := s.ask(ctx, request, map[string]string{"id": oldID}, map[string]string{"id": newID})
	return difference, err
}

// Case sends the requests of a case to both servers, and says what is different, if anything is. What is random, ids and
// tokens, is the same where both name it the same. It ends at the first request with a difference. It may register
// accounts, at both.
func (s Servers) Case(ctx context.Context, c Case) (*Difference, error) {
	fresh := random()
	was, is := map[string]string{"rand": fresh}, map[string]string{"rand": fresh}
	for i, step := range c.Steps {
		_, difference, err := s.ask(ctx, step, was, is)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.ID(), err)
		}
		if difference != nil {
			difference.Where = fmt.Sprintf("%s, step %d", c.ID(), i+1)
			return difference, nil
		}
	}
	return nil, nil //nolint:nilnil // as documented
}

var key = regexp.MustCompile(`^[0-9a-f]{40}$`)

// nameValues puts names in the places of captured values, of tokens, and of the id of what was made, in the members of a
// body.
func nameValues(a Answer, values map[string]string) any {
	members, ok := a.Body.(map[string]any)
	if !ok {
		return a.Body
	}
	result := map[string]any{}
	for member, value := range members {
		text := fmt.Sprint(value)
		switch {
		case key.MatchString(text): // whichever: the old server gives out one again and again
			value = "{{token}}"
		case member == "id" && a.Status == http.StatusCreated:
			value = "{{id}}"
		default:
			for name, captured := range values {
				if name != "rand" && text == captured {
					value = "{{" + name + "}}"
				}
			}
		}
		result[member] = value
	}
	return result
}

// detail is what an answer says of the request as a whole.
func (a Answer) detail() string {
	members, _ := a.Body.(map[string]any) // nil where it is something else, which has no detail
	text, _ := members["detail"].(string)
	return text
}

// fields are the names of the fields that an answer finds wrong, with their messages.
func (a Answer) fields() map[string]string {
	fields := map[string]string{}
	members, _ := a.Body.(map[string]any) // nil where it is something else, which has no fields
	for name, messages := range members {
		if list, ok := messages.([]any); ok && a.Status == http.StatusBadRequest {
			fields[name] = strings.TrimSpace(fmt.Sprintln(list...))
		}
	}
	return fields
}
