package repository_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/repository"
	"github.com/rollbook/rollbook/test/testdb"
)

// stampsOf are the password stamps of the tokens of an account, in any order; that of none is "none".
func stampsOf(t *testing.T, db *repository.DB, user uuid.UUID) map[string]bool {
	t.Helper()
	stamps, err := db.Tokens(repository.Lifetimes{}).Stamps(t.Context(), []uuid.UUID{user})
	if err != nil || len(stamps) > 1 {
		t.Fatalf("%v, %v", stamps, err)
	}
	found := map[string]bool{}
	for _, stamp := range stamps[user] {
		text := "none"
		if stamp != nil {
			text = *stamp
		}
		found[text] = true
	}
	if len(found) != len(stamps[user]) {
		t.Errorf("a stamp is there twice: %v", found)
	}
	return found
}

// Tokens are deleted by the stamp that they have, of one account, also where there are more than a statement deletes.
func TestStamps(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, address string) {
		db, plain := testdb.Open(t, address), testdb.SQL(t, address)
		tokens := db.Tokens(repository.Lifetimes{})
		user, _ := create(t, db, newUser("anna"))
		other, _ := create(t, db, newUser("bela"))
		const many = 2500
		if _, err := plain.ExecContext(t.Context(), manyTokens[strings.HasPrefix(address, "postgres")], user.ID.String(), many); err != nil {
			t.Fatal(err)
		}
		old, current := "1", "2"
		if _, err := plain.ExecContext(t.Context(), "UPDATE tokens SET password_stamp = $1", old); err != nil {
			t.Fatal(err)
		}
		for _, stamp := range []*string{&current, nil} {
			token, _ := repository.NewToken(user.ID, "")
			token.PasswordStamp = stamp
			if err := tokens.SignIn(t.Context(), token, user.Password); err != nil {
				t.Fatal(err)
			}
		}
		want := func(when string, id uuid.UUID, want map[string]bool) {
			t.Helper()
			if got := stampsOf(t, db, id); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: got %v, want %v", when, got, want)
			}
		}
		want("at first", user.ID, map[string]bool{"1": true, "2": true, "none": true})
		for n, id := range []uuid.UUID{user.ID, other.ID} {
			_, err := plain.ExecContext(t.Context(), "INSERT INTO known_networks VALUES ($1, $2, $3)", []byte{byte(n)}, id.String(), 1<<62)
			if err != nil {
				t.Fatal(err)
			}
		}
		deleted, err := tokens.DeleteStamped(t.Context(), user.ID, old)
		ids := map[uuid.UUID]bool{}
		for _, id := range deleted {
			ids[id] = true
		}
		if err != nil || len(ids) != many+1 || len(deleted) != many+1 {
			t.Errorf("deleted %d tokens, %d of them different, %v", len(deleted), len(ids), err)
		}
		want("deleted", user.ID, map[string]bool{"2": true, "none": true})
		var known string
		if err := plain.QueryRowContext(t.Context(), "SELECT user_id FROM known_networks").Scan(&known); err != nil || known != other.ID.String() {
			t.Errorf("networks are known for %s, %v", known, err)
		}
		newest := "3"
		if err := tokens.AddStamps(t.Context(), []repository.Stamp{{UserID: user.ID, PasswordStamp: &newest}, {UserID: other.ID, PasswordStamp: &newest}}); err != nil {
			t.Fatal(err)
		}
		want("added", user.ID, map[string]bool{"2": true, "3": true})
		want("another account", other.ID, map[string]bool{"1": true})
		if left := tokensOf(t, plain, user.ID); len(left) != 2 {
			t.Errorf("%d tokens are left", len(left))
		}
	})
}
