package load_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/errgroup"

	"github.com/rollbook/rollbook/test/testdb"
)

// fill makes accounts in a migrated database that has none. Each has a token, and all have one password. It returns a file for
// jobs.lua of as many of them as are to be listed, from all over the table, and how long it took until the database was whole: with
// its indexes and constraints, and on disk.
func fill(t testing.TB, address string, accounts, listed int) (path string, took time.Duration) {
	t.Helper()
	before := partsOf(t, address)
	began := time.Now()
	if err := load(t.Context(), address, accounts); err != nil {
		t.Fatal(err)
	}
	took = time.Since(began)
	t.Logf("loaded %d accounts with a token each in %.1f s, %.0f a second, with their indexes and constraints", accounts, took.Seconds(), float64(accounts)/took.Seconds())
	if after := partsOf(t, address); !slices.Equal(before, after) {
		t.Fatalf("the indexes and constraints were\n%v\nand are\n%v", before, after)
	}
	if _, err := testdb.SQL(t, address).ExecContext(t.Context(), "VACUUM (ANALYZE)"); err != nil {
		t.Fatal(err)
	}
	return list(t, accounts, min(listed, accounts)), took
}

// part is an index or a constraint, and the statements that drop it and build it again.
type part struct {
	Table       string // "" for a foreign key, which is between two
	Drop, Build string
}

// parts are those of the two tables, and the foreign keys that refer to them.
const parts = `
	SELECT CASE contype WHEN 'f' THEN '' ELSE conrelid::regclass::text END, format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
		format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
	FROM pg_constraint
	WHERE contype IN ('p', 'u', 'f') AND (conrelid IN ('users'::regclass, 'tokens'::regclass) OR confrelid IN ('users'::regclass, 'tokens'::regclass))
	UNION ALL
	SELECT indrelid::regclass::text, format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
	FROM pg_index
	WHERE indrelid IN ('users'::regclass, 'tokens'::regclass)
		AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
	ORDER BY 3`

func findParts(ctx context.Context, conn *pgx.Conn) ([]part, error) {
	rows, _ := conn.Query(ctx, parts) // its error is that of CollectRows, too
	return pgx.CollectRows(rows, pgx.RowToStructByPos[part])
}

