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
	p := start(t, address, "DB_CONNECTIONS=2", "DB_TIMEOUT=1s")
	_, members := p.send(t, "POST", "/api/v1/users/", "", `{"username":"u","password":"Correct-Horse-9"}`)
	token, _ := members["auth_token"].(string)
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	underWay := func() (n int) { // statements of others
		err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'`).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "LOCK TABLE users IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range 8 { // which all hang, so that each wants a connection of its own
		wg.Go(func() {
			if status, answer := p.send(t, "GET", "/api/v1/users/me/", token, ""); status != 503 || time.Since(began) > 3*time.Second {
				t.Errorf("a statement that hangs: %d %v, after %s", status, answer, time.Since(began))
			}
		})
	}
	most := 0
	for time.Since(began) < 400*time.Millisecond {
		most = max(most, underWay())
	}
	wg.Wait()
	if most != 2 {
		t.Errorf("%d statements were under way at once, want 2", most)
	}
	for deadline := time.Now().Add(5 * time.Second); underWay() > 0; time.Sleep(50 * time.Millisecond) {
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
