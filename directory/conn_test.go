package directory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/test/testldap"
)

// A directory that cannot be asked, or whom nobody vouches for, is unavailable: within the timeout, and whoever asks.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	d := one(t)
	other := testldap.Start(t)
	for name, change := range map[string]func(*directory.Settings){
		"nobody listens":             func(s *directory.Settings) { s.URLs = []string{"ldap://127.0.0.1:1"} },
		"unknown host":               func(s *directory.Settings) { s.URLs = []string{"ldap://directory.invalid"} },
		"another's certificate":      func(s *directory.Settings) { s.CAFile = other.CAFile },
		"another's, encrypted first": func(s *directory.Settings) { s.URLs, s.CAFile = []string{"ldaps://" + d.TLSAddress}, other.CAFile },
		"the system's authorities":   func(s *directory.Settings) { s.CAFile = "" },
		"another name": func(s *directory.Settings) {
			s.URLs = []string{strings.Replace(s.URLs[0], "127.0.0.1", "localhost", 1)}
		},
		"who searches is refused": func(s *directory.Settings) { s.BindPassword = "wrong" },
		"no such base":            func(s *directory.Settings) { s.Base = "dc=example,dc=com" },
		"nobody may search":       func(s *directory.Settings) { s.BindDN, s.BindPassword = "", "" },
	} {
		_, err := d.Open(t, change).Authenticate(t.Context(), "anna", password, nil)
		if !errors.Is(err, directory.ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		} else if text := err.Error(); strings.Contains(text, password) || strings.Contains(text, testldap.SearcherPassword) || strings.Contains(text, "anna") {
			t.Errorf("%s: it says %s", name, text)
		}
	}
	if _, err := d.Open(t, func(s *directory.Settings) { s.URLs = append([]string{"ldap://127.0.0.1:1"}, s.URLs...) }).Authenticate(t.Context(), "anna", password, nil); err != nil {
		t.Errorf("the second of two servers: %v", err)
	}
	d.End(t)
	d.Certify(t, time.Now().Add(-time.Minute))
	d.Begin(t)
	if _, err := d.Open(t).Authenticate(t.Context(), "anna", password, nil); !errors.Is(err, directory.ErrUnavailable) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired certificate: got %v", err)
	}
}

// Wherever the directory falls silent or is cut off, a sign-in ends in time, and lets nobody in.
func TestInterruptedAuthenticate(t *testing.T) {
	t.Parallel()
	d := one(t)
	proxy := d.Proxy(t)
	const timeout = 300 * time.Millisecond
	open := func(change func(*directory.Settings)) *directory.Directory {
		return d.Open(t, func(s *directory.Settings) {
			s.URLs, s.Timeout = []string{"ldap://" + proxy.Address}, timeout
			change(s)
		})
	}
	for name, test := range map[string]struct {
		directory *directory.Directory
		step      int
	}{
		"encrypted": {open(func(*directory.Settings) {}), 97}, "cleartext": {open(func(s *directory.Settings) { s.Cleartext = true }), 13},
	} {
		all := 0
		for passes := 0; ; passes += test.step {
			proxy.Passes.Store(int64(passes))
			proxy.Stalls.Store(passes%2 == 0)
			began := time.Now()
			person, err := test.directory.Authenticate(t.Context(), "anna", password, nil)
			if took := time.Since(began); took > timeout+time.Second {
				t.Errorf("%s, %d bytes: it took %s", name, passes, took)
			}
			if err == nil {
				all = passes
				break
			}
			if !errors.Is(err, directory.ErrUnavailable) || person != (directory.Person{}) {
				t.Errorf("%s, %d bytes: got %+v, %v", name, passes, person, err)
			}
			if passes > 10_000 {
				t.Fatal("it never succeeds")
			}
		}
		if all < 50 {
			t.Errorf("%s: %d bytes were enough", name, all)
		}
	}
	proxy.Passes.Store(0)
	proxy.Stalls.Store(true)
	if _, err := open(func(s *directory.Settings) { s.URLs = append(s.URLs, "ldap://"+d.Address) }).Authenticate(t.Context(), "anna", password, nil); err != nil {
		t.Errorf("the second server, where the first is silent: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	if _, err := d.Open(t, func(s *directory.Settings) { s.URLs = []string{"ldap://" + proxy.Address} }).Authenticate(ctx, "anna", password, nil); err == nil || time.Since(began) > time.Second {
		t.Errorf("who hung up: %v after %s", err, time.Since(began))
	}
}

// At most so many connections are open at once, and who gets none in time is told that the directory is unavailable.
func TestConnections(t *testing.T) {
	t.Parallel()
	d := one(t)
	proxy := d.Proxy(t)
	proxy.Passes.Store(0)
	proxy.Stalls.Store(true)
	few := d.Open(t, func(s *directory.Settings) {
		s.URLs, s.Connections, s.Timeout = []string{"ldap://" + proxy.Address}, 1, 400*time.Millisecond
	})
	first := make(chan error)
	go func() { _, err := few.Authenticate(t.Context(), "anna", password, nil); first <- err }()
	time.Sleep(100 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := few.Authenticate(ctx, "anna", password, nil); !errors.Is(err, directory.ErrUnavailable) || !strings.Contains(err.Error(), "wait for a connection") {
		t.Errorf("the second: %v", err)
	}
	if err := <-first; !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("the first: %v", err)
	}
	proxy.Passes.Store(-1)
	if _, err := few.Authenticate(t.Context(), "anna", password, nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	proxy.Passes.Store(0)
	listing, cancelListing := context.WithTimeout(t.Context(), time.Second)
	defer cancelListing()
	listed := make(chan error)
	go func() { _, err := few.PasswordStamps(listing); listed <- err }()
	time.Sleep(100 * time.Millisecond)
	proxy.Passes.Store(-1)
	if _, err := few.Authenticate(t.Context(), "anna", password, nil); err != nil {
		t.Errorf("while all are listed: %v", err)
	}
	if err := <-listed; !errors.Is(err, directory.ErrUnavailable) {
		t.Errorf("the list: %v", err)
	}
}
