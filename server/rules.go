package server

import (
	"context"
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
	Check(ctx context.Context, plain string, attributes []password.Attribute) ([]string, error)
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
	weak, err := weaknesses(ctx, r.policy, r.op.fields, values, repository.Profile{})
	if err != nil {
		return nil, nil, err
	}
	wrong = sorted(slices.Concat(problems, violations, weak))
	if _, given := fields["password"]; !given {
		delete(wrong, "password")
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
func weaknesses(
	ctx context.Context, p policy, listed []textField, fields map[string]any, user repository.Profile,
) ([]problem, error) {
	if !slices.ContainsFunc(listed, func(f textField) bool { return f.policy }) {
		return nil, nil
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
		messages, err := p.Check(ctx, plain, attributesOf(user))
		if err != nil {
			return nil, fmt.Errorf("check a new password: %w", err)
		}
		for _, message := range messages {
			problems = append(problems, problem{field.name, ofOther, message})
		}
	}
	return problems, nil
}
