package server

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// problem is one thing that is wrong with one field.
type problem struct {
	field   string
	rank    rank
	message string
}

// rank orders the messages of one field as DRF does. After an onlyOne, DRF looks no further.
type rank int

const (
	onlyOne rank = iota
	ofUsername
	ofLength
	ofNull
	ofSurrogate
	ofOther
)

// Messages of DRF and Django.
const (
	msgRequired  = "This field is required."
	msgNull      = "This field may not be null."
	msgBlank     = "This field may not be blank."
	msgNotString = "Not a valid string."
	msgTooLong   = "Ensure this field has no more than %d characters."
	msgTooShort  = "Ensure this field has at least %d characters."
	msgNUL       = "Null characters are not allowed."
	msgSurrogate = "Surrogate characters are not allowed: U+%X."
	msgPattern   = "This value does not match the required pattern."
	msgInvalid   = "Invalid value."
	msgUsername  = "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."
	msgEmail     = "Enter a valid email address."
)

// fieldErrorsOf makes an error of problems, and nil where there are none.
func fieldErrorsOf(problems []problem) error {
	if len(problems) == 0 {
		return nil
	}
	return sorted(problems)
}

// sorted gathers the messages of each field, in their order and each once.
func sorted(problems []problem) fieldErrors {
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(a.rank, b.rank) })
	fields := fieldErrors{}
	final := map[string]bool{}
	for _, p := range problems {
		if !final[p.field] && !slices.Contains(fields[p.field], p.message) {
			fields[p.field] = append(fields[p.field], p.message)
		}
		final[p.field] = final[p.field] || p.rank == onlyOne
	}
	return fields
}

// problemsOf reads the violations out of what kin-openapi returned. An error that is something else is returned as it is.
func problemsOf(err error) ([]problem, error) {
	if err == nil {
		return nil, nil
	}
	if several, ok := errors.AsType[openapi3.MultiError](err); ok {
		var problems []problem
		for _, one := range several {
			found, err := problemsOf(one)
			if err != nil {
				return nil, err
			}
			problems = append(problems, found...)
		}
		return problems, nil
	}
	if one, ok := errors.AsType[*openapi3.SchemaError](err); ok {
		return violation(one), nil
	}
	return nil, err
}

// violation words the failed keyword of a field's schema.
func violation(e *openapi3.SchemaError) []problem {
	field := nonField
	if path := e.JSONPointer(); len(path) > 0 {
		field = path[0]
	}
	one := func(r rank, message string) []problem { return []problem{{field, r, message}} }
	switch e.SchemaField {
	case "required":
		return one(onlyOne, msgRequired)
	case "nullable":
		return one(onlyOne, msgNull)
	case "type":
		if e.Schema.Format == formatEmail { // DRF's field for them has this one message
			return one(onlyOne, msgEmail)
		}
		return one(onlyOne, msgNotString)
	case "minLength":
		if e.Value == "" {
			return one(onlyOne, msgBlank)
		}
		return one(ofLength, fmt.Sprintf(msgTooShort, e.Schema.MinLength))
	case "maxLength":
		return one(ofLength, fmt.Sprintf(msgTooLong, *e.Schema.MaxLength))
	case "pattern":
		return one(ofPattern(e.Schema))
	case "format":
		return ofFormat(field, e)
	}
	return one(ofOther, msgInvalid)
}

// patternNoNUL is how the contract forbids NUL.
const patternNoNUL = `^[^\x00]*$`

func ofPattern(schema *openapi3.Schema) (rank, string) {
	switch {
	case schema.Format == formatUsername:
		return ofUsername, msgUsername
	case schema.Pattern == patternNoNUL:
		return ofNull, msgNUL
	}
	return ofOther, msgPattern
}

// ofFormat takes the messages from the format's own error.
func ofFormat(field string, e *openapi3.SchemaError) []problem {
	var found formatError
	if !errors.As(e.Origin, &found) {
		return []problem{{field, ofOther, msgInvalid}}
	}
	problems := make([]problem, len(found))
	for i, p := range found {
		problems[i] = problem{field, p.rank, p.message}
	}
	return problems
}
