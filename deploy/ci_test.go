package deploy

import (
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type workflow struct {
	Name        string
	On          []string
	Permissions map[string]string
	Jobs        map[string]struct {
		If        string
		Needs     string
		RunsOn    string `yaml:"runs-on"`
		Container struct{ Image, Options string }
		Steps     []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

// That the workflow is one is shown by `make deploy-lint`.
func TestWorkflow(t *testing.T) {
	t.Parallel()
	var w workflow
	readYAML(t, "../.github/workflows/ci.yaml", &w)
	if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
		t.Errorf("it may %v", w.Permissions)
	}
	if !slices.Equal(w.On, []string{"push", "pull_request"}) {
		t.Errorf("it runs on %v", w.On)
	}
	runs := map[string]bool{}
	for name, job := range w.Jobs {
		for _, step := range job.Steps {
			runs[name+": "+step.Run] = true
			if step.Uses != "" && !regexp.MustCompile(`^actions/[a-z-]+@v\d+$`).MatchString(step.Uses) {
				t.Errorf("it uses %s", step.Uses)
			}
		}
	}
	if !runs["check: bash .ci/run"] || !runs[`release: make release VERSION="$GITHUB_REF_NAME"`] {
		t.Errorf("it runs %v", runs)
	}
	if release := w.Jobs["release"]; release.If != "startsWith(github.ref, 'refs/tags/v')" || release.Needs != "check" {
		t.Errorf("it releases if %s, after %s", release.If, release.Needs)
	}
	check := w.Jobs["check"].Container
	if !strings.HasPrefix(instructions(t, "FROM")[0], check.Image+" ") {
		t.Errorf("it checks with %s, and the Dockerfile builds with another", check.Image)
	}
	if !strings.Contains(check.Options, "--cap-add SYS_ADMIN") {
		t.Errorf("the test of a full disk cannot mount one with %q", check.Options)
	}
}

// ignored tells whether .dockerignore keeps a file out of the image's build. Its patterns are paths and **/names.
func ignored(t *testing.T, file string) bool {
	t.Helper()
	for pattern := range strings.Lines(read(t, "../.dockerignore")) {
		pattern = strings.TrimPrefix(strings.TrimSpace(pattern), "/")
		if pattern == "" || strings.HasPrefix(pattern, "#") {
			continue
		}
		name, anywhere := strings.CutPrefix(pattern, "**/")
		for part := file; part != "."; part = path.Dir(part) { // the file, and the folders that it is in
			matched, err := path.Match(name, part)
			if anywhere {
				matched, err = path.Match(name, path.Base(part))
			}
			if err != nil {
				t.Fatal(err)
			}
			if matched {
				return true
			}
		}
	}
	return false
}

// The image is built from all that the program is made of, and without what may hold secrets.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		`{{if not .Standard}}{{$p := .ImportPath}}{{range .GoFiles}}{{$p}}/{{.}}{{"\n"}}{{end}}{{range .EmbedFiles}}{{$p}}/{{.}}{{"\n"}}{{end}}{{end}}`,
		"../cmd/rollbook")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	needed := []string{"Makefile", "go.mod", "go.sum"}
	for line := range strings.Lines(string(out)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "github.com/rollbook/rollbook/"); ok {
			needed = append(needed, own)
		}
	}
	if !slices.Contains(needed, "cmd/rollbook/main.go") || !slices.Contains(needed, "openapi.yaml") {
		t.Fatalf("this is not all that it needs: %v", needed)
	}
	for _, file := range needed {
		if ignored(t, file) {
			t.Errorf("the image is built without %s", file)
		}
	}
	for _, file := range []string{".git/config", "deploy/.env", ".env", "rollbook.db", "rollbook.db-wal", "x/students.report.csv", "test/node_modules/x", "rollbook"} {
		if !ignored(t, file) {
			t.Errorf("the image is built from %s", file)
		}
	}
}
