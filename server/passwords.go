package server

import (
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
		err := s.changePassword(ctx, user, by.token, req.JSONBody)
		if errors.Is(err, repository.ErrNotFound) {
			err = errCurrentPassword
		}
		return by.user.ID, err
	})
	if err != nil {
		return nil, err
	}
	s.audit(ctx, EventPasswordChanged, by.user.ID)
	return gen.ChangePassword204Response{}, nil
}

// changePassword is errCurrentPassword where the password so far is another, and repository.ErrNotFound where it is since a
// moment ago.
func (s *Server) changePassword(ctx context.Context, user repository.User, keep uuid.UUID, change *gen.PasswordChange) error {
	ok, err := s.hasher.Verify(ctx, user.Password, change.CurrentPassword)
	if err != nil {
		return err
	}
	if !ok {
		return errCurrentPassword
	}
	if err := refuseBreached(ctx, s.policy, "new_password", change.NewPassword); err != nil {
		return err
	}
	encoded, err := s.hasher.Encode(ctx, change.NewPassword)
	if err != nil {
		return err
	}
	return s.users.ChangePassword(ctx, user.ID, user.Password, encoded, keep)
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
	user, err := s.users.ByUsername(ctx, setting.Username)
	if err != nil {
		return uuid.Nil, err
	}
	codes, err := s.codes.Of(ctx, user.ID)
	if err != nil {
		return user.ID, err
	}
	if !codes[user.ID].Is(setting.Code) || user.DirectoryID != nil {
		return user.ID, fmt.Errorf("code of %s: %w", user.ID, repository.ErrNotFound)
	}
	// The guard has not seen the account's names and address. The code is not used up by a weak password.
	if messages := s.policy.Check(setting.NewPassword, attributesOf(user.Profile)); len(messages) > 0 {
		return user.ID, fieldErrors{"new_password": messages}
	}
	if err := refuseBreached(ctx, s.policy, "new_password", setting.NewPassword); err != nil {
		return user.ID, err
	}
	encoded, err := s.hasher.Encode(ctx, setting.NewPassword)
	if err != nil {
		return user.ID, err
	}
	return user.ID, s.codes.Redeem(ctx, user.ID, setting.Code, encoded)
}
