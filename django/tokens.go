package django

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/rollbook/rollbook/repository"
)

// readTokens reads a page of tokens, as their hashes, with the keys of their users. Those that have expired, or are of users
// who are not active, do not count.
func (i *importer) readTokens(t table, rows [][]any) (tokens []repository.Token, users [][]byte, err error) {
	for _, values := range rows {
		if !truth(values[4]) {
			continue
		}
		digest := repository.Digest(text(values[0]))
		if t.name == knoxTable {
			var ok bool
			if digest, ok = knoxDigest(values[0]); !ok {
				if err := i.leaveTokenOut(t, text(values[1]), "its digest is no SHA-512"); err != nil {
					return nil, nil, err
				}
				continue
			}
		}
		created, _ := moment(values[2]) // without one it is now
		token := repository.Token{Digest: digest, CreatedAt: created}
		if expires, ok := moment(values[3]); ok {
			if token.ExpiresAt = &expires; expires.Before(i.DB.Now()) {
				continue
			}
		}
		tokens, users = append(tokens, token), append(users, []byte(text(values[1])))
	}
	return tokens, users, nil
}

// takeTokens takes a page of tokens over, of which only hashes are stored.
func (i *importer) takeTokens(ctx context.Context, t table, rows [][]any) error {
	slices.SortFunc(i.left, compareKeys)
	tokens, users, err := i.readTokens(t, rows)
	if err != nil {
		return err
	}
	var digests [][]byte
	for _, token := range tokens {
		digests = append(digests, token.Digest)
	}
	i.present[t.name] = i.present[t.name].with(digests...)
	known, err := i.DB.Imports(t.name).Of(ctx, digests)
	if err != nil {
		return err
	}
	owners, err := i.DB.Imports(i.users.name).Of(ctx, users)
	if err != nil {
		return err
	}
	var fresh []repository.Token
	var remember []repository.Import
	for n, token := range tokens {
		row := repository.Import{Key: token.Digest, Digest: expiryDigest(token.ExpiresAt)}
		if before, there := known[string(token.Digest)]; there {
			if err := i.keepToken(ctx, t, token, row, before); err != nil {
				return err
			}
			continue
		}
		owner, there := owners[string(users[n])]
		if !there && (!i.DryRun || i.left.has(users[n])) {
			if err := i.leaveTokenOut(t, string(users[n]), "its user was left out"); err != nil {
				return err
			}
			continue
		}
		fresh = append(fresh, repository.ImportedToken(owner.UserID, token.Digest, token.CreatedAt, token.ExpiresAt))
		row.UserID = owner.UserID
		remember = append(remember, row)
	}
	stored := fresh
	if !i.DryRun {
		if stored, err = i.DB.Imports(t.name).Tokens(ctx, fresh, remember); err != nil {
			return err
		}
	}
	for _, token := range stored {
		i.changed(Change{Account: token.UserID, Result: Added, Token: true, TokenID: token.ID})
	}
	i.counts.add(t.name, Added, len(stored))
	i.advance(len(rows))
	if inactive := len(fresh) - len(stored); inactive > 0 {
		i.counts.add(t.name, LeftOut, inactive)
		return i.Report(Row{Table: t.name, Result: LeftOut, Reason: fmt.Sprintf("%d tokens are of accounts that are not active here", inactive)})
	}
	return nil
}

// keepToken carries over when a token that was taken over ends by now.
func (i *importer) keepToken(ctx context.Context, t table, token repository.Token, row, before repository.Import) error {
	if string(before.Digest) == string(row.Digest) {
		i.counts.add(t.name, Unchanged, 1)
		return nil
	}
	i.counts.add(t.name, Changed, 1)
	if i.DryRun {
		return nil
	}
	if err := i.DB.Imports(t.name).Expire(ctx, token.ExpiresAt, row); err != nil {
		return err
	}
	i.changed(Change{Account: before.UserID, Result: Changed, Token: true})
	return nil
}

