//go:build tools

package rollbook

// The generator of gen/, pinned by go.mod.
import _ "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen"
