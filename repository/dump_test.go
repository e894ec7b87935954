package repository_test

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// openSQL opens the database at an address, past the package under test, until the test ends.
func openSQL(t *testing.T, address string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if path, isFile := strings.CutPrefix(address, "sqlite:"); isFile {
		driver, address = "sqlite", "file:"+path+"?_pragma=busy_timeout(5000)"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// columnsOf are the sorted columns of each table that migrations have made, as the database knows them.
func columnsOf(t *testing.T, address string) map[string][]string {
	t.Helper()
	query := `SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'`
	if !strings.HasPrefix(address, "sqlite:") {
		query = `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()`
	}
	rows, err := openSQL(t, address).QueryContext(t.Context(), query)
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
	db, dumped := openSQL(t, address), map[string][]string{}
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
