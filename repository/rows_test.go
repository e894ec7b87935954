package repository_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
)

// fill stores rows in every table, more than are copied at once, and with what is easily lost: times to the microsecond,
// and no time; nothing, and text of all alphabets; yes and no.
func fill(t *testing.T, address string) *repository.DB {
	t.Helper()
	db := testdb.Open(t, address)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made := time.Date(2024, 2, 29, 23, 59, 59, 123_456_000, time.UTC)
	const most = repository.CopiedAtOnce/3 + 20
	for part, source := range []string{"first", "second", "third"} { // the key of imports has two columns
		var users []repository.User
		var tokens []repository.Token
		var takenUsers, takenTokens []repository.Import
		for i := range most {
			n := part*most + i
			user := newUser(fmt.Sprintf("Zoë.Ω%d", n))
			user.FirstName, user.IsActive = fmt.Sprint("名\t", n), n%5 > 0
			user.CreatedAt, user.UpdatedAt = made.Add(time.Duration(n)*time.Microsecond), made.Add(time.Duration(n)*time.Hour)
			if id := fmt.Sprint(n); n%7 == 0 {
				user.DirectoryID, user.LeftAt = &id, &user.CreatedAt
			}
			var expires *time.Time
			if end := made.AddDate(100, 0, n); n%2 == 0 {
				expires = &end
			}
			digest := repository.Digest(fmt.Sprint(n))
			users, takenUsers = append(users, user), append(takenUsers, repository.Import{Key: digest[:4], UserID: user.ID, Digest: digest})
			token := repository.ImportedToken(user.ID, digest, user.CreatedAt, expires)
			if stamp := fmt.Sprint("2026112705170", n); n%7 == 0 {
				token.PasswordStamp = &stamp
			}
			tokens = append(tokens, token)
			takenTokens = append(takenTokens, repository.Import{Key: digest, UserID: user.ID, Digest: digest[:1]})
		}
		stored, err := db.Imports(source).Users(t.Context(), users, takenUsers)
		must(err)
		_, err = db.Imports(source).Tokens(t.Context(), tokens, takenTokens)
		must(err)
		if len(stored) != most {
			t.Fatalf("%d of %d accounts are stored", len(stored), most)
		}
		must(db.Codes().Put(t.Context(), repository.CodeFor(users[0].ID, repository.NewCode(), made.Add(time.Microsecond))))
	}
	_, err := db.Begin(t.Context(), "a job", true, time.Hour)
	must(err)
	limits, err := db.Limits(t.Context())
	must(err)
	for range 3 {
		_, err := limits.Take(t.Context(), nil,
			repository.Limit{Key: limits.Key("a"), Max: 1, Backoff: time.Microsecond, BackoffMax: time.Hour},
			repository.Limit{Key: limits.Key("b"), Account: limits.Key("c"), Network: "192.0.2.1", Max: 1000, Window: time.Hour})
		must(err)
	}
	user, _ := create(t, db, newUser("last"))
	must(limits.Remember(t.Context(), [][]byte{limits.Key("d")}, user.ID, user.Password))
	_, err = testdb.SQL(t, address).ExecContext(t.Context(), // as the release before writes it
		"INSERT INTO throttles (key, count, until, expires_at) VALUES ($1, 1, '2024-02-29 23:59:59.123456+00:00', '2024-03-01 00:00:00+00:00')",
		[]byte("key"))
	must(err)
	return db
}

// columnsOf are the sorted columns of each table that migrations have made, as the database knows them.
func columnsOf(t *testing.T, address string) map[string][]string {
	t.Helper()
	query := `SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'`
	if !strings.HasPrefix(address, "sqlite:") {
		query = `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()`
	}
	rows, err := testdb.SQL(t, address).QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(table, "goose_") { // its own
			columns[table] = append(columns[table], column)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, of := range columns {
		slices.Sort(of)
	}
	return columns
}

// dump is every value of every row, as the same text whichever the database, by table and sorted.
func dump(t *testing.T, address string) map[string][]string {
	t.Helper()
	db, dumped := testdb.SQL(t, address), map[string][]string{}
	for table, columns := range columnsOf(t, address) {
		rows, err := db.QueryContext(t.Context(), "SELECT "+strings.Join(columns, ", ")+" FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		dumped[table] = []string{}
		for rows.Next() {
			values, targets := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				targets[i] = &values[i]
			}
			if err := rows.Scan(targets...); err != nil {
				t.Fatal(err)
			}
			var line []string
			for i, column := range columns {
				line = append(line, column+"="+plain(values[i]))
			}
			dumped[table] = append(dumped[table], strings.Join(line, " "))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(dumped[table])
	}
	return dumped
}

func plain(value any) string {
	switch v := value.(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []byte:
		return hex.EncodeToString(v)
	case bool: // SQLite has none
		if v {
			return "1"
		}
		return "0"
	}
	return fmt.Sprintf("%v", value)
}
