package server

import (
	"context"
	"errors"

	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/repository"
)

// LogIn gives a new token to who knows an account's password. Whatever is wrong, a password is hashed and the answer is
// the same.
func (s *Server) LogIn(ctx context.Context, req gen.LogInRequestObject) (gen.LogInResponseObject, error) {
	user, err := s.users.ByUsername(ctx, req.JSONBody.Username)
	if err != nil && !errors.Is(err, repository.ErrNotFound) {
		return nil, err
	}
	ok, err := s.hasher.Verify(ctx, user.Password, req.JSONBody.Password)
	if err != nil {
		return nil, err
	}
	if !ok || !user.IsActive {
		return nil, errBadCredentials
	}
	token, key := repository.NewToken(user.ID)
	if err := s.tokens.Create(ctx, token); err != nil {
		return nil, err
	}
	return gen.LogIn200JSONResponse{Token: key}, nil
}

// LogOut removes the token that the request carries.
func (s *Server) LogOut(ctx context.Context, _ gen.LogOutRequestObject) (gen.LogOutResponseObject, error) {
	if err := s.tokens.Delete(ctx, caller(ctx).token); err != nil {
		return nil, err
	}
	return gen.LogOut204Response{}, nil
}
