package server_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/server"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// asked is what a directory was asked over a relay that reads along.
type asked struct {
	mu       sync.Mutex
	binds    []string // the DNs, but for that of the account that searches
	searches int
	text     strings.Builder // all that was sent
}

// relay returns the address of a relay to a directory, without TLS.
func relay(t *testing.T, d *testldap.Directory) (address string, a *asked) {
	t.Helper()
	a = &asked{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", d.Address)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
			go func() { a.read(client, server); _ = server.Close() }()
		}
	}()
	return listener.Addr().String(), a
}

// read passes on what a client asks, and notes it.
func (a *asked) read(client io.Reader, server io.Writer) {
	const bind, search = 0, 3 // RFC 4511, sections 4.2 and 4.5.1
	for {
		packet, err := ber.ReadPacket(client)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.text.Write(packet.Bytes())
		switch operation := packet.Children[1]; operation.Tag {
		case bind:
			if dn := operation.Children[1].Value.(string); dn != testldap.Searcher {
				a.binds = append(a.binds, dn)
			}
		case search:
			a.searches++
		}
		a.mu.Unlock()
		if _, err := server.Write(packet.Bytes()); err != nil {
			return
		}
	}
}

// Each refused login costs one hash, one search and one bind, whatever knows the password. The directory sees nothing of what is
// typed for a local account.
func TestRefusalsBesideADirectoryDoTheSame(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna")
	testdb.Each(t, func(t *testing.T, address string) {
		to, a := relay(t, d)
		var mu sync.Mutex
		hashes := 0
		s := testserver.Start(t, address, withDecoys(t), callAfterHash(func() { mu.Lock(); hashes++; mu.Unlock() }), func(c *server.Config) {
			c.Directory = d.Open(t, func(to2 *directory.Settings) { to2.URLs, to2.Cleartext = []string{"ldap://" + to}, true })
		})
		store(t, s.DB, "richard", encode(t, testserver.Password), nil)
		store(t, s.DB, "none", "", nil)
		inactive := server.NewUser("inactive", "", "", "")
		inactive.Password, inactive.IsActive = encode(t, testserver.Password), false
		if err := s.DB.Users().Create(t.Context(), inactive); err != nil {
			t.Fatal(err)
		}
		const typed = "a password typed wrong"
		for _, name := range []string{"richard", "none", "inactive", "anna", "nobody"} {
			before := hashes
			a.mu.Lock()
			a.binds, a.searches = nil, 0
			a.text.Reset()
			a.mu.Unlock()
			want(t, try(s, "", name, typed), 400, badCredentials)
			a.mu.Lock()
			sent := a.text.String()
			if hashes-before != 1 || len(a.binds) != 1 || a.searches != 1 {
				t.Errorf("%s: %d hashes, binds as %q, %d searches", name, hashes-before, a.binds, a.searches)
			}
			a.mu.Unlock()
			isLocal := name != "anna" && name != "nobody"
			if strings.Contains(sent, typed) == isLocal || strings.Contains(sent, name) == isLocal {
				t.Errorf("%s: the directory is sent %q", name, sent)
			}
		}
	})
}

// A local account signs in while the directory does not answer, and a decoy that waits for it gives its connection back.
func TestLocalSuccessDoesNotWait(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	d, err := directory.New(directory.Settings{
		URLs: []string{"ldap://" + silent.Addr().String()}, Base: testldap.People, Filter: "(uid={username})", Cleartext: true,
		Attributes: directory.Attributes{ID: "entryUUID", Username: "uid"}, Timeout: time.Hour, Connections: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := testserver.Start(t, testdb.SQLite(t), func(c *server.Config) { c.Directory = d })
	s.Register("richard")
	for range 3 { // of which each but the first would wait for the connection
		want(t, try(s, "", "richard", testserver.Password), 200, "")
	}
}

// Who a sync found to have left while the directory vouched for them is let in, as a moment later.
func TestDirectoryLoginDuringSync(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		d := testldap.Start(t)
		d.Add(t, testserver.Password, "anna")
		var s *testserver.Server
		var id uuid.UUID
		change := func(*repository.Users) error { return nil }
		s = testserver.Start(t, address, callAfter("update user from directory", func() {
			once := change
			change = func(*repository.Users) error { return nil }
			if err := once(s.DB.Users()); err != nil {
				t.Error(err)
			}
		}), func(c *server.Config) { c.Directory = d.Open(t) })
		id = uuid.MustParse(comeIn(t, s, "anna")["id"].(string))
		change = func(u *repository.Users) error { _, err := u.Leave(t.Context(), []uuid.UUID{id}); return err }
		comeIn(t, s, "anna")
		wantEvents(t, s, map[server.Event]int{server.EventActivated: 1, server.EventRefused: 0})
		change = func(u *repository.Users) error { return u.SetActive(t.Context(), id, false) }
		want(t, try(s, "", "anna", testserver.Password), 400, badCredentials)
	})
}
