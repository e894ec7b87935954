package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// copied are the tables that Copy carries over: accounts before what refers to them. A migration that adds a table adds it here.
var copied = []any{&User{}, &Token{}, &Code{}, &throttle{}, &secret{}, &Import{}, &job{}, &limit{}, &knownNetwork{}}

// throttle is a rate limit of servers of the release before, which may still run.
type throttle struct {
	Key       []byte `gorm:"primaryKey"`
	Count     int
	Until     time.Time
	ExpiresAt time.Time
}

// copiedAtOnce is how many rows are read and stored with one statement each.
const copiedAtOnce = 1000

// snapshot makes a transaction see the database as it is at its first statement, and keep no writer waiting, also on SQLite:
// what is read-only there does not begin as sqliteOptions say.
var snapshot = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}

// TableCount is how many rows a table has.
type TableCount struct {
	Table string
	Rows  int64
}

// Copy stores every row of a database in another, which must hold no row, and which it migrates, and returns how many there are of
// each table. Both are as this release has them: what a newer one has added would be left out. The rows are those of one moment;
// who writes to the source meanwhile is not kept waiting. It copies all or nothing: where there is an error the target is as it
// was, or the answer was lost that all is there, and another copy is refused. Each batch of rows has the time that a call has; all
// of them, and counting them, have that of the context. Progress, where it is not nil, is told how many of all rows are stored.
func Copy(ctx context.Context, from, to *DB, progress func(done, of int64)) ([]TableCount, error) {
	if from.dialect.identity == to.dialect.identity {
		return nil, fmt.Errorf("%s is the database to copy from: name another one to copy to", to.Name())
	}
	tables, err := copiedTables()
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, from, to, tables); err != nil {
		return nil, err
	}
	read := from.gorm.WithContext(ctx).Begin(snapshot)
	if read.Error != nil {
		return nil, fmt.Errorf("read %s: %w", from.Name(), from.named(read.Error))
	}
	defer func() { _ = read.Rollback() }() // it was only read
	counts, err := countRows(read, tables)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from.Name(), from.named(err))
	}
	if total(counts) == 0 {
		return nil, fmt.Errorf("%s is empty: there is nothing to copy", from.Name())
	}
	c := copying{from: from, to: to, read: read, counts: counts, progress: progress}
	// Not with do: what the database has given up would be copied again from the first row on, and the time of a call is too short.
	err = to.gorm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		c.write = tx.Session(&gorm.Session{SkipHooks: true}) // a token's would say that it was used now
		if err := c.all(ctx, tables); err != nil {
			return fmt.Errorf("%w; it was left as it was", err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrUnavailable) { // which the source's errors may be already
		err = to.named(err)
	}
	if err != nil {
		return nil, fmt.Errorf("copy to %s: %w", to.Name(), err)
	}
	return counts, nil
}

// prepare makes the target's tables as the source's are. A target that has accounts is left alone, be it older.
func prepare(ctx context.Context, from, to *DB, tables []*schema.Schema) error {
	at, known, err := from.Versions(ctx)
	if err != nil {
		return err
	}
	if at != known {
		return fmt.Errorf("%s is at version %d, and this release knows %d: copy with the release that migrated it", from.Name(), at, known)
	}
	missing := func(table *schema.Schema) bool { return !to.gorm.WithContext(ctx).Migrator().HasTable(table.Table) }
	counts, err := countRows(to.gorm.WithContext(ctx), slices.DeleteFunc(slices.Clone(tables), missing))
	if err == nil {
		err = wantEmpty(counts)
	}
	if err != nil {
		return fmt.Errorf("copy to %s: %w; it was left as it was", to.Name(), to.named(err))
	}
	if _, err := to.Migrate(ctx); err != nil {
		return err
	}
	at, known, err = to.Versions(ctx)
	if err == nil && at != known {
		return fmt.Errorf("%s is at version %d, and this release knows %d: name a fresh database", to.Name(), at, known)
	}
	return err
}

