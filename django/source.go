package django

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rollbook/rollbook/repository" // which also registers the drivers
)

// The tables of Django REST Framework's tokens and of django-rest-knox's.
const (
	tokenTable = "authtoken_token"
	knoxTable  = "knox_authtoken"
)

// source is the database of a Django service. It is only read.
type source struct {
	db     *sql.DB
	tables map[string][]column
	// text writes a column as text, cursor so that it can be given back, and after what comes behind that.
	text, cursor func(column string) string
	after        func(column, kind string) string
}

type column struct{ name, kind string }

// table is one that is read in the order of its primary key, page by page, so that a live service is not held up.
type table struct {
	name    string
	key     string   // the column of the primary key, as SQL
	kind    string   // its type
	columns []string // that are read, as SQL, of the table t
	join    string   // to others
}

// open opens a database of the form postgres://… or sqlite:PATH. The error never holds the address's password.
func open(ctx context.Context, address string) (*source, error) {
	path, isSQLite := strings.CutPrefix(address, "sqlite:")
	switch {
	case isSQLite:
		return openSQLite(ctx, path)
	case strings.HasPrefix(address, "postgres://"), strings.HasPrefix(address, "postgresql://"):
		return openPostgres(ctx, address)
	}
	return nil, errors.New("the address of Django's database must begin with postgres://, or with sqlite: and a file")
}

func openSQLite(ctx context.Context, path string) (*source, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open Django's database: %w", err)
	}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=ro&_pragma=busy_timeout(5000)"}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open Django's database: %w", err)
	}
	s := &source{
		db:     db,
		text:   func(column string) string { return "CAST(" + column + " AS TEXT)" },
		cursor: func(column string) string { return column },
		after:  func(column, _ string) string { return column + " > ?" },
	}
	return s.ready(ctx, `SELECT m.name, c.name, lower(c.type) FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'`)
}

func openPostgres(ctx context.Context, address string) (*source, error) {
	if err := repository.CheckAddress(address); err != nil {
		return nil, err
	}
	db, err := sql.Open("pgx", address)
	if err != nil {
		return nil, fmt.Errorf("open Django's database: %w", err)
	}
	s := &source{
		db:     db,
		text:   func(column string) string { return column + "::text" },
		cursor: func(column string) string { return column + "::text" },
		after:  func(column, kind string) string { return column + " > CAST($1::text AS " + kind + ")" },
	}
	return s.ready(ctx, `SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (current_schemas(false)) AND c.relkind IN ('r', 'p', 'v', 'm')
		AND a.attnum > 0 AND NOT a.attisdropped`)
}

// ready reads which tables there are.
func (s *source) ready(ctx context.Context, columns string) (*source, error) {
	s.tables = map[string][]column{}
	rows, err := s.db.QueryContext(ctx, columns)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read Django's tables: %w", err), s.db.Close())
	}
	defer func() { _ = rows.Close() }() // Err says what counts
	for rows.Next() {
		var name string
		var c column
		if err := rows.Scan(&name, &c.name, &c.kind); err != nil {
			return nil, errors.Join(fmt.Errorf("read Django's tables: %w", err), s.db.Close())
		}
		s.tables[name] = append(s.tables[name], c)
	}
	if err := rows.Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("read Django's tables: %w", err), s.db.Close())
	}
	return s, nil
}

func (s *source) close() error { return s.db.Close() }

// column returns a column of a table, if it has it.
func (s *source) column(table, name string) (column, bool) {
	i := slices.IndexFunc(s.tables[table], func(c column) bool { return c.name == name })
	if i < 0 {
		return column{}, false
	}
	return s.tables[table][i], true
}