func partsOf(t testing.TB, address string) []part {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	found, err := findParts(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// load fills the two tables at once, while nothing refers from one to the other.
func load(ctx context.Context, address string, accounts int) error {
	conn, err := loader(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	all, err := findParts(ctx, conn)
	if err != nil {
		return err
	}
	of := map[string][]part{} // by table
	for _, p := range all {
		of[p.Table] = append(of[p.Table], p)
	}
	if err := drop(ctx, conn, of[""]); err != nil {
		return err
	}
	now := time.Now()
	both, loading := errgroup.WithContext(ctx)
	both.Go(func() error {
		return loadTable(loading, address, "users (id, username, first_name, last_name, email, password, is_active, created_at, updated_at)",
			of["users"], &table{row: userRow(now), last: accounts})
	})
	both.Go(func() error {
		return loadTable(loading, address, "tokens (id, user_id, digest, created_at, last_used_at)", of["tokens"], &table{row: tokenRow(now), last: accounts})
	})
	if err := both.Wait(); err != nil {
		return err
	}
	return build(ctx, conn, of[""])
}

// loader connects with settings that suit the building of indexes and constraints. All the rest is as the cluster has it: a commit is on disk.
func loader(ctx context.Context, address string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["maintenance_work_mem"] = "1GB"
	config.RuntimeParams["max_parallel_maintenance_workers"] = "0" // the two tables take a core each
	// A foreign key is checked along the two sorted indexes, with no hash of all ids.
	for _, plan := range []string{"enable_hashjoin", "enable_nestloop", "enable_sort"} {
		config.RuntimeParams[plan] = "off"
	}
	return pgx.ConnectConfig(ctx, config)
}

// loadTable fills a table without its parts and builds these, in one transaction. That it has emptied the table allows FREEZE, so
// that nothing need look at each row again to see that it is committed.
func loadTable(ctx context.Context, address, columns string, parts []part, from *table) error {
	conn, err := loader(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	name, _, _ := strings.Cut(columns, " ")
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "TRUNCATE "+name); err != nil {
			return err
		}
		if err := drop(ctx, conn, parts); err != nil {
			return err
		}
		const header, trailer = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00", "\xff\xff"
		file := io.MultiReader(strings.NewReader(header), from, strings.NewReader(trailer))
		if _, err := conn.PgConn().CopyFrom(ctx, file, "COPY "+columns+" FROM STDIN (FORMAT binary, FREEZE)"); err != nil {
			return err
		}
		return build(ctx, conn, parts)
	})
}

func drop(ctx context.Context, conn *pgx.Conn, parts []part) error {
	for _, p := range parts {
		if _, err := conn.Exec(ctx, p.Drop); err != nil {
			return fmt.Errorf("%s: %w", p.Drop, err)
		}
	}
	return nil
}

func build(ctx context.Context, conn *pgx.Conn, parts []part) error {
	for _, p := range parts {
		if _, err := conn.Exec(ctx, p.Build); err != nil {
			return fmt.Errorf("%s: %w", p.Build, err)
		}
	}
	return nil
}

// table reads as its rows, 1 to last, in the binary format of COPY.
type table struct {
	row     func(to []byte, n int) []byte // appends the nth
	n, last int
	made    bytes.Buffer
}

func (r *table) Read(into []byte) (int, error) {
	for r.made.Len() < len(into) && r.n < r.last {
		r.n++
		r.made.Write(r.row(r.made.AvailableBuffer(), r.n))
	}
	return r.made.Read(into)
}

// userRow makes rows that differ in their id and username.
func userRow(now time.Time) func([]byte, int) []byte {
	salt := []byte("0123456789abcdef")
	encoded := "$argon2id$v=19$m=19456,t=2,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte("Correct-Horse-9"), salt, 2, 19456, 1, 32))
	var same []byte
	for _, value := range []string{"Richard", "Hendriks", "richard@piedpiper.com", encoded, "\x01", instant(now), instant(now)} {
		same = field(same, value)
	}
	return func(to []byte, n int) []byte {
		id := id(users, n)
		to = binary.BigEndian.AppendUint16(to, 9)
		to = field(to, id[:])
		to = field(to, username(n))
		return append(to, same...)
	}
}

func tokenRow(now time.Time) func([]byte, int) []byte {
	return func(to []byte, n int) []byte {
		id, user, digest := id(tokens, n), id(users, n), sha256.Sum256(key(n))
		to = binary.BigEndian.AppendUint16(to, 5)
		to = field(to, id[:])
		to = field(to, user[:])
		to = field(to, digest[:])
		to = field(to, instant(now))
		return field(to, instant(now))
	}
}

func field[T string | []byte](to []byte, value T) []byte {
	return append(binary.BigEndian.AppendUint32(to, uint32(len(value))), value...)
}

// instant is a time as PostgreSQL has it, in microseconds since 2000.
func instant(at time.Time) string {
	since := at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds()
	return string(binary.BigEndian.AppendUint64(nil, uint64(since)))
}

func username(n int) []byte { return strconv.AppendInt([]byte("user"), int64(n), 10) }

// key is that of the nth account's token.
func key(n int) []byte {
	sum := sha256.Sum256(append([]byte("key"), username(n)...))
	return hex.AppendEncode(nil, sum[:20])
}

// The tables that ids are of.
const (
	users uint64 = iota
	tokens
)

// id is that of the nth row of a table. It is a UUID of version 4, in no order, as those of a server are, and the same each time.
func id(table uint64, n int) (id uuid.UUID) {
	random := rand.NewPCG(table, uint64(n))
	binary.BigEndian.PutUint64(id[:8], random.Uint64())
	binary.BigEndian.PutUint64(id[8:], random.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// list writes the file of accounts, which are the same each time.
func list(t testing.TB, accounts, listed int) string {
	t.Helper()
	var text bytes.Buffer
	for _, n := range rand.New(rand.NewPCG(1, 2)).Perm(accounts)[:listed] {
		fmt.Fprintf(&text, "%s %s %s\n", id(users, n+1), key(n+1), username(n+1))
	}
	path := filepath.Join(t.TempDir(), "accounts")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
