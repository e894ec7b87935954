// Package deploy holds what Rollbook is installed with, and the checks of it.
package deploy

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/rollbook/rollbook/server"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readYAML reads a file of which every key must be one of into's.
func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Load([]byte(read(t, path)), into, yaml.WithKnownFields()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// settings are the variables that docs/operating.md lists, with their defaults; a test of cmd/rollbook holds that table.
func settings(t *testing.T) map[string]string {
	t.Helper()
	rows := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| `--[a-z-]+` \\| `?(.*?)`? \\|").FindAllStringSubmatch(read(t, "../docs/operating.md"), -1)
	found := map[string]string{}
	for _, row := range rows {
		found[row[1]] = row[2]
	}
	if len(found) < 20 {
		t.Fatalf("only these settings are known: %v", found)
	}
	return found
}

// knownSettings fails the test where a variable is none of Rollbook's.
func knownSettings(t *testing.T, file string, variables []string) {
	t.Helper()
	known := settings(t)
	if len(variables) == 0 {
		t.Errorf("%s sets nothing", file)
	}
	for _, name := range variables {
		if _, ok := known[name]; !ok {
			t.Errorf("%s sets %s, which is no setting", file, name)
		}
	}
}

// outlasts fails the test where the server would be killed with requests under way.
func outlasts(t *testing.T, file, grace string) {
	t.Helper()
	const delay, flush, more = 5 * time.Second, 5 * time.Second, 5 * time.Second // SHUTDOWN_DELAY, the last traces, and some
	want := server.DefaultTimeouts.Shutdown + delay + flush + more
	d, err := time.ParseDuration(grace)
	if err != nil || d < want {
		t.Errorf("%s gives it %q to end, %v; want %s", file, grace, err, want)
	}
}

// instructions are the lines of the Dockerfile that begin with a word, without it.
func instructions(t *testing.T, word string) (found []string) {
	t.Helper()
	for line := range strings.Lines(read(t, "Dockerfile")) {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			found = append(found, strings.TrimSpace(rest))
		}
	}
	if len(found) == 0 {
		t.Fatalf("the Dockerfile has no %s", word)
	}
	return found
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	user := instructions(t, "USER")
	if last := user[len(user)-1]; !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(last) { // as a number, which orchestrators can check
		t.Errorf("it runs as %q", last)
	}
	from := instructions(t, "FROM")
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)\.\d+$`).FindStringSubmatch(read(t, "../go.mod"))
	if len(from) != 2 || !regexp.MustCompile(`^golang:`+regexp.QuoteMeta(goVersion[1])+`\.\d+-\w+ AS build$`).MatchString(from[0]) {
		t.Errorf("it is built from %q; go.mod has %s", from, goVersion[1])
	}
	if !slices.Contains(instructions(t, "EXPOSE"), "8000") || !slices.Contains(instructions(t, "ENV"), "ADDR=0.0.0.0:8000") {
		t.Error("it does not serve on its port 8000")
	}
	for _, name := range []string{"VERSION", "COMMIT"} {
		if !slices.ContainsFunc(instructions(t, "ARG"), func(arg string) bool { return strings.HasPrefix(arg, name+"=") }) ||
			!strings.Contains(strings.Join(instructions(t, "RUN"), "\n"), name+`="$`+name+`"`) {
			t.Errorf("%s does not reach make", name)
		}
	}
	var variables []string
	for _, env := range instructions(t, "ENV") {
		name, _, _ := strings.Cut(env, "=")
		variables = append(variables, name)
	}
	knownSettings(t, "Dockerfile", variables)
}

type compose struct {
	Name     string
	Services map[string]service
	Volumes  map[string]any
	Networks map[string]struct {
		IPAM struct {
			Config []struct{ Subnet, Gateway string }
		}
	}
}

type service struct {
	Build struct {
		Context, Dockerfile string
		Args                map[string]string
	}
	Image       string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
	Restart         string
	StopGracePeriod string   `yaml:"stop_grace_period"`
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
}

func TestCompose(t *testing.T) {
	t.Parallel()
	var file compose
	readYAML(t, "compose.yaml", &file)
	rollbook, postgres := file.Services["rollbook"], file.Services["postgres"]
	if len(file.Services) != 2 || rollbook.Build.Context != ".." || rollbook.Build.Dockerfile != "deploy/Dockerfile" || len(rollbook.Build.Args) != 2 {
		t.Errorf("it runs %v", file.Services)
	}
	var variables []string
	for name := range rollbook.Environment {
		variables = append(variables, name)
	}
	knownSettings(t, "compose.yaml", variables)
	if nets := file.Networks["default"].IPAM.Config; len(nets) != 1 || rollbook.Environment["TRUSTED_PROXIES"] != nets[0].Gateway+"/32" {
		t.Errorf("all clients have the address of the gateway: it trusts %q, of %v", rollbook.Environment["TRUSTED_PROXIES"], nets)
	}
	const secret = "${POSTGRES_PASSWORD:?"
	if !strings.HasPrefix(postgres.Environment["POSTGRES_PASSWORD"], secret) ||
		!strings.HasPrefix(rollbook.Environment["DATABASE_URL"], "postgres://rollbook:"+secret) {
		t.Error("a password is not one that must be given")
	}
	if !slices.Equal(rollbook.Ports, []string{"127.0.0.1:8000:8000"}) || len(postgres.Ports) > 0 {
		t.Errorf("it can be reached at %v and %v", rollbook.Ports, postgres.Ports)
	}
	if !rollbook.ReadOnly || !slices.Equal(rollbook.CapDrop, []string{"ALL"}) {
		t.Error("the container may do more than it needs")
	}
	for name, s := range file.Services {
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Restart != "unless-stopped" {
			t.Errorf("%s may gain privileges, or does not start again", name)
		}
	}
	if rollbook.DependsOn["postgres"].Condition != "service_healthy" || !slices.Contains(postgres.Healthcheck.Test, "pg_isready") {
		t.Error("it does not wait for the database")
	}
	if !regexp.MustCompile(`^postgres:17\.\d+-\w+$`).MatchString(postgres.Image) {
		t.Errorf("the database is %s", postgres.Image)
	}
	if volume, _, _ := strings.Cut(strings.Join(postgres.Volumes, ""), ":"); !hasKey(file.Volumes, volume) {
		t.Errorf("the database is in %v", postgres.Volumes)
	}
	outlasts(t, "compose.yaml", rollbook.StopGracePeriod)
}

func hasKey(m map[string]any, key string) bool {
	_, ok := m[key]
	return ok
}
