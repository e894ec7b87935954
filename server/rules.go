package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	rollbook "github.com/rollbook/rollbook"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// Rules are those that the contract and a policy have for accounts, for who makes accounts otherwise than by HTTP.
type Rules struct {
	op     *operation
	policy policy
}

// policy says what is wrong with a new password.
type policy interface {
	Check(plain string, attributes []password.Attribute) []string
	CheckBreached(ctx context.Context, plain string) ([]string, error)
}

// NewRules reads the contract.
func NewRules(p password.Policy) (*Rules, error) {
	api, err := loadContract(rollbook.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	return rulesOf(api, p), nil
}

func rulesOf(api *contract, p policy) *Rules {
	return &Rules{api.operations[key(http.MethodPost, "/api/v1/users/")], p}
}

// Check makes the fields of a registration canonical, and returns what is wrong with them by their names, in the words of
// the API. Fields that are left out may be missing, but for the username. A text that is too long is returned as it is.
func (r *Rules) Check(
	ctx context.Context, fields map[string]string,
) (canonical map[string]string, wrong map[string][]string, err error) {
	canonical, values := map[string]string{}, map[string]any{}
	var problems []problem
	for _, field := range r.op.fields {
		text, ok := fields[field.name]
		if !ok {
			continue
		}
		problems = append(problems, field.read(value{text: text}, values)...)
		canonical[field.name] = text
		if read, ok := values[field.name].(string); ok {
			canonical[field.name] = read
		}
	}
	violations, err := r.op.violations(values, problems)
	if err != nil {
		return nil, nil, err
	}
	wrong = sorted(slices.Concat(problems, violations, weaknesses(r.policy, r.op.fields, values, repository.Profile{})))
	if _, given := fields["password"]; !given {
		delete(wrong, "password")
	} else if len(wrong["password"]) == 0 {
		err = refuseBreached(ctx, r.policy, "password", canonical["password"])
	}
	if breached, ok := errors.AsType[fieldErrors](err); ok {
		maps.Copy(wrong, breached)
	} else if err != nil {
		return nil, nil, err
	}
	return canonical, wrong, nil
}

// Explain says what is wrong with the fields of an account, on one line.
func Explain(problems map[string][]string) string {
	var parts []string
	for _, field := range slices.Sorted(maps.Keys(problems)) {
		parts = append(parts, field+": "+strings.Join(problems[field], " "))
	}
	return strings.Join(parts, "; ")
}

// attributesOf are what an account's password may not be like.
func attributesOf(user repository.Profile) []password.Attribute {
	return []password.Attribute{
		{Name: "username", Value: user.Username}, {Name: "first name", Value: user.FirstName},
		{Name: "last name", Value: user.LastName}, {Name: "email address", Value: user.Email},
	}
}

// weaknesses are what the policy has against the new passwords of a body, for the account that it is about: as the body
// would have it, and as it is otherwise.
func weaknesses(p policy, listed []textField, fields map[string]any, user repository.Profile) []problem {
	if !slices.ContainsFunc(listed, func(f textField) bool { return f.policy }) {
		return nil
	}
	for name, value := range map[string]*string{
		"username": &user.Username, "first_name": &user.FirstName, "last_name": &user.LastName, "email": &user.Email,
	} {
		if text, ok := fields[name].(string); ok {
			*value = text
		}
	}
	var problems []problem
	for _, field := range listed {
		plain, ok := fields[field.name].(string)
		if !field.policy || !ok { // the contract has its say about what is missing
			continue
		}
		for _, message := range p.Check(plain, attributesOf(user)) {
			problems = append(problems, problem{field.name, ofOther, message})
		}
	}
	return problems
}

// refuseBreached returns a fieldErrors if the new password in a field is on the list of breached passwords. Call it
// behind everything that limits requests: it reads a file.
func refuseBreached(ctx context.Context, p policy, field, plain string) error {
	messages, err := p.CheckBreached(ctx, plain)
	if err != nil {
		return fmt.Errorf("check a new password: %w", err)
	}
	if len(messages) > 0 {
		return fmt.Errorf("%w: %w", errWeakPassword, fieldErrors{field: messages})
	}
	return nil
}