// wantEmpty refuses tables with rows.
func wantEmpty(counts []TableCount) error {
	if total(counts) == 0 {
		return nil
	}
	full := slices.DeleteFunc(slices.Clone(counts), func(count TableCount) bool { return count.Rows == 0 })
	return fmt.Errorf("it is not empty, but has %s: name a fresh database", listed(full))
}

// copiedTables are the tables as GORM sees them.
func copiedTables() ([]*schema.Schema, error) {
	var tables []*schema.Schema
	for _, model := range copied {
		table, err := schema.Parse(model, &sync.Map{}, schema.NamingStrategy{})
		if err != nil {
			return nil, fmt.Errorf("model of a table: %w", err)
		}
		tables = append(tables, table)
	}
	return tables, nil
}

// countRows takes as long as its context allows: it goes through all rows.
func countRows(tx *gorm.DB, tables []*schema.Schema) ([]TableCount, error) {
	var counts []TableCount
	for _, table := range tables {
		count := TableCount{Table: table.Table}
		if err := tx.Table(table.Table).Count(&count.Rows).Error; err != nil {
			return nil, fmt.Errorf("count %s: %w", table.Table, err)
		}
		counts = append(counts, count)
	}
	return counts, nil
}

func total(counts []TableCount) (rows int64) {
	for _, count := range counts {
		rows += count.Rows
	}
	return rows
}

// copying is a copy under way: a transaction at each of its ends.
type copying struct {
	from, to    *DB
	read, write *gorm.DB
	counts      []TableCount // of the source
	done        int64
	progress    func(done, of int64)
}

// all copies the tables to where nothing is, and compares how many rows there are then.
func (c *copying) all(ctx context.Context, tables []*schema.Schema) error {
	before, err := countRows(c.write, tables)
	if err != nil {
		return err
	}
	if err := wantEmpty(before); err != nil { // still
		return err
	}
	for _, table := range tables {
		if err := c.table(ctx, table); err != nil {
			return fmt.Errorf("%s: %w", table.Table, err)
		}
	}
	after, err := countRows(c.write, tables)
	if err != nil {
		return err
	}
	if !slices.Equal(after, c.counts) {
		return fmt.Errorf("it has %s, but there are %s to copy", listed(after), listed(c.counts))
	}
	return nil
}

// listed is how many rows the tables have, in words.
func listed(counts []TableCount) string {
	var parts []string
	for _, count := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", count.Rows, count.Table))
	}
	return strings.Join(parts, ", ")
}

// table copies the rows of a table in the order of its primary key.
func (c *copying) table(ctx context.Context, table *schema.Schema) error {
	if len(table.PrimaryFields) == 0 {
		return errors.New("it has no primary key")
	}
	for last := (reflect.Value{}); ; {
		rows, err := c.after(ctx, table, last)
		if err != nil {
			return fmt.Errorf("read: %w", c.from.named(err))
		}
		n := rows.Elem().Len()
		if n == 0 {
			return nil
		}
		if err := c.store(ctx, rows); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		c.done += int64(n)
		if c.progress != nil {
			c.progress(c.done, total(c.counts))
		}
		last = rows.Elem().Index(n - 1)
	}
}

// after reads the next rows of a table behind the last one, which is no value at first, as a pointer to a slice of its model.
func (c *copying) after(ctx context.Context, table *schema.Schema, last reflect.Value) (reflect.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, c.from.timeout)
	defer cancel()
	key := strings.Join(table.PrimaryFieldDBNames, ", ")
	query := c.read.WithContext(ctx).Order(key).Limit(copiedAtOnce)
	if last.IsValid() {
		var values []any
		for _, field := range table.PrimaryFields {
			value, _ := field.ValueOf(ctx, last)
			values = append(values, value)
		}
		query = query.Where("("+key+") > ?", values)
	}
	rows := reflect.New(reflect.SliceOf(table.ModelType))
	return rows, query.Find(rows.Interface()).Error
}

func (c *copying) store(ctx context.Context, rows reflect.Value) error {
	ctx, cancel := context.WithTimeout(ctx, c.to.timeout)
	defer cancel()
	return c.write.WithContext(ctx).Create(rows.Interface()).Error
}