// userTable returns the name of the table of users: the one that is asked for, or the only one that looks like it.
func (s *source) userTable(asked string) (string, error) {
	var found []string
	for name := range s.tables {
		if s.isUserTable(name) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	switch {
	case asked != "" && slices.Contains(found, asked):
		return asked, nil
	case asked != "":
		return "", fmt.Errorf("%s is no table of users: those have the columns id, username and password; there are %s", asked, listed(found))
	case len(found) != 1:
		return "", fmt.Errorf("which is the table of users? Say --user-table=NAME: those with the columns id, username and password are %s", listed(found))
	}
	return found[0], nil
}

func (s *source) isUserTable(name string) bool {
	for _, needed := range []string{"id", "username", "password"} {
		if _, ok := s.column(name, needed); !ok {
			return false
		}
	}
	return true
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// users is the table of users. A column that it has not is NULL.
func (s *source) users(name string) table {
	key, _ := s.column(name, "id")
	t := table{name: name, key: quote("id"), kind: key.kind, columns: []string{s.text("t." + quote("id"))}}
	for _, wanted := range []string{"username", "first_name", "last_name", "email", "password", "is_active", "date_joined"} {
		if _, ok := s.column(name, wanted); ok {
			t.columns = append(t.columns, "t."+quote(wanted))
		} else {
			t.columns = append(t.columns, "NULL")
		}
	}
	return t
}

// tokens is a table of tokens, with the columns key, user_id, created, expires and whether the user is active; and false
// where there is no such table.
func (s *source) tokens(name, users string) (table, bool) {
	keyName, expires, active := "key", "NULL", "NULL"
	if name == knoxTable {
		keyName = "digest"
		for _, column := range []string{"expiry", "expires"} {
			if _, ok := s.column(name, column); ok {
				expires = "t." + quote(column)
			}
		}
	}
	key, ok := s.column(name, keyName)
	if !ok {
		return table{}, false
	}
	if _, ok := s.column(users, "is_active"); ok {
		active = "u." + quote("is_active")
	}
	return table{
		name: name, key: quote(keyName), kind: key.kind,
		columns: []string{"t." + quote(keyName), s.text("t." + quote("user_id")), "t." + quote("created"), expires, active},
		join:    " LEFT JOIN " + quote(users) + " u ON u.id = t.user_id",
	}, true
}

// each hands on the rows of a table, so many at a time, in the order of the key.
func (s *source) each(ctx context.Context, t table, f func(rows [][]any) error) error {
	// The page is cut out of the table before it is joined, whatever the database thinks of its size.
	query := func(where string) string {
		return fmt.Sprintf("SELECT %s, %s FROM (SELECT * FROM %s%s ORDER BY %s LIMIT %d) t%s ORDER BY t.%s", strings.Join(t.columns, ", "),
			s.cursor("t."+t.key), quote(t.name), where, t.key, pageRows, t.join, t.key)
	}
	text, arguments := query(""), []any(nil)
	for {
		rows, last, err := s.page(ctx, text, arguments, len(t.columns))
		if err != nil {
			return fmt.Errorf("read %s: %w", t.name, err)
		}
		if len(rows) > 0 {
			if err := f(rows); err != nil {
				return err
			}
		}
		if len(rows) < pageRows {
			return nil
		}
		text, arguments = query(" WHERE "+s.after(t.key, t.kind)), []any{last}
	}
}

// page returns rows, and the key of the last.
func (s *source) page(ctx context.Context, query string, arguments []any, width int) (page [][]any, last any, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, query, arguments...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what counts
	for rows.Next() {
		values, into := make([]any, width+1), make([]any, width+1)
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, err
		}
		page, last = append(page, values[:width]), values[width]
	}
	return page, last, rows.Err()
}

const (
	// pageRows is how many rows are read, and written, at a time.
	pageRows = repository.MostAtOnce
	// pageTimeout bounds the reading of a page.
	pageTimeout = time.Minute
)

// size is how many rows a table has.
func (s *source) size(ctx context.Context, t table) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	err = s.db.QueryRowContext(ctx, "SELECT count(*) FROM "+quote(t.name)).Scan(&n)
	return n, err
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
