package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/test/need"
)

const (
	unit    = "rollbook.service"
	example = "rollbook.env"
	program = "/usr/local/bin/rollbook"
)

// directives are the values that the unit gives each directive.
func directives(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for line := range strings.Lines(read(t, unit)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			found[name] = append(found[name], value)
		}
	}
	return found
}

func TestUnit(t *testing.T) {
	t.Parallel()
	d := directives(t)
	for name, want := range map[string]string{
		"ExecStart":        program + " serve",
		"User":             "rollbook",
		"EnvironmentFile":  "/etc/rollbook/" + example,
		"StateDirectory":   "rollbook",
		"WorkingDirectory": "%S/rollbook",
		"Restart":          "on-failure",
		// What weighs too little to raise the exposure by a tenth.
		"UMask": "0077", "ProtectSystem": "strict", "MemoryDenyWriteExecute": "yes",
	} {
		if !slices.Equal(d[name], []string{want}) {
			t.Errorf("%s is %q, want %q", name, d[name], want)
		}
	}
	if len(d["Environment"]) > 0 {
		t.Errorf("the environment is in two places: %q", d["Environment"])
	}
	outlasts(t, unit, strings.Join(d["TimeoutStopSec"], "")+"s")
	var descriptors int
	if _, err := fmt.Sscan(strings.Join(d["LimitNOFILE"], ""), &descriptors); err != nil || descriptors < 10_000 {
		t.Errorf("it may open %q, %v", d["LimitNOFILE"], err)
	}
	if d["ProcSubset"] != nil {
		t.Error("without /proc/sys, the queue of connections has 128 places")
	}
}

// maxExposure is ten times what systemd 252 gives the unit, of 100 for a service that may do anything.
const maxExposure = "11"

// systemd knows each directive of the unit, and finds little that it may do.
func TestSystemdTakesTheUnit(t *testing.T) {
	t.Parallel()
	analyze := need.Program(t, "systemd-analyze")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), unit) // with a program that there is, and the credentials that are examples
	text := strings.Replace(read(t, unit), program, self, 1)
	if strings.Count(text, "#LoadCredential=") != 2 {
		t.Error("it shows no credentials")
	}
	text = strings.ReplaceAll(text, "#LoadCredential=", "LoadCredential=")
	if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", copied).CombinedOutput()
	if err != nil || len(out) > 0 { // of what it does not know it only warns
		t.Errorf("%v: %s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--no-pager", "--offline=true", "--threshold="+maxExposure, copied).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// The example sets the proxy's address alone as it stands, and with a line's mark removed sets what docs/operating.md lists, to the default
// where there is one; a shell, which operators read it with, takes the value as systemd does.
func TestExampleOfTheEnvironment(t *testing.T) {
	t.Parallel()
	const proxies = "TRUSTED_PROXIES='127.0.0.1/32,::1/128'\n" // the way in which this deployment has HTTPS
	line := regexp.MustCompile(`^#?([A-Z_]+)='([^'\\]*)'\n$`)
	known := settings(t)
	var script, want strings.Builder
	var variables []string
	atDefault := 0
	for text := range strings.Lines(read(t, example)) {
		if !strings.HasPrefix(text, "#") && text != "\n" && text != proxies {
			t.Errorf("a line is not commented: %s", text)
		}
		set := line.FindStringSubmatch(text)
		if set == nil {
			if strings.Contains(text, "=") {
				t.Errorf("neither words nor a setting: %s", text)
			}
			continue
		}
		variables = append(variables, set[1])
		fmt.Fprintf(&script, "%sprintf '%%s\\n' \"$%s\"\n", strings.TrimPrefix(text, "#"), set[1])
		fmt.Fprintf(&want, "%s\n", set[2])
		if set[2] == known[set[1]] {
			atDefault++
		} else if known[set[1]] != "" && set[1] != "DATABASE_URL" {
			t.Errorf("%s is %q, want its default %q", set[1], set[2], known[set[1]])
		}
	}
	if atDefault < 5 {
		t.Errorf("only %d are at their default", atDefault)
	}
	knownSettings(t, example, variables)
	out, err := exec.CommandContext(t.Context(), need.Program(t, "sh"), "-eu", "-c", script.String()).Output()
	if err != nil || string(out) != want.String() {
		t.Errorf("a shell reads %q, %v; want %q", out, err, want.String())
	}
}
