// Package rollbook holds the contract of the Rollbook API.
package rollbook

import _ "embed"

// OpenAPI is openapi.yaml as written.
//
//go:embed openapi.yaml
var OpenAPI []byte
