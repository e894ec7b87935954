package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testldap"
	"github.com/rollbook/rollbook/test/testserver"
)

// ldapEnv is the environment that names a directory.
func ldapEnv(d *testldap.Directory) []string {
	return []string{
		"LDAP_URL=ldap://" + d.Address, "LDAP_CA_FILE=" + d.CAFile, "LDAP_BASE=" + testldap.People,
		"LDAP_BIND_DN=" + testldap.Searcher, "LDAP_BIND_PASSWORD=" + testldap.SearcherPassword,
	}
}

// A server lets in whom its directory knows, and looks for leavers; the commands say whose password it is.
func TestServeWithDirectory(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna", "bela")
	address := testdb.SQLite(t)
	p := start(t, address, append(ldapEnv(d), "LDAP_SYNC_INTERVAL=300ms", "LDAP_DEACTIVATE_AT_MOST=50", "LDAP_PASSWORD_ELSEWHERE=At school.")...)
	logIn := func(name string) (token string) {
		_, members := p.send(t, "POST", "/api-token-auth/", "", `{"username":"`+name+`","password":"`+testserver.Password+`"}`)
		token, _ = members["token"].(string)
		return token
	}
	anna, bela := logIn("anna"), logIn("bela")
	status, me := p.send(t, "GET", "/api/v1/users/me/", anna, "")
	if status != http.StatusOK || me["username"] != "anna" {
		t.Fatalf("got %d %v", status, me)
	}
	id, _ := me["id"].(string)
	change := `{"current_password":"` + testserver.Password + `","new_password":"staple-battery-9"}`
	if status, said := p.send(t, "POST", "/api/v1/users/"+id+"/password/", anna, change); status != http.StatusForbidden || said["detail"] != "At school." {
		t.Errorf("change of the password: %d %v", status, said)
	}
	for _, args := range [][]string{{"user", "set-password", "anna"}, {"user", "invite", "anna"}} {
		if _, said, code := invoke(t, address, "staple-battery-9\n", args...); code != 1 || !strings.Contains(said, "the one that the directory knows") {
			t.Errorf("%v: %d %s", args, code, said)
		}
	}
	if list := must(t, address, "", "user", "list"); !strings.Contains(list, "yes     directory  ") {
		t.Errorf("the list says %s", list)
	}
	if !strings.Contains(p.Log.String(), "REGISTRATION=closed") {
		t.Errorf("nothing is said about the open registration: %s", p.Log)
	}
	d.Remove(t, "bela")
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status, _ := p.send(t, "GET", "/api/v1/users/me/", bela, ""); status == http.StatusUnauthorized {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("who has left is signed in: %s", p.Log)
		}
	}
	if status, _ := p.send(t, "GET", "/api/v1/users/me/", anna, ""); status != http.StatusOK {
		t.Errorf("who has not left: %d", status)
	}
	p.stop(t)
	for _, want := range []string{`event=deactivated`, `address="directory sync"`, "active=2 left=1"} {
		if !strings.Contains(p.Log.String(), want) {
			t.Errorf("the log has no %s: %s", want, p.Log)
		}
	}
	if strings.Contains(p.Log.String(), testldap.SearcherPassword) {
		t.Errorf("the log has the password of who searches")
	}
}

// The sync is on unless it is turned off. It runs as soon as the server starts, or an hour after the last one.
func TestSyncIsOnByDefault(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		d := testldap.Start(t)
		d.Add(t, testserver.Password, "anna", "bela")
		off := start(t, address, append(ldapEnv(d), "LDAP_SYNC_INTERVAL=0")...)
		tokens := map[string]string{}
		for _, name := range []string{"anna", "bela"} {
			_, members := off.send(t, "POST", "/api-token-auth/", "", `{"username":"`+name+`","password":"`+testserver.Password+`"}`)
			tokens[name], _ = members["token"].(string)
		}
		d.ChangePassword(t, "anna", "Another-Horse-9")
		off.stop(t)
		if strings.Contains(off.Log.String(), `msg="directory sync"`) {
			t.Errorf("it is not off: %s", off.Log)
		}
		p := start(t, address, ldapEnv(d)...)
		for until := time.Now().Add(time.Minute); !strings.Contains(p.Log.String(), `msg="directory sync"`); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("no sync: %s", p.Log)
			}
		}
		for name, want := range map[string]int{"anna": http.StatusUnauthorized, "bela": http.StatusOK} {
			if status, _ := p.send(t, "GET", "/api/v1/users/me/", tokens[name], ""); status != want {
				t.Errorf("%s: %d, want %d", name, status, want)
			}
		}
		for _, want := range []string{`event="token revoked"`, `address="directory sync"`, "token=", "active=2 left=0 password_changed=1"} {
			if !strings.Contains(p.Log.String(), want) {
				t.Errorf("the log has no %s: %s", want, p.Log)
			}
		}
		if strings.Contains(p.Log.String(), d.PasswordChanged(t, "anna")) {
			t.Error("the log has the value of the attribute")
		}
		p.stop(t)
	})
}

// Leavers that are shown, refused and deactivated from the command line.
func TestDirectorySync(t *testing.T) {
	t.Parallel()
	d := testldap.Start(t)
	d.Add(t, testserver.Password, "anna", "bela")
	address := testdb.SQLite(t)
	p := start(t, address, append(ldapEnv(d), "LDAP_SYNC_INTERVAL=0")...) // it would be busy at first
	for _, name := range []string{"anna", "bela"} {
		if status, said := p.send(t, "POST", "/api-token-auth/", "", `{"username":"`+name+`","password":"`+testserver.Password+`"}`); status != http.StatusOK {
			t.Fatalf("%d %v", status, said)
		}
	}
	d.Remove(t, "bela")
	d.ChangePassword(t, "anna", "Another-Horse-9")
	const none = "sessions ended after a password change: 0 of "
	env := append(ldapEnv(d), "DATABASE_URL="+address)
	for _, test := range []struct {
		args      []string
		out, said string
		code      int
	}{
		{[]string{"--dry-run", "--ldap-deactivate-at-most=50"}, "to deactivate: 1 of 2 accounts of the directory\nsessions to end after a password change: 1 of 2 accounts\n", "", 0},
		{[]string{"--ldap-password-changed-attribute=carLicense", "--ldap-deactivate-at-most=0"}, "  bela  left the directory\n", "more than 0 %", 1},
		{nil, "  bela  left the directory\n", "more than 10 % of them", 1},
		{[]string{"--ldap-deactivate-at-most=50"}, "deactivated: 1 of 2 accounts of the directory\n" + none + "2 accounts\n", "event=deactivated", 0},
		{[]string{"--ldap-deactivate-at-most=50"}, "deactivated: 0 of 1 accounts of the directory\n" + none + "1 accounts\n", "", 0},
		{[]string{"--ldap-password-changed-attribute=carLicense"}, none + "1 accounts\n", "LDAP_PASSWORD_CHANGED_ATTRIBUTE", 0},
		{[]string{"--ldap-url="}, "", "--ldap-url must say where the directory is", 1},
		{[]string{"--ldap-url=ldap://127.0.0.1:1"}, "", "directory unavailable", 1},
	} {
		out, said, code := invokeWith(t, env, "", append([]string{"directory", "sync"}, test.args...)...)
		if !strings.HasSuffix(out, test.out) || !strings.Contains(said, test.said) || code != test.code {
			t.Errorf("%v: got %d %s%s", test.args, code, out, said)
		}
	}
}
