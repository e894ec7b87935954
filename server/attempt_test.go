package server_test

import (
	"testing"

	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// What a login asks of the database. Before limits were settled after each attempt it was 8 statements for a login and 6
// for a refusal.
func TestStatementsOfALogin(t *testing.T) {
	t.Parallel()
	line := testdb.NewLine(t, testdb.Postgres(t))
	s := throttled(t, line.Address, usual)
	s.Register("richard")
	want(t, try(s, "192.0.2.1", "richard", testserver.Password), 200, "") // makes the network known
	for plain, most := range map[string]int64{testserver.Password: 5, "wrong": 4} {
		fewest := int64(1000)
		for range usual.Failures - 1 { // one attempt in a hundred also removes what has expired
			before := line.Statements()
			try(s, "192.0.2.1", "richard", plain)
			fewest = min(fewest, line.Statements()-before)
		}
		if fewest != most {
			t.Errorf("%q: %d statements, want %d", plain, fewest, most)
		}
	}
}
