package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/rollbook/rollbook/test/testdb"
)

// secretIn writes a file of mode 0600 and returns its path.
func secretIn(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	writeFile(t, path, []byte(content))
	return path
}

func TestSecretsInFiles(t *testing.T) {
	t.Parallel()
	address := testdb.SQLite(t)
	must(t, address, "", "user", "create", "richard", "--no-password")
	credentials := t.TempDir()
	writeFile(t, filepath.Join(credentials, "database-url"), []byte(address+"\n"))
	for name, test := range map[string]struct {
		env  []string
		args []string
	}{
		"a variable":                      {[]string{"DATABASE_URL_FILE=" + secretIn(t, address)}, nil},
		"a flag":                          {nil, []string{"--database-url-file=" + secretIn(t, address+"\n")}},
		"with the line end of Windows":    {[]string{"DATABASE_URL_FILE=" + secretIn(t, address+"\r\n")}, nil},
		"beside an empty variable":        {[]string{"DATABASE_URL=", "DATABASE_URL_FILE=" + secretIn(t, address)}, nil},
		"a flag before the variable":      {[]string{"DATABASE_URL=postgres://no"}, []string{"--database-url-file=" + secretIn(t, address)}},
		"the flag of the secret before":   {[]string{"DATABASE_URL_FILE=/no/such/file"}, []string{"--database-url=" + address}},
		"a credential of systemd":         {[]string{"CREDENTIALS_DIRECTORY=" + credentials}, nil},
		"a credential, named":             {[]string{"CREDENTIALS_DIRECTORY=" + credentials, "DATABASE_URL_FILE=" + credentials + "/database-url"}, nil},
		"credentials of others":           {[]string{"CREDENTIALS_DIRECTORY=" + t.TempDir(), "DATABASE_URL=" + address}, nil},
		"an empty variable for the file":  {[]string{"DATABASE_URL_FILE=", "DATABASE_URL=" + address}, nil},
		"a flag before a credential, too": {[]string{"CREDENTIALS_DIRECTORY=" + credentials}, []string{"--database-url=" + address}},
	} {
		stdout, stderr, code := invokeWith(t, test.env, "", append([]string{"user", "list"}, test.args...)...)
		if code != 0 || !strings.Contains(stdout, "richard") || stderr != "" {
			t.Errorf("%s: %d %q %q", name, code, stdout, stderr)
		}
	}
}

// What no secret can be read from is one clear line that holds nothing of the file.
func TestSecretsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	const secret = "postgres://u:hunter2@127.0.0.1:1/d"
	credentials := t.TempDir()
	writeFile(t, filepath.Join(credentials, "database-url"), []byte(secret))
	for name, test := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"both":              {[]string{"DATABASE_URL=" + secret, "DATABASE_URL_FILE=" + secretIn(t, secret)}, nil, "DATABASE_URL and DATABASE_URL_FILE are both set"},
		"both flags":        {nil, []string{"--database-url=" + secret, "--database-url-file=" + secretIn(t, secret)}, "--database-url and --database-url-file are both given"},
		"with a credential": {[]string{"DATABASE_URL=" + secret, "CREDENTIALS_DIRECTORY=" + credentials}, nil, "DATABASE_URL and the systemd credential database-url are both set"},
		"no file":           {[]string{"DATABASE_URL_FILE=/no/such/file"}, nil, "DATABASE_URL_FILE: open /no/such/file: no such file or directory"},
		"a folder":          {[]string{"DATABASE_URL_FILE=" + t.TempDir()}, nil, "is a directory"},
		"empty":             {[]string{"DATABASE_URL_FILE=" + secretIn(t, "")}, nil, "the file is empty"},
		"an empty line":     {[]string{"DATABASE_URL_FILE=" + secretIn(t, "\n")}, nil, "the file is empty"},
		"two lines":         {[]string{"DATABASE_URL_FILE=" + secretIn(t, secret+"\n"+secret+"\n")}, nil, "more than one line"},
		"two line ends":     {[]string{"DATABASE_URL_FILE=" + secretIn(t, secret+"\n\n")}, nil, "more than one line"},
		"no text":           {[]string{"DATABASE_URL_FILE=" + secretIn(t, secret+"\xff")}, nil, "not text in UTF-8"},
		"too large":         {[]string{"DATABASE_URL_FILE=" + secretIn(t, strings.Repeat(secret, 3000))}, nil, "too large"},
		"endless":           {[]string{"DATABASE_URL_FILE=/dev/zero"}, nil, "too large"},
		"no database":       {[]string{"DATABASE_URL_FILE=" + secretIn(t, "hunter2")}, nil, "must begin with postgres://"},
		"another secret":    {[]string{"LDAP_BIND_PASSWORD=hunter2", "LDAP_BIND_PASSWORD_FILE=" + secretIn(t, secret)}, nil, "LDAP_BIND_PASSWORD and LDAP_BIND_PASSWORD_FILE are both set"},
	} {
		_, stderr, code := invokeWith(t, test.env, "", append([]string{"serve"}, test.args...)...)
		if code != 1 || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: %d %q, want %q", name, code, stderr, test.want)
		}
	}
}

