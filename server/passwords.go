package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/repository"
)

// ChangePassword needs the password so far, and ends every other sign-in of the account.
func (s *Server) ChangePassword(ctx context.Context, req gen.ChangePasswordRequestObject) (gen.ChangePasswordResponseObject, error) {
	by := callerOf(ctx)
	user, err := s.users.ByID(ctx, by.user.ID)
	if err != nil {
		return nil, err
	}
	if user.DirectoryID != nil {
		return nil, newDetail(http.StatusForbidden, s.passwordElsewhere)
	}
	err = s.attempt(ctx, user.Username, func() (uuid.UUID, error) { // it is as good for guessing as a login
		return by.user.ID, s.changePassword(ctx, user, by.token, req.JSONBody)
	})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, EventPasswordChanged, by.user.ID)
	return gen.ChangePassword204Response{}, nil
}

// changePassword is errCurrentPassword where the account has another password. Where the account changes after its password was
// verified, as when a login renews the encoding, the password is verified again.
func (s *Server) changePassword(ctx context.Context, user repository.User, keep uuid.UUID, change *gen.PasswordChange) error {
	encoded := ""
	for range maxRounds {
		ok, err := s.hasPassword(ctx, user, user.Username, change.CurrentPassword)
		if err == nil && !ok {
			err = errCurrentPassword
		}
		if err == nil && encoded == "" {
			encoded, err = s.hasher.Encode(ctx, change.NewPassword)
		}
		if err != nil {
			return err
		}
		err = s.users.ChangePassword(ctx, user.ID, user.Password, encoded, keep)
		if !errors.Is(err, repository.ErrNotFound) {
			return err
		}
		user, err = s.users.ByID(ctx, user.ID)
		if errors.Is(err, repository.ErrNotFound) {
			return errCurrentPassword
		}
		if err != nil {
			return err
		}
	}
	return errChanges
}

// SetPassword needs a one-time code, and ends every sign-in of the account.
func (s *Server) SetPassword(ctx context.Context, req gen.SetPasswordRequestObject) (gen.SetPasswordResponseObject, error) {
	var account uuid.UUID
	err := s.attempt(ctx, req.JSONBody.Username, func() (_ uuid.UUID, err error) {
		account, err = s.setPassword(ctx, req.JSONBody)
		if errors.Is(err, repository.ErrNotFound) {
			err = errBadCode
		}
		return account, err
	})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, EventPasswordChanged, account)
	return gen.SetPassword204Response{}, nil
}

// setPassword is repository.ErrNotFound where no active account has the name and the code. The account is returned also
// where the code is not its own.
func (s *Server) setPassword(ctx context.Context, setting *gen.PasswordSetting) (account uuid.UUID, err error) {
	user, missing := s.users.ByUsername(ctx, setting.Username)
	if missing != nil && !errors.Is(missing, repository.ErrNotFound) {
		return uuid.Nil, missing
	}
	codes, err := s.codes.Of(ctx, user.ID) // also of an unknown name, whose refusal would take less time
	if err = cmp.Or(err, missing); err != nil {
		return user.ID, err
	}
	if !codes[user.ID].Is(setting.Code) || user.DirectoryID != nil {
		return user.ID, fmt.Errorf("code of %s: %w", user.ID, repository.ErrNotFound)
	}
	// The guard has not seen the account's names and address. The code is not used up by a weak password.
	if messages := s.policy.Check(setting.NewPassword, attributesOf(user.Profile)); len(messages) > 0 {
		return user.ID, fieldErrors{"new_password": messages}
	}
	encoded, err := s.hasher.Encode(ctx, setting.NewPassword)
	if err != nil {
		return user.ID, err
	}
	return user.ID, s.codes.Redeem(ctx, user.ID, setting.Code, encoded)
}
