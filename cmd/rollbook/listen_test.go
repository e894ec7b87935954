package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// startAnywhere runs `rollbook serve` on all addresses.
func startAnywhere(t *testing.T, env ...string) process {
	t.Helper()
	return process{testserver.Run(t, program(t, append(env, "ADDR=0.0.0.0:0", "DATABASE_URL="+testdb.SQLite(t)), "serve"))}
}

// waitForLog waits until the log, which arrives after what the process prints, holds a text.
func waitForLog(t *testing.T, p process, want string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(p.Log.String(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log has no %q: %s", want, p.Log)
		}
	}
}

// Every spelling of an address that other machines can reach is refused, before anything listens there.
func TestPlainHTTPIsRefused(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		":0", "0.0.0.0:0", "[::]:0", "[::0]:0", "[::ffff:0.0.0.0]:0", "0:0", "192.0.2.1:0", "[2001:db8::1]:0", "[::ffff:192.0.2.1]:0",
		"[fe80::1%1]:0", "169.254.0.1:0", "10.0.0.1:0", "128.0.0.1:0",
	} {
		listener, err := listen(t.Context(), address, false)
		if err == nil {
			_ = listener.Close()
		}
		if !errors.Is(err, errPlainHTTP) {
			if _, ok := errors.AsType[*net.DNSError](err); ok || strings.Contains(fmt.Sprint(err), "address family not supported") {
				continue // no such name, or no IPv6, on this machine
			}
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "127.0.0.2:0", "127.255.255.254:0", "localhost:0", "[::1]:0", "[::ffff:127.0.0.1]:0"} {
		listener, err := listen(t.Context(), address, false)
		if err == nil {
			if at := netip.MustParseAddrPort(listener.Addr().String()); !at.Addr().Unmap().IsLoopback() {
				t.Errorf("%s: it listens on %s", address, at)
			}
			_ = listener.Close()
		} else if address != "[::1]:0" { // which a machine may not have
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The message of the refusal names the three ways out, and each of them is one.
func TestWaysToServeOtherMachines(t *testing.T) {
	t.Parallel()
	cert, key := writePair(t, t.TempDir(), pairFor(t, "first"))
	for name, test := range map[string]struct {
		env     []string
		refused bool
		scheme  string
		logged  string
	}{
		"none":            {nil, true, "", ""},
		"denied":          {[]string{"ALLOW_PLAIN_HTTP=0"}, true, "", ""},
		"no proxies":      {[]string{"TRUSTED_PROXIES="}, true, "", ""},
		"TLS":             {[]string{"TLS_CERT_FILE=" + cert, "TLS_KEY_FILE=" + key}, false, "https://localhost:", ""},
		"TLS and proxies": {[]string{"TLS_CERT_FILE=" + cert, "TLS_KEY_FILE=" + key, "TRUSTED_PROXIES=127.0.0.1/32"}, false, "https://localhost:", ""},
		"proxies":         {[]string{"TRUSTED_PROXIES=127.0.0.1/32"}, false, "http://localhost:", ""},
		"allowed":         {[]string{"ALLOW_PLAIN_HTTP=1"}, false, "http://localhost:", "plain HTTP is served to other machines"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !test.refused {
				p := startAnywhere(t, test.env...)
				if !strings.HasPrefix(p.URL, test.scheme) {
					t.Errorf("it serves %s, want %s", p.URL, test.scheme)
				}
				if test.logged != "" {
					waitForLog(t, p, test.logged)
				}
				return
			}
			database := filepath.Join(t.TempDir(), "untouched.db")
			_, stderr, code := invokeWith(t, append(test.env, "ADDR=0.0.0.0:0", "DATABASE_URL=sqlite:"+database), "", "serve")
			for _, want := range []string{"rollbook: listen on 0.0.0.0:0: ", "TLS_CERT_FILE", "TLS_KEY_FILE", "TRUSTED_PROXIES", "ALLOW_PLAIN_HTTP=1"} {
				if code != 1 || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
					t.Errorf("%d %q, want one line with %q", code, stderr, want)
				}
			}
			if _, err := os.Stat(database); err == nil {
				t.Error("it touched the database before it refused")
			}
		})
	}
}

// Each deployment chooses one of the three ways. The image alone chooses none and is refused.
func TestDeploymentsChooseAWay(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("../../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var image []string
	for _, line := range regexp.MustCompile(`(?m)^ENV (\S+)$`).FindAllStringSubmatch(string(dockerfile), -1) {
		image = append(image, line[1])
	}
	database := "DATABASE_URL=" + testdb.SQLite(t)
	if _, stderr, code := invokeWith(t, append(image, database), "", "serve"); code != 1 || !strings.Contains(stderr, errPlainHTTP.Error()) {
		t.Errorf("the image alone: %d %s", code, stderr)
	}
	for file, setting := range map[string]string{
		"compose.yaml": `(?m)^ +(TRUSTED_PROXIES): (\S+)$`,
		"rollbook.env": `(?m)^(TRUSTED_PROXIES)='(\S+)'$`,
	} {
		text, err := os.ReadFile(filepath.Join("../../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(setting).FindSubmatch(text) == nil {
			t.Errorf("%s chooses no way", file)
		}
	}
}

func TestMetricsForOtherMachines(t *testing.T) {
	t.Parallel()
	p := start(t, testdb.SQLite(t), "METRICS_ADDR=0.0.0.0:0")
	waitForLog(t, p, "other machines can read the metrics")
	if status, _ := get(t, p.Metrics); status != http.StatusOK {
		t.Errorf("%d", status)
	}
}
