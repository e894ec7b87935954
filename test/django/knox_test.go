package django_test

import (
	"crypto/sha512"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/django"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// django-rest-knox keeps the SHA-512 of its tokens, which go on working until they expire; and before its version 4.2 salted
// ones, which cannot be taken. Its table is made here as its migrations make it, since Debian does not have it.
func TestMoveInWithKnox(t *testing.T) {
	t.Parallel()
	from := djangoSQLite(t)
	h := &house{T: t, service: newService(t, from, true), from: from, server: testserver.Start(t, testdb.Postgres(t))}
	people := h.service.fill(person{"username": "richard"}, person{"username": "inactive", "is_active": false})
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer(" ", "%20", "?", "%3f").Replace(strings.TrimPrefix(from, "sqlite:")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	execute := func(statement string, arguments ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement, arguments...); err != nil {
			t.Fatal(err)
		}
	}
	execute(`CREATE TABLE knox_authtoken (digest varchar(128) PRIMARY KEY, token_key varchar(25), created datetime NOT NULL, user_id integer NOT NULL, expiry datetime)`)
	token := func(n int) string { return fmt.Sprintf("%064x", n) }
	digestOf := func(n int) string {
		sum := sha512.Sum512([]byte(token(n)))
		return hex.EncodeToString(sum[:])
	}
	add := func(n int, user string, expiry any) {
		execute(`INSERT INTO knox_authtoken VALUES (?, ?, ?, ?, ?)`, digestOf(n), token(n)[:15], "2026-01-02 03:04:05.678901", people[user].ID, expiry)
	}
	const layout = "2006-01-02 15:04:05.999999"
	add(1, "richard", nil)
	add(2, "richard", time.Now().UTC().Add(time.Hour).Format(layout))
	soon := time.Now().UTC().Add(5 * time.Second)
	add(3, "richard", soon.Format(layout))
	add(4, "richard", "2026-01-03 00:00:00")
	add(5, "inactive", nil)
	raw, err := hex.DecodeString(token(7)) // as knox has hashed them until its version 5
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(raw)
	execute(`INSERT INTO knox_authtoken VALUES (?, ?, ?, ?, ?)`, hex.EncodeToString(sum[:]), token(7)[:8], "2026-01-02 03:04:05", people["richard"].ID, nil)
	counts := h.moveIn()
	if got := fmt.Sprint(counts["knox_authtoken"]); got != "map[added:4 removed:0]" {
		t.Errorf("tokens: %s", got)
	}
	alive := func(n int) bool { return h.status("GET", "/api/v1/users/me/", token(n), nil) == 200 }
	if !alive(1) || !alive(2) || !alive(3) || !alive(7) || alive(4) || alive(5) || alive(6) {
		t.Error("not the tokens that should be are good")
	}
	add(8, "richard", soon.Format(layout))
	h.moveIn()
	execute(`UPDATE knox_authtoken SET expiry = ? WHERE digest = ?`, time.Now().UTC().Add(time.Hour).Format(layout), digestOf(8))
	if counts := h.moveIn(); counts["knox_authtoken"][django.Changed] != 1 {
		t.Errorf("a token that lives longer by now: %v", counts)
	}
	time.Sleep(time.Until(soon))
	if !alive(2) || alive(3) || !alive(8) {
		t.Error("a token outlives its expiry, or does not live so long")
	}
	execute(`ALTER TABLE knox_authtoken ADD COLUMN salt varchar(16)`)
	h.moveIn()
	h.wantReport("knox_authtoken \"\" left out: its tokens are salted")
	if !alive(1) {
		t.Error("a token that was taken over is gone")
	}
}
