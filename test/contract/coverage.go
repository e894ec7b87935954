package contract

import (
	"fmt"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

// CoverageVariable names the environment variable with the folder in which tests note what they have exercised.
const CoverageVariable = "CONTRACT_COVERAGE"

// note appends what an answer exercises to this process's file in the folder of CoverageVariable, where there is one.
var note = sync.OnceValue(func() func(string) error {
	folder := os.Getenv(CoverageVariable)
	if folder == "" {
		return func(string) error { return nil }
	}
	file, err := os.OpenFile(filepath.Join(folder, fmt.Sprint(os.Getpid())), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return func(line string) error {
		if err != nil {
			return err
		}
		_, err := file.WriteString(line + "\n") // one write, so that lines stay whole
		return err
	}
})

// exercised returns the lines that an answer adds to the coverage.
func exercised(op *openapi3.Operation, req *http.Request, status int) []string {
	lines := []string{statusLine(op, fmt.Sprint(status))}
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if op.RequestBody == nil || err != nil || op.RequestBody.Value.Content[media] == nil {
		return lines
	}
	switch {
	case status == http.StatusBadRequest:
		lines = append(lines, mediaLine(op, media, "400"))
	case status < http.StatusMultipleChoices:
		lines = append(lines, mediaLine(op, media, "2xx"))
	}
	return lines
}

func statusLine(op *openapi3.Operation, status string) string { return op.OperationID + " " + status }

func mediaLine(op *openapi3.Operation, media, answer string) string {
	return fmt.Sprintf("%s %s %s", op.OperationID, media, answer)
}

// Coverage returns what the contract declares and what of it the notes in a folder do not have: each status of each
// operation, and for each media type of a request one success and one 400. Both are sorted.
func Coverage(folder string) (declared, missing []string, err error) {
	doc, err := load()
	if err != nil {
		return nil, nil, err
	}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for status := range op.Responses.Map() {
				declared = append(declared, statusLine(op, status))
			}
			if op.RequestBody == nil {
				continue
			}
			for media := range op.RequestBody.Value.Content {
				declared = append(declared, mediaLine(op, media, "2xx"), mediaLine(op, media, "400"))
			}
		}
	}
	slices.Sort(declared)
	noted, err := readNotes(folder)
	if err != nil {
		return nil, nil, err
	}
	for _, line := range declared {
		if !noted[line] {
			missing = append(missing, line)
		}
	}
	return declared, missing, nil
}

func readNotes(folder string) (map[string]bool, error) {
	noted := map[string]bool{}
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			noted[strings.TrimSuffix(line, "\n")] = true
		}
	}
	return noted, nil
}
