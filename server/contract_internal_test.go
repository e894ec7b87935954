package server

import (
	"strings"
	"testing"

	rollbook "github.com/rollbook/rollbook"
)

// The guard checks no parameters but these: a contract with others is refused before it is served.
func TestParametersAreIDsInThePath(t *testing.T) {
	text := string(rollbook.OpenAPI)
	for name, change := range map[string]*strings.Replacer{
		"in the query":          strings.NewReplacer("in: path\n        required: true", "in: query\n        required: true"),
		"of another format":     strings.NewReplacer("format: uuid\n        example", "format: date\n        example"),
		"of who calls unsigned": strings.NewReplacer("operationId: revokeToken", "security: []\n      operationId: revokeToken"),
	} {
		t.Run(name, func(t *testing.T) {
			changed := change.Replace(text)
			if changed == text {
				t.Fatal("the contract has changed: nothing was replaced")
			}
			if _, err := loadContract([]byte(changed)); err == nil || !strings.Contains(err.Error(), "only ids in the path") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := loadContract(rollbook.OpenAPI); err != nil {
		t.Error(err)
	}
}
