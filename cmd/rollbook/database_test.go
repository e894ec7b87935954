package main

import (
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/testdb"
)

// The settings of the database reach it: no more connections than are allowed, and statements that take too long are
// cancelled at the server.
func TestDatabaseSettings(t *testing.T) {
	t.Parallel()
	address := testdb.Postgres(t)
	p := start(t, address, "DB_CONNECTIONS=2", "DB_TIMEOUT=500ms")
	_, members := p.send(t, "POST", "/api/v1/users/", "", `{"username":"u","password":"Correct-Horse-9"}`)
	token, _ := members["auth_token"].(string)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if status, answer := p.send(t, "GET", "/api/v1/users/me/", token, ""); status != 200 {
				t.Errorf("got %d %v", status, answer)
			}
		})
	}
	wg.Wait()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	others := func(state string) (n int) {
		err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE $1`, state).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := others("%"); n < 1 || n > 2 {
		t.Errorf("there are %d connections, want 1 or 2", n)
	}

	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if status, answer := p.send(t, "GET", "/api/v1/users/me/", token, ""); status != 503 || time.Since(began) > 3*time.Second {
		t.Errorf("a statement that hangs: %d %v, after %s", status, answer, time.Since(began))
	}
	for deadline := time.Now().Add(5 * time.Second); others("active") > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it goes on at the server")
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if status, answer := p.send(t, "GET", "/api/v1/users/me/", token, ""); status != 200 {
		t.Errorf("afterwards: %d %v", status, answer)
	}
}
