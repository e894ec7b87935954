package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/directory"
	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/repository"
)

// ofDirectory tells whether the directory knows the password of an account: where it has one, and of names that no account has.
func (s *Server) ofDirectory(user repository.User) bool {
	return s.directory != nil && (user.ID == uuid.Nil || user.DirectoryID != nil)
}

// verifyByDirectory returns the account of who has these credentials in the directory, and makes it where there is none, or
// errBadCredentials, and their password stamp. The directory's own words are for the operator.
func (s *Server) verifyByDirectory(
	ctx context.Context, a *attempt, c *gen.Credentials,
) (_ repository.User, stamp string, _ error) {
	person, err := s.directory.Authenticate(ctx, c.Username, c.Password, func(ctx context.Context, id string) error {
		networks, limits := s.entryLimits(ctx, c.Username, id) // the entry may have other names, with limits of their own
		return s.admit(ctx, a, networks, limits)
	})
	if errors.Is(err, directory.ErrCredentials) {
		return repository.User{}, "", errBadCredentials
	}
	if errors.Is(err, directory.ErrNotAdmitted) {
		return repository.User{}, "", err
	}
	var wanted repository.User
	if err == nil {
		wanted, err = s.accountOf(ctx, person)
	}
	if err != nil {
		s.directoryLog.warn(ctx, "directory", slog.Any("error", err))
	}
	switch {
	case errors.Is(err, directory.ErrUnusable):
		return repository.User{}, "", errBadCredentials
	case err != nil:
		return repository.User{}, "", err
	}
	user, err := s.adopt(ctx, wanted)
	return user, person.PasswordStamp, err
}

// adopt returns the account of a person in the directory, made or changed as the directory says, or errBadCredentials.
func (s *Server) adopt(ctx context.Context, wanted repository.User) (repository.User, error) {
	user, how, changed, err := s.users.FromDirectory(ctx, wanted)
	if errors.Is(err, repository.ErrUsernameTaken) { // by a local account, or that of somebody else in the directory
		s.audit(ctx, EventNameTaken, s.holder(ctx, wanted.Username))
		return repository.User{}, errBadCredentials
	}
	if err != nil {
		return repository.User{}, err
	}
	callerOf(ctx).identified = user.ID
	switch how {
	case repository.New:
		s.audit(ctx, EventRegistered, user.ID)
	case repository.Back:
		s.audit(ctx, EventActivated, user.ID)
	}
	if len(changed) > 0 {
		what, fields := ProfileEvent(changed...)
		s.audit(ctx, what, user.ID, fields)
	}
	if !user.IsActive {
		err = errBadCredentials
	}
	return user, err
}

// accountOf is the account of a person, as far as the contract allows what the directory says of them: a name or an address that it
// does not is left out. Without a username, it is directory.ErrUnusable.
func (s *Server) accountOf(ctx context.Context, p directory.Person) (repository.User, error) {
	fields, wrong, err := s.rules.Check(ctx, map[string]string{
		"username": p.Username, "first_name": p.FirstName, "last_name": p.LastName, "email": p.Email,
	})
	if err != nil {
		return repository.User{}, err
	}
	if messages := wrong["username"]; len(messages) > 0 {
		return repository.User{}, fmt.Errorf("%w: its username: %s", directory.ErrUnusable, strings.Join(messages, " "))
	}
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "not taken over from the directory", slog.String("field", name), slog.String("person", p.ID))
		fields[name] = ""
	}
	user := NewUser(fields["username"], fields["first_name"], fields["last_name"], fields["email"])
	user.DirectoryID = &p.ID
	return user, nil
}

// holder returns who has a username, for the audit alone.
func (s *Server) holder(ctx context.Context, username string) uuid.UUID {
	user, err := s.users.ByUsername(ctx, username)
	if err != nil {
		s.directoryLog.warn(ctx, "directory", slog.Any("error", err))
	}
	return user.ID
}