// Every flag that may hold a password or a token can be given as a file.
func TestEverySecretHasAFile(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&cli{}, kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	suspect := regexp.MustCompile(`PASSWORD@|^PASSWORD$|^TOKEN$|SECRET|KEY$`)
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if n, ok := node.(*kong.Node); ok {
			for _, f := range n.Flags {
				if f.Tag.Has(secretTag) {
					found[f.Envs[0]] = true
					if file := fileFlag(n.Flags, f); file == nil || file.Envs[0] != f.Envs[0]+"_FILE" {
						t.Errorf("--%s has no file", f.Name)
					}
				} else if suspect.MatchString(f.PlaceHolder) || suspect.MatchString(f.Help) {
					t.Errorf("--%s looks like a secret and has no file", f.Name)
				}
			}
		}
		return next(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"DATABASE_URL", "LDAP_BIND_PASSWORD", "TO_DATABASE_URL", "DJANGO_DATABASE_URL", "COMPARE_TOKEN"} {
		if !found[name] {
			t.Errorf("%s cannot be in a file", name)
		}
	}
}

// The other secrets come from files by the same way, also where the flag is required.
func TestSecretsOfOtherCommands(t *testing.T) {
	t.Parallel()
	from, to := testdb.SQLite(t), "sqlite:"+filepath.Join(t.TempDir(), "copy.db")
	must(t, from, "", "user", "create", "richard", "--no-password")
	if _, stderr, code := invokeWith(t, []string{"DATABASE_URL_FILE=" + secretIn(t, from), "TO_DATABASE_URL_FILE=" + secretIn(t, to)}, "", "copy"); code != 0 {
		t.Fatalf("copy: %d %s", code, stderr)
	}
	if out := must(t, to, "", "user", "list"); !strings.Contains(out, "richard") {
		t.Errorf("the copy has %s", out)
	}
	missing := "DJANGO_DATABASE_URL_FILE=" + secretIn(t, "sqlite:/no/such/django.db")
	if _, stderr, code := invokeWith(t, []string{"DATABASE_URL=" + from, missing}, "", "import", "django"); code != 1 || !strings.Contains(stderr, "/no/such/django.db") {
		t.Errorf("import: %d %s", code, stderr)
	}
	for variable, path := range map[string]string{"LDAP_BIND_PASSWORD": secretIn(t, "x\n"), "": ""} { // the DN needs the password
		_, stderr, code := invokeWith(t, []string{"DATABASE_URL=" + from, "LDAP_URL=ldap://127.0.0.1:1", "LDAP_BASE=dc=x", "LDAP_BIND_DN=cn=x", variable + "_FILE=" + path}, "", "directory", "sync")
		if belongs := strings.Contains(stderr, "belong together"); code != 1 || belongs == (variable != "") {
			t.Errorf("%s: %d %s", variable, code, stderr)
		}
	}
}

// A database, key or secret that other users can read or write is warned of, once and by its name.
func TestExposedFilesAreNamed(t *testing.T) {
	t.Parallel()
	const warning = "other users of this machine can read or write the "
	for _, test := range []struct {
		mode             os.FileMode
		database, secret bool // warned of
	}{
		{0o600, false, false}, {0o400, false, false}, {0o700, false, false}, {0o640, true, false}, {0o620, true, false}, {0o644, true, true},
		{0o604, true, true}, {0o602, true, true}, {0o666, true, true},
	} {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			address := testdb.SQLite(t)
			must(t, address, "", "migrate")
			path := strings.TrimPrefix(address, "sqlite:") + suffix
			if suffix != "" {
				writeFile(t, path, nil)
			}
			if err := os.Chmod(path, test.mode); err != nil {
				t.Fatal(err)
			}
			_, stderr, code := invoke(t, address, "", "user", "list")
			warned := strings.Count(stderr, warning+"database") == 1 && strings.Contains(stderr, "chmod 600 "+path)
			if code != 0 || warned != test.database || !warned && stderr != "" {
				t.Errorf("%s of %o: %d %q", suffix, test.mode, code, stderr)
			}
		}
		address := testdb.SQLite(t)
		secret := secretIn(t, address)
		if err := os.Chmod(secret, test.mode); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := invokeWith(t, []string{"DATABASE_URL_FILE=" + secret}, "", "user", "list")
		if warned := strings.Contains(stderr, warning+"file of a secret") && strings.Contains(stderr, secret); code != 0 || warned != test.secret {
			t.Errorf("a secret of %o: %d %q", test.mode, code, stderr)
		}
	}
	cert, key := writePair(t, t.TempDir(), pairFor(t, "first"))
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, testdb.SQLite(t), "TLS_CERT_FILE="+cert, "TLS_KEY_FILE="+key)
	waitForLog(t, p, warning+"key of the certificate")
	exposed, to := testdb.SQLite(t), "sqlite:"+filepath.Join(t.TempDir(), "to.db")
	must(t, to, "", "migrate")
	if err := os.Chmod(strings.TrimPrefix(to, "sqlite:"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, _ := invoke(t, exposed, "", "copy", "--to="+to); !strings.Contains(stderr, warning+"database") {
		t.Errorf("copy does not warn of the database that it copies to: %s", stderr)
	}
}
