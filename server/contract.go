package server

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// The extensions that openapi.yaml uses, and what they may say.
const (
	extAccess       = "x-access"
	extNormalize    = "x-normalize"
	extMaxBodyBytes = "x-max-body-bytes"
	extPolicy       = "x-policy"
	accessOwner     = "owner"
	accessRegister  = "registration"
	normalizeNFKC   = "NFKC"
	policyPassword  = "password"
)

// contract is openapi.yaml, made ready to be enforced.
type contract struct {
	doc        *openapi3.T
	operations map[string]*operation // by key
}

// schemaOptions are how values are held against their schemas.
var schemaOptions = []openapi3.SchemaValidationOption{
	openapi3.WithStringFormatValidators(formats),
	openapi3.DisableSchemaErrorDetails(), // they would hold the value
	openapi3.MultiErrors(),
	openapi3.VisitAsRequest(),
}

// operation is what the contract says of one operation, as the guard asks it.
type operation struct {
	id, method, path string // as the contract has them

	open      bool             // nobody needs to be signed in
	owner     bool             // only the owner of the account {id} may call it
	registers bool             // only while registration is open
	body      *openapi3.Schema // nil where there is none
	fields    []textField      // of the body
	maxBytes  int64            // of the body
}

// key names an operation: its method and its path as Echo spells it.
func key(method, echoPath string) string { return method + " " + echoPath }

// echoPath spells a path of the contract as Echo does: /users/{id}/ is /users/:id/.
func echoPath(path string) string { return strings.NewReplacer("{", ":", "}", "").Replace(path) }

func loadContract(text []byte) (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	c := &contract{doc: doc, operations: map[string]*operation{}}
	var maxBytes int64
	if err := readExtension(doc.Extensions, extMaxBodyBytes, &maxBytes); err != nil {
		return nil, err
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o, err := c.operation(path, item, method, op)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			o.maxBytes = maxBytes
			c.operations[key(method, echoPath(path))] = o
		}
	}
	return c, nil
}

func (c *contract) operation(path string, item *openapi3.PathItem, method string, op *openapi3.Operation) (*operation, error) {
	security := c.doc.Security
	if op.Security != nil {
		security = *op.Security
	}
	o := &operation{id: op.OperationID, method: method, path: path, open: len(security) == 0}
	for _, p := range slices.Concat(item.Parameters, op.Parameters) {
		if p.Value.In != openapi3.ParameterInPath || p.Value.Schema.Value.Format != formatUUID || o.open {
			return nil, fmt.Errorf("the parameter %s: only ids in the path, of who is signed in, are known", p.Value.Name)
		}
	}
	var access string
	if err := readExtension(op.Extensions, extAccess, &access); err != nil {
		return nil, err
	}
	o.owner, o.registers = access == accessOwner, access == accessRegister
	if access != "" && !o.owner && !o.registers {
		return nil, fmt.Errorf("%s: %q is not known", extAccess, access)
	}
	if o.owner && (o.open || item.Parameters.GetByInAndName(openapi3.ParameterInPath, paramID) == nil) {
		return nil, fmt.Errorf("%s: %s needs security and the parameter %s", extAccess, access, paramID)
	}
	if op.RequestBody != nil {
		media := op.RequestBody.Value.Content.Get(mediaJSON)
		if media == nil || media.Schema == nil {
			return nil, fmt.Errorf("the body has no schema as %s", mediaJSON)
		}
		o.body = media.Schema.Value
		for name, property := range media.Schema.Value.Properties {
			field, err := fieldOf(name, property.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			o.fields = append(o.fields, field)
		}
	}
	return o, nil
}

// violations are what the contract has against the fields of a body. What problems are known of already is left out of
// the fields, but not missing.
func (op *operation) violations(fields map[string]any, known []problem) ([]problem, error) {
	found, err := problemsOf(op.body.VisitJSON(fields, schemaOptions...))
	return slices.DeleteFunc(found, func(p problem) bool {
		_, checked := fields[p.field]
		return !checked && slices.ContainsFunc(known, func(k problem) bool { return k.field == p.field })
	}), err
}

func fieldOf(name string, schema *openapi3.Schema) (textField, error) {
	if !schema.Type.Is(openapi3.TypeString) {
		return textField{}, fmt.Errorf("a body's fields are texts, not %v", schema.Type)
	}
	normalize, err := has(schema.Extensions, extNormalize, normalizeNFKC)
	if err != nil {
		return textField{}, err
	}
	policy, err := has(schema.Extensions, extPolicy, policyPassword)
	if err != nil {
		return textField{}, err
	}
	field := textField{name: name, trim: schema.Format != formatPassword, normalize: normalize, policy: policy}
	switch {
	case schema.MaxLength != nil:
		field.maxLength = int(*schema.MaxLength) //nolint:gosec // a contract with such a length is ours
	case schema.Format == formatEmail:
		field.maxLength = maxEmail
	}
	return field, nil
}

// has tells whether there is an extension that may say one thing only.
func has(extensions map[string]any, name, only string) (bool, error) {
	var said string
	if err := readExtension(extensions, name, &said); err != nil {
		return false, err
	}
	if said != "" && said != only {
		return false, fmt.Errorf("%s: %q is not known", name, said)
	}
	return said == only, nil
}

// readExtension reads an extension into a value, and leaves the value alone where there is none of that name.
func readExtension(extensions map[string]any, name string, into any) error {
	value, ok := extensions[name]
	if !ok {
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
