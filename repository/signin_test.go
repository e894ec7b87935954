package repository_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
)

// manyLimits are lifetimes of each kind.
var manyLimits = []repository.Lifetimes{
	{}, {Idle: time.Hour}, {Absolute: time.Hour}, {Idle: time.Hour, Absolute: 2 * time.Hour}, {Idle: 2 * time.Hour, Absolute: time.Hour},
}

// A sign-in clears away the account's tokens that are dead, and no others.
func TestDeadTokensAreRemoved(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		db, plain := testdb.Open(t, address), testdb.SQL(t, address)
		other, all := createWithTokens(t, db, plain, "other")
		for n, limits := range manyLimits {
			user, _ := createWithTokens(t, db, plain, fmt.Sprint("user", n))
			alive, err := db.Tokens(limits).Of(t.Context(), user.ID)
			if err != nil {
				t.Fatal(err)
			}
			token, _ := repository.NewToken(user.ID, "")
			if err := db.Tokens(limits).SignIn(t.Context(), token, user.Password); err != nil {
				t.Fatal(err)
			}
			want := []uuid.UUID{token.ID}
			for _, token := range alive {
				want = append(want, token.ID)
			}
			if left := tokensOf(t, plain, user.ID); !sameIDs(left, want) {
				t.Errorf("%+v: %d tokens are left, want the %d that were alive and the new one", limits, len(left), len(alive))
			}
		}
		if left := tokensOf(t, plain, other.ID); !sameIDs(left, all) {
			t.Errorf("of the %d of another account, %d are left", len(all), len(left))
		}
	})
}

// createWithTokens stores an account with tokens of each age, used and unused since, that end in each way.
func createWithTokens(t *testing.T, db *repository.DB, plain *sql.DB, name string) (user repository.User, tokens []uuid.UUID) {
	t.Helper()
	user, _ = create(t, db, newUser(name))
	past, future := db.Now().Add(-time.Minute), db.Now().Add(time.Minute)
	for _, age := range []time.Duration{time.Minute, 90 * time.Minute, 3 * time.Hour} {
		for _, expires := range []*time.Time{nil, &past, &future} {
			for _, client := range []string{"used", "unused"} {
				token := repository.ImportedToken(user.ID, repository.Digest(uuid.NewString()), db.Now().Add(-age), expires)
				token.Client = client
				if err := db.Tokens(repository.Lifetimes{}).Create(t.Context(), token); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if _, err := plain.ExecContext(t.Context(), "UPDATE tokens SET last_used_at = created_at WHERE client = 'unused'"); err != nil {
		t.Fatal(err)
	}
	return user, tokensOf(t, plain, user.ID)
}

// tokensOf are the ids of an account's tokens, alive or not.
func tokensOf(t *testing.T, plain *sql.DB, user uuid.UUID) (ids []uuid.UUID) {
	t.Helper()
	rows, err := plain.QueryContext(t.Context(), "SELECT id FROM tokens WHERE user_id = $1", user.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // its error is that of Err, too
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// sameIDs tells whether two lists have the same in them, in whatever order.
func sameIDs(a, b []uuid.UUID) bool {
	byText := func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), byText), slices.SortedFunc(slices.Values(b), byText))
}

// manyTokens gives the account $1 as many tokens more as $2 says, on PostgreSQL (true) and SQLite.
var manyTokens = map[bool]string{
	true: `INSERT INTO tokens (id, user_id, digest, created_at, last_used_at)
		SELECT gen_random_uuid(), $1, decode(md5(n::text), 'hex'), now(), now() FROM generate_series(1, $2) AS n`,
	false: `WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $2)
		INSERT INTO tokens (id, user_id, digest, created_at, last_used_at)
		SELECT lower(hex(randomblob(16))), $1, randomblob(32), t.created_at, t.last_used_at FROM numbers, tokens t WHERE t.user_id = $1`,
}

// A sign-in takes as long where an account has very many tokens, as programs that log in for each thing they do may have.
func TestLongSignInAmongManyTokens(t *testing.T) {
	need.Long(t)
	testdb.Each(t, func(t *testing.T, address string) {
		db := testdb.Open(t, address)
		many, _ := create(t, db, newUser("many"))
		few, _ := create(t, db, newUser("few"))
		if _, err := testdb.SQL(t, address).ExecContext(t.Context(), manyTokens[strings.HasPrefix(address, "postgres")], many.ID.String(), 50_000); err != nil {
			t.Fatal(err)
		}
		for _, limits := range manyLimits {
			const times = 15
			took := map[uuid.UUID][]time.Duration{}
			for range times {
				for _, user := range []repository.User{many, few} {
					token, _ := repository.NewToken(user.ID, "")
					began := time.Now()
					if err := db.Tokens(limits).SignIn(t.Context(), token, user.Password); err != nil {
						t.Fatal(err)
					}
					took[user.ID] = append(took[user.ID], time.Since(began))
				}
			}
			slices.Sort(took[many.ID])
			slices.Sort(took[few.ID])
			if among, alone := took[many.ID][times/2], took[few.ID][times/2]; among > 5*alone {
				t.Errorf("%+v: a sign-in takes %s among many tokens, and %s else", limits, among, alone)
			}
		}
	})
}

// A sign-in that was under way when the password changed, or the account was deactivated, does not come about; nor does
// a change of a password that is no longer the one that was verified.
func TestStaleSignIns(t *testing.T) {
	each(t, func(t *testing.T, db *repository.DB) {
		tokens := db.Tokens(repository.Lifetimes{})
		user, _ := create(t, db, newUser("richard"))
		signIn := func(encoded string) error {
			token, key := repository.NewToken(user.ID, "")
			err := tokens.SignIn(t.Context(), token, encoded)
			wantAlive(t, tokens, map[string]bool{key: err == nil})
			return err
		}
		if err := signIn(user.Password); err != nil {
			t.Fatal(err)
		}
		if err := db.Users().ChangePassword(t.Context(), user.ID, user.Password, "another", uuid.Nil); err != nil {
			t.Fatal(err)
		}
		if err := signIn(user.Password); !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("with the old password: %v", err)
		}
		if err := db.Users().ChangePassword(t.Context(), user.ID, user.Password, "a thief's", uuid.Nil); !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("a change from the old password: %v", err)
		}
		if err := signIn("another"); err != nil {
			t.Error(err)
		}
		if err := db.Users().SetActive(t.Context(), user.ID, false); err != nil {
			t.Fatal(err)
		}
		if err := signIn("another"); !errors.Is(err, repository.ErrNotFound) {
			t.Errorf("of an inactive account: %v", err)
		}
	})
}

// A sign-in that finds a change of the password under way waits for it, so that it cannot make a token that the change does not see.
func TestSignInWaitsForPasswordChange(t *testing.T) {
	address := testdb.Postgres(t)
	db := testdb.Open(t, address)
	user, _ := create(t, db, newUser("richard"))
	change, err := testdb.SQL(t, address).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := change.ExecContext(t.Context(), "UPDATE users SET password = 'another'"); err != nil {
		t.Fatal(err)
	}
	signedIn := make(chan error, 1)
	go func() {
		token, _ := repository.NewToken(user.ID, "")
		signedIn <- db.Tokens(repository.Lifetimes{}).SignIn(t.Context(), token, user.Password)
	}()
	select {
	case err := <-signedIn:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := change.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-signedIn; !errors.Is(err, repository.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}
