package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// pairFor makes a certificate for this machine that signs itself, and its key.
func pairFor(t *testing.T, name string, changes ...func(*x509.Certificate)) keyFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	for _, change := range changes {
		change(template)
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keyFiles{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	}
}

func expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writePair writes a key pair into a folder.
func writePair(t *testing.T, folder string, pair keyFiles) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	writeFile(t, cert, pair.cert)
	writeFile(t, key, pair.key)
	return cert, key
}

// presented is the name in the certificate that a new connection is shown.
func presented(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// A renewed certificate is served without a restart; connections that are open go on.
func TestCertificateIsReloaded(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	first := pairFor(t, "first")
	cert, key := writePair(t, folder, first)
	p := process{testserver.Run(t, program(t, []string{
		"ADDR=127.0.0.1:0", "DATABASE_URL=" + testdb.SQLite(t), "TLS_CERT_FILE=" + cert, "TLS_KEY_FILE=" + key,
	}, "serve"))}
	address, ok := strings.CutPrefix(p.URL, "https://")
	if !ok {
		t.Fatalf("it serves %s", p.URL)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(first.cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	ask := func() {
		t.Helper()
		resp, err := client.Get(p.URL + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // it was read
		if resp.StatusCode != 200 || resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s %s %v", resp.Proto, resp.Status, resp.Header)
		}
	}
	ask()
	writePair(t, folder, pairFor(t, "second"))
	waitForLog(t, p, "certificate reloaded")
	if got := presented(t, address); got != "second" {
		t.Errorf("it presents %s", got)
	}
	ask() // over the connection of before: a new one would not trust the second certificate
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.Log)
	}
}

// What cannot be served leaves the current certificate in place and is logged once; half-written files are waited for.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	first, second := pairFor(t, "first"), pairFor(t, "second")
	read := func(c *certificate) string { return c.current.Load().Leaf.Subject.CommonName }
	for name, test := range map[string]struct {
		change func(t *testing.T, folder string)
		served string
		lines  int // of the log, after several reads
		logged string
	}{
		"nothing":       {func(*testing.T, string) {}, "first", 0, ""},
		"renewed":       {func(t *testing.T, f string) { writePair(t, f, second) }, "second", 1, "reloaded"},
		"another pair":  {func(t *testing.T, f string) { writeFile(t, filepath.Join(f, "tls.crt"), second.cert) }, "first", 1, "does not match"},
		"half a file":   {func(t *testing.T, f string) { writeFile(t, filepath.Join(f, "tls.key"), first.key[:40]) }, "first", 1, "cannot be used"},
		"an empty file": {func(t *testing.T, f string) { writeFile(t, filepath.Join(f, "tls.crt"), nil) }, "first", 1, "cannot be used"},
		"no file":       {func(t *testing.T, f string) { remove(t, filepath.Join(f, "tls.key")) }, "first", 1, "no such file"},
		"a huge file": {func(t *testing.T, f string) {
			writeFile(t, filepath.Join(f, "tls.key"), make([]byte, maxCertificateFile+1))
		}, "first", 1, "too large"},
		"an expired one":  {func(t *testing.T, f string) { writePair(t, f, pairFor(t, "old", expired)) }, "first", 1, "expired at"},
		"one of tomorrow": {func(t *testing.T, f string) { writePair(t, f, pairFor(t, "new", tomorrow)) }, "first", 1, "valid only from"},
		"the same again":  {func(t *testing.T, f string) { writePair(t, f, first) }, "first", 0, ""},
		"a certificate CA": {func(t *testing.T, f string) {
			writeFile(t, filepath.Join(f, "tls.crt"), append(first.cert, second.cert...))
		}, "first", 1, "reloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			folder := t.TempDir()
			cert, key := writePair(t, folder, first)
			c, err := openCertificate(cert, key, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			test.change(t, folder)
			c.reload()
			if got := read(c); got != "first" {
				t.Errorf("it serves %s before it has read the files twice", got)
			}
			for range 5 {
				c.reload()
			}
			if got := read(c); got != test.served || strings.Count(log.String(), "\n") != test.lines || !strings.Contains(log.String(), test.logged) {
				t.Errorf("it serves %s and logs %q", got, log.String())
			}
			writePair(t, folder, second) // and is not stuck
			for range 2 {
				c.reload()
			}
			if got := read(c); got != "second" {
				t.Errorf("afterwards it serves %s", got)
			}
		})
	}
}

func tomorrow(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// certbot and Kubernetes renew by pointing a symbolic link at another folder.
func TestCertificateBehindALink(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	link := filepath.Join(root, "live")
	point := func(to string) {
		t.Helper()
		folder := filepath.Join(root, to)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		writePair(t, folder, pairFor(t, to))
		if err := os.Symlink(folder, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	point("first")
	c, err := openCertificate(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	point("second")
	c.reload()
	c.reload()
	if got := c.current.Load().Leaf.Subject.CommonName; got != "second" {
		t.Errorf("it serves %s", got)
	}
}

// What cannot be served at the start is one clear line; an expired certificate is a warning.
func TestCertificateAtTheStart(t *testing.T) {
	t.Parallel()
	folder, other := t.TempDir(), t.TempDir()
	cert, key := writePair(t, folder, pairFor(t, "first"))
	_, otherKey := writePair(t, other, pairFor(t, "second"))
	for want, env := range map[string][]string{
		"belong together":           {"TLS_CERT_FILE=" + cert},
		"--tls-key-file belong":     {"TLS_KEY_FILE=" + key},
		"no such file or directory": {"TLS_CERT_FILE=" + cert, "TLS_KEY_FILE=/no/such/key"},
		"does not match":            {"TLS_CERT_FILE=" + cert, "TLS_KEY_FILE=" + otherKey},
		"failed to find":            {"TLS_CERT_FILE=" + key, "TLS_KEY_FILE=" + key},
	} {
		_, stderr, code := invokeWith(t, append(env, "ADDR=127.0.0.1:0", "DATABASE_URL="+testdb.SQLite(t)), "", "serve")
		if code != 1 || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "PRIVATE") {
			t.Errorf("%v: %d %q, want %q", env, code, stderr, want)
		}
	}
	cert, key = writePair(t, other, pairFor(t, "old", expired))
	p := start(t, testdb.SQLite(t), "TLS_CERT_FILE="+cert, "TLS_KEY_FILE="+key)
	waitForLog(t, p, "clients will refuse the certificate")
	if got := presented(t, strings.TrimPrefix(p.URL, "https://")); got != "old" {
		t.Errorf("it presents %s", got)
	}
}
