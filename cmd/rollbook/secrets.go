package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

const (
	secretTag     = "secret" // marks a flag whose value may be in a file, which the flag of the same name with -file names
	fileSuffix    = "-file"
	maxSecretFile = 64 << 10 // bytes
)

// secretFiles reads the values of secret flags from files: from the one that is named, or from a credential of systemd.
type secretFiles struct {
	read []string // the files that were read
}

// Validate refuses a secret flag without a flag for its file.
func (s *secretFiles) Validate(app *kong.Application) error {
	return kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Node); ok {
			for _, flag := range n.Flags {
				if flag.Tag.Has(secretTag) && fileFlag(n.Flags, flag) == nil {
					return fmt.Errorf("--%s has no --%s%s", flag.Name, flag.Name, fileSuffix)
				}
			}
		}
		return next(nil)
	})
}

func fileFlag(flags []*kong.Flag, secret *kong.Flag) *kong.Flag {
	at := slices.IndexFunc(flags, func(f *kong.Flag) bool { return f.Name == secret.Name+fileSuffix })
	if at < 0 {
		return nil
	}
	return flags[at]
}

// Resolve returns the secret of a flag that is not on the command line, where a file holds it.
func (s *secretFiles) Resolve(ctx *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if !flag.Tag.Has(secretTag) {
		return nil, nil //nolint:nilnil // how kong is told that there is no value
	}
	variable, named := flag.Envs[0], fileFlag(parent.Flags, flag)
	path, _ := ctx.FlagValue(named).(string)
	source := named.Envs[0]
	if path == "" {
		name := strings.ToLower(strings.ReplaceAll(variable, "_", "-"))
		path, source = credential(name), "the systemd credential "+name
	}
	if path == "" {
		return nil, nil //nolint:nilnil // as above
	}
	if os.Getenv(variable) != "" && !onCommandLine(ctx, named) {
		return nil, fmt.Errorf("%s and %s are both set, and only one may be", variable, source)
	}
	secret, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	s.read = append(s.read, path)
	return secret, nil
}

// onCommandLine reports whether a flag was given there.
func onCommandLine(ctx *kong.Context, flag *kong.Flag) bool {
	return slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool { return p.Flag == flag && !p.Resolved })
}

// checkTwice refuses a command line that gives a secret and the file of it.
func checkTwice(ctx *kong.Context) error {
	for _, path := range ctx.Path {
		for _, flag := range path.Flags {
			if flag.Tag.Has(secretTag) && onCommandLine(ctx, flag) && onCommandLine(ctx, fileFlag(path.Flags, flag)) {
				return fmt.Errorf("--%s and --%s%s are both given, and only one may be", flag.Name, flag.Name, fileSuffix)
			}
		}
	}
	return nil
}

// credential is the path of a credential that systemd passed (LoadCredential=), and empty without one.
func credential(name string) string {
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	if folder == "" {
		return ""
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil { //nolint:gosec // systemd names it
		return ""
	}
	return path
}

// readSecret reads a file of one line. No error holds any of it.
func readSecret(path string) (string, error) {
	content, err := readBounded(path, maxSecretFile)
	if err != nil {
		return "", err
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	switch {
	case line == "":
		err = errors.New("the file is empty")
	case strings.ContainsAny(line, "\r\n"):
		err = errors.New("the file has more than one line")
	case !utf8.ValidString(line) || strings.ContainsRune(line, 0):
		err = errors.New("the file is not text in UTF-8")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return line, nil
}
