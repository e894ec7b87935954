package repository

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// firstReleased is the newest migration of before the first release, up to which nothing needed to be kept.
const firstReleased = "0005"

// contracting are the migrations that take something away which no server of the release before them uses.
var contracting = map[string]bool{}

var (
	// takesAway is what a server of the release before may not be able to go on with.
	takesAway = regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN)|ALTER\s+TABLE\s+\w+\s+DROP|RENAME|ADD\s+(CONSTRAINT|CHECK|UNIQUE|FOREIGN|PRIMARY)|CREATE\s+UNIQUE\s+INDEX|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE)\b`)
	// demands is a column that it would not write.
	demands = regexp.MustCompile(`(?i)\bADD\s+(COLUMN\s+)?\w+\b[^;,]*\bNOT\s+NULL\b[^;,]*`)
	// unique is an index over one column.
	unique    = regexp.MustCompile(`(?i)\bCREATE\s+UNIQUE\s+INDEX\s+\w+\s+ON\s+\w+\s+\((\w+)\)`)
	byDefault = regexp.MustCompile(`(?i)\bDEFAULT\b`)
)

// unexpanding returns what in a migration, on its way up, is more than an addition.
func unexpanding(migration string) []string {
	up, _, _ := strings.Cut(migration, "-- +goose Down")
	for _, index := range unique.FindAllStringSubmatch(up, -1) {
		if strings.Contains(up, "ADD COLUMN "+index[1]+" ") { // it is empty in all that the release before writes
			up = strings.ReplaceAll(up, index[0], "")
		}
	}
	found := takesAway.FindAllString(up, -1)
	for _, column := range demands.FindAllString(up, -1) {
		if !byDefault.MatchString(column) {
			found = append(found, column)
		}
	}
	return found
}

// A server of the release before goes on serving while a newer one migrates: docs/operating.md, "Upgrading and going back".
func TestMigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	seen := 0
	err := fs.WalkDir(migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		seen++
		if entry.Name()[:len(firstReleased)] <= firstReleased || contracting[entry.Name()] {
			return nil
		}
		text, err := fs.ReadFile(migrations, path)
		if faults := unexpanding(string(text)); len(faults) > 0 {
			t.Errorf("%s does more than add: %q", path, faults)
		}
		return err
	})
	if err != nil || seen < 10 {
		t.Errorf("%d migrations were read: %v", seen, err)
	}
}

func TestWhatMigrationsMayNotDo(t *testing.T) {
	t.Parallel()
	for migration, allowed := range map[string]bool{
		"ALTER TABLE users ADD COLUMN nickname text;":                                    true,
		"ALTER TABLE users ADD COLUMN nickname text NOT NULL DEFAULT '';":                true,
		"CREATE TABLE a (b text NOT NULL UNIQUE); CREATE INDEX c ON a (b);":              true,
		"ALTER TABLE a ADD COLUMN b text;\n-- +goose Down\nALTER TABLE a DROP COLUMN b;": true,
		"ALTER TABLE a ADD COLUMN b text; CREATE UNIQUE INDEX c ON a (b);":               true,
		"ALTER TABLE a ADD COLUMN b text; CREATE UNIQUE INDEX c ON a (d);":               false,
		"ALTER TABLE users ADD COLUMN nickname text NOT NULL;":                           false,
		"alter table users add column nickname text not null;":                           false,
		"ALTER TABLE users\n    DROP COLUMN email;":                                      false,
		"DROP TABLE codes;":                                        false,
		"ALTER TABLE users DROP email;":                            false,
		"ALTER TABLE users ADD nickname text NOT NULL;":            false,
		"ALTER TABLE users ADD CHECK (email <> '');":               false,
		"ALTER TABLE users ADD UNIQUE (email);":                    false,
		"ALTER TABLE users RENAME COLUMN email TO mail;":           false,
		"ALTER TABLE tokens ALTER COLUMN expires_at SET NOT NULL;": false,
		"ALTER TABLE users ALTER COLUMN email TYPE varchar(9);":    false,
		"ALTER TABLE users ADD CONSTRAINT c CHECK (email <> '');":  false,
		"CREATE UNIQUE INDEX users_email_idx ON users (email);":    false,
	} {
		if faults := unexpanding(migration); (len(faults) == 0) != allowed {
			t.Errorf("%s: %q", migration, faults)
		}
	}
}
