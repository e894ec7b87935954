package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/password"
	"github.com/rollbook/rollbook/repository"
)

// maxRounds is how often a password is verified where its account changes after each verification.
const maxRounds = 5

// errChanges means that an account changed after each of maxRounds verifications.
var errChanges = fmt.Errorf("the account keeps changing: %w", password.ErrBusy)

// logIn verifies credentials and stores a token. Where the account changes in between, as when another login renews the
// encoding of its password, they are verified again. It is errBadCredentials where they are wrong; the account is also
// returned then, if it is known.
func (s *Server) logIn(ctx context.Context, a *attempt, c *gen.Credentials) (user repository.User, key string, err error) {
	user, stamp, err := s.verify(ctx, a, c)
	for range maxRounds {
		if err != nil {
			return user, "", err
		}
		key, err = s.signIn(ctx, user, stamp)
		if !errors.Is(err, repository.ErrNotFound) {
			return user, key, err
		}
		user, err = s.verifyAgain(ctx, user, c)
	}
	if err == nil {
		err = errChanges
	}
	return user, "", err
}

// verify returns the account that has these credentials, or errBadCredentials. With a directory, each refusal takes the
// verification of one encoding and one question to the directory, whichever of the two knows the password: the other one gets
// a decoy. A success does not wait for the decoy. A refusal whose decoy failed says so as well, so that a directory that is
// away does not show which names are local. It also returns the directory's password stamp, if it has one.
func (s *Server) verify(ctx context.Context, a *attempt, c *gen.Credentials) (user repository.User, stamp string, err error) {
	user, err = s.users.ByUsername(ctx, c.Username)
	if err != nil && !errors.Is(err, repository.ErrNotFound) {
		return repository.User{}, "", err
	}
	if s.directory == nil {
		return user, "", s.verifyLocal(ctx, user, c)
	}
	// The slot comes first: if there is none, nothing about the name was looked at, and nothing sent to the directory.
	slot, err := s.hasher.Reserve(ctx)
	if err != nil {
		return user, "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	decoy := make(chan error, 1)
	if s.ofDirectory(user) {
		go func() {
			failed := s.verifyIn(ctx, slot, repository.User{}, c)
			slot.Release() // before anybody can wait for it
			decoy <- failed
		}()
		user, stamp, err = s.verifyByDirectory(ctx, a, c)
	} else {
		go func() { decoy <- s.askDirectory(ctx, c.Username) }()
		err = s.verifyIn(ctx, slot, user, c)
		slot.Release()
	}
	if errors.Is(err, errBadCredentials) {
		if failed := <-decoy; failed != nil && !errors.Is(failed, errBadCredentials) {
			err = fmt.Errorf("%w, and the decoy: %w", err, failed)
		}
	}
	return user, stamp, err
}

// verifyAgain verifies credentials that were right a moment ago, after the account changed. The directory is not asked again.
func (s *Server) verifyAgain(ctx context.Context, user repository.User, c *gen.Credentials) (repository.User, error) {
	if s.ofDirectory(user) {
		user.ID = uuid.New() // of another account, where this one was deleted
		return s.adopt(ctx, user)
	}
	now, err := s.users.ByID(ctx, user.ID)
	if err != nil && !errors.Is(err, repository.ErrNotFound) {
		return user, err
	}
	return now, s.verifyLocal(ctx, now, c)
}

// verifyLocal is errBadCredentials unless the account is a local and active one with this password.
func (s *Server) verifyLocal(ctx context.Context, user repository.User, c *gen.Credentials) error {
	slot, err := s.hasher.Reserve(ctx)
	if err != nil {
		return err
	}
	defer slot.Release()
	return s.verifyIn(ctx, slot, user, c)
}

// verifyIn is verifyLocal in a slot.
func (s *Server) verifyIn(ctx context.Context, slot password.Slot, user repository.User, c *gen.Credentials) error {
	ok, err := s.hasPassword(ctx, slot, user, c.Username, c.Password)
	if err == nil && (!ok || !user.IsActive) {
		err = errBadCredentials
	}
	return err
}

// hasPassword reports whether a local account has a password. Where it has none that can be verified, the decoy of the username
// is verified instead.
func (s *Server) hasPassword(
	ctx context.Context, slot password.Slot, user repository.User, username, plain string,
) (bool, error) {
	decoy := s.decoys.For(username) // for each name, so that the choice takes no time of its own
	if user.DirectoryID == nil && password.IsSet(user.Password) {
		ok, err := slot.Verify(user.Password, plain)
		if !errors.Is(err, password.ErrMalformed) {
			return ok, err
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "unreadable password", slog.String("account", user.ID.String()), slog.Any("error", err))
	}
	_, err := slot.Verify(decoy, plain)
	return false, err
}

// askDirectory asks the directory about a name and a password that nobody has, and is errBadCredentials if it answers. It sends
// nothing that a client typed.
func (s *Server) askDirectory(ctx context.Context, username string) error {
	_, err := s.directory.Authenticate(ctx, rand.Text(), rand.Text(), func(ctx context.Context, _ string) error {
		if s.limits == nil {
			return nil
		}
		networks, limits := s.decoyLimits(ctx, username)
		_, err := s.limits.Take(ctx, networks, limits...)
		return err
	})
	if errors.Is(err, directory.ErrCredentials) || errors.Is(err, directory.ErrUnusable) {
		return errBadCredentials
	}
	return err
}

// signIn makes a token for an account whose password was verified. It is repository.ErrNotFound where the account has another
// encoded password by now, or is no longer active.
func (s *Server) signIn(ctx context.Context, user repository.User, stamp string) (key string, err error) {
	token, key := repository.NewToken(user.ID, callerOf(ctx).client)
	if stamp != "" {
		token.PasswordStamp = &stamp
	}
	if err := s.tokens.SignIn(ctx, token, user.Password); err != nil {
		return "", err
	}
	callerOf(ctx).identified = user.ID
	s.audit(ctx, EventSignedIn, user.ID, TokenAttr(token.ID))
	return key, nil
}
