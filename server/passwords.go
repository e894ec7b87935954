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
		return nil, fmt.Errorf("%w: %w", errPasswordElsewhere, newDetail(http.StatusForbidden, s.passwordElsewhere))
	}
	err = s.attempt(ctx, user.Username, nil, s.changeLimits(ctx, user), func(*attempt) (uuid.UUID, error) {
		return by.user.ID, s.changePassword(ctx, user, by.token, req.JSONBody)
	})
	if err != nil {
		return nil, err
	}
	return gen.ChangePassword204Response{}, nil
}

// changePassword is errCurrentPassword where the account has another password. Where the account changes after its password was
// verified, as when a login renews the encoding, the password is verified again.
func (s *Server) changePassword(ctx context.Context, user repository.User, keep uuid.UUID, change *gen.PasswordChange) error {
	encoded := ""
	for range maxRounds {
		err := s.verifyCurrent(ctx, user, change.CurrentPassword)
		if err == nil && encoded == "" {
			encoded, err = s.encodeNew(ctx, "new_password", change.NewPassword)
		}
		if err != nil {
			return err
		}
		err = s.users.ChangePassword(ctx, user.ID, user.Password, encoded, keep)
		if err == nil {
			s.audit(ctx, EventPasswordChanged, user.ID)
		}
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

// verifyCurrent is errCurrentPassword if an account has another password.
func (s *Server) verifyCurrent(ctx context.Context, user repository.User, plain string) error {
	slot, err := s.hasher.Reserve(ctx)
	if err != nil {
		return err
	}
	defer slot.Release()
	ok, err := s.hasPassword(ctx, slot, user, user.Username, plain)
	if err == nil && !ok {
		err = errCurrentPassword
	}
	return err
}

// SetPassword needs a one-time code, and ends every sign-in of the account.
func (s *Server) SetPassword(ctx context.Context, req gen.SetPasswordRequestObject) (gen.SetPasswordResponseObject, error) {
	networks, limits := s.codeLimits(ctx, req.JSONBody.Username)
	err := s.attempt(ctx, req.JSONBody.Username, networks, limits, func(a *attempt) (uuid.UUID, error) {
		account, err := s.setPassword(ctx, a, req.JSONBody)
		if errors.Is(err, repository.ErrNotFound) {
			err = errBadCode
		}
		return account, err
	})
	if err != nil {
		return nil, err
	}
	return gen.SetPassword204Response{}, nil
}

// setPassword is repository.ErrNotFound where no active account has the name and the code. The account is returned also
// where the code is not its own.
func (s *Server) setPassword(ctx context.Context, a *attempt, setting *gen.PasswordSetting) (account uuid.UUID, err error) {
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
	callerOf(ctx).identified = user.ID
	// The guard has not seen the account's names and address. The code is not used up by a weak password.
	if messages := s.policy.Check(setting.NewPassword, attributesOf(user.Profile)); len(messages) > 0 {
		return user.ID, fmt.Errorf("%w: %w", errWeakPassword, fieldErrors{"new_password": messages})
	}
	encoded, err := s.encodeNew(ctx, "new_password", setting.NewPassword)
	if err != nil {
		return user.ID, err
	}
	if err := s.codes.Redeem(ctx, user.ID, setting.Code, encoded); err != nil {
		return user.ID, err
	}
	s.audit(ctx, EventPasswordChanged, user.ID)
	user.Password = encoded
	return user.ID, s.remember(ctx, a, user)
}

// encodeNew encodes the new password in a field, unless it is on the list of breached passwords.
func (s *Server) encodeNew(ctx context.Context, field, plain string) (string, error) {
	if err := refuseBreached(ctx, s.policy, field, plain); err != nil {
		return "", err
	}
	return s.hasher.Encode(ctx, plain)
}