// expiryDigest is what is remembered of when a token ends.
func expiryDigest(expires *time.Time) []byte {
	if expires == nil {
		return []byte{}
	}
	return digestsOf(expires.String())
}

// leaveTokenOut reports a token by its user: it is a secret itself.
func (i *importer) leaveTokenOut(t table, user, reason string) error {
	i.counts.add(t.name, LeftOut, 1)
	return i.Report(Row{Table: t.name, Key: "of user " + user, Result: LeftOut, Reason: reason})
}

// shortKey stands for a key, in little room.
type shortKey [16]byte

func shorten(key []byte) shortKey {
	sum := sha256.Sum256(key)
	return shortKey(sum[:])
}

// keySet is a set of keys. It is sorted when it is asked.
type keySet []shortKey

func (s keySet) with(keys ...[]byte) keySet {
	for _, key := range keys {
		s = append(s, shorten(key))
	}
	return s
}

func compareKeys(a, b shortKey) int { return bytes.Compare(a[:], b[:]) }

func (s keySet) has(key []byte) bool {
	_, found := slices.BinarySearchFunc(s, shorten(key), compareKeys)
	return found
}

// gone hands on what was taken over from a table and is not there any more, so much at a time, and returns how much was
// taken over in all.
func (i *importer) gone(ctx context.Context, table string, f func([]repository.Import) error) (all int, err error) {
	present := i.present[table]
	slices.SortFunc(present, compareKeys)
	for last := []byte{}; ; {
		rows, err := i.DB.Imports(table).After(ctx, last, pageRows)
		if err != nil {
			return all, err
		}
		all += len(rows)
		var missing []repository.Import
		for _, row := range rows {
			if !present.has(row.Key) {
				missing = append(missing, row)
			}
		}
		if err := f(missing); err != nil {
			return all, err
		}
		if len(rows) < pageRows {
			return all, nil
		}
		last = rows[len(rows)-1].Key
	}
}

// checkGone refuses, before anything is changed, where too many of the accounts that were taken over are gone in Django, or
// are others by now: it may be the wrong database.
func (i *importer) checkGone(ctx context.Context) error {
	if before, err := i.DB.Imports(i.users.name).After(ctx, nil, 1); err != nil || len(before) == 0 {
		return err
	}
	others := 0
	err := i.source.each(ctx, i.users, func(rows [][]any) error {
		people, keys := i.readAll(rows)
		i.present[i.users.name] = i.present[i.users.name].with(keys...)
		known, err := i.DB.Imports(i.users.name).Of(ctx, keys)
		for _, p := range people {
			if before, there := known[p.key]; there && p.another(before) {
				others++
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	missing := 0
	all, err := i.gone(ctx, i.users.name, func(rows []repository.Import) error {
		missing += len(rows)
		return nil
	})
	if err == nil && float64(missing+others) > i.MostGone*float64(all) {
		err = fmt.Errorf("of %d accounts that were taken over %d are gone in Django, and %d have joined at another time: is it the right database? More than %.0f %% must be allowed first, and nothing was changed",
			all, missing, others, 100*i.MostGone)
	}
	return err
}

// removeGone removes here what is gone in Django.
func (i *importer) removeGone(ctx context.Context, table string, tokens bool) error {
	var missing []repository.Import
	_, err := i.gone(ctx, table, func(rows []repository.Import) error {
		missing = append(missing, rows...)
		return nil
	})
	if err != nil {
		return err
	}
	i.counts.add(table, Removed, len(missing))
	if i.DryRun {
		for _, row := range missing {
			i.going[row.UserID] = !tokens
		}
		return nil
	}
	for chunk := range slices.Chunk(missing, pageRows) {
		if err := i.DB.Imports(table).Forget(ctx, chunk, tokens); err != nil {
			return err
		}
		for _, row := range chunk {
			i.changed(Change{Account: row.UserID, Result: Removed, Token: tokens})
		}
	}
	return nil
}
