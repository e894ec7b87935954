package server

import (
	"context"
	"errors"

	"github.com/google/uuid"

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
	if err := s.renewEncoding(ctx, user, req.JSONBody.Password); err != nil {
		return nil, err
	}
	token, key := repository.NewToken(user.ID, callerOf(ctx).client)
	if err := s.tokens.Create(ctx, token); err != nil {
		return nil, err
	}
	return gen.LogIn200JSONResponse{Token: key}, nil
}

// renewEncoding encodes a password as today's are, where it is not.
func (s *Server) renewEncoding(ctx context.Context, user repository.User, plain string) error {
	if !s.hasher.Outdated(user.Password) {
		return nil
	}
	encoded, err := s.hasher.Encode(ctx, plain)
	if err != nil {
		return err
	}
	return s.users.ReplacePassword(ctx, user.ID, user.Password, encoded)
}

// LogOut removes the token that the request carries. Somebody else may have done so meanwhile.
func (s *Server) LogOut(ctx context.Context, _ gen.LogOutRequestObject) (gen.LogOutResponseObject, error) {
	by := callerOf(ctx)
	if err := s.tokens.Delete(ctx, by.user.ID, by.token); err != nil && !errors.Is(err, repository.ErrNotFound) {
		return nil, err
	}
	return gen.LogOut204Response{}, nil
}

// ListTokens tells where the account is signed in.
func (s *Server) ListTokens(ctx context.Context, req gen.ListTokensRequestObject) (gen.ListTokensResponseObject, error) {
	tokens, err := s.tokens.Of(ctx, req.Id)
	if err != nil {
		return nil, err
	}
	list := make(gen.ListTokens200JSONResponse, len(tokens))
	for i, token := range tokens {
		list[i] = toSignIn(token, callerOf(ctx).token)
	}
	return list, nil
}

// RevokeToken ends one sign-in.
func (s *Server) RevokeToken(ctx context.Context, req gen.RevokeTokenRequestObject) (gen.RevokeTokenResponseObject, error) {
	if err := s.tokens.Delete(ctx, req.Id, req.TokenId); err != nil {
		return nil, err
	}
	return gen.RevokeToken204Response{}, nil
}

// RevokeTokens ends every sign-in of the account.
func (s *Server) RevokeTokens(ctx context.Context, req gen.RevokeTokensRequestObject) (gen.RevokeTokensResponseObject, error) {
	if err := s.tokens.DeleteAll(ctx, req.Id); err != nil {
		return nil, err
	}
	return gen.RevokeTokens204Response{}, nil
}

func toSignIn(t repository.Token, current uuid.UUID) gen.SignIn {
	return gen.SignIn{
		Id: t.ID, CreatedAt: t.CreatedAt.UTC(), LastUsedAt: t.LastUsedAt.UTC(), Client: t.Client, Current: t.ID == current,
	}
}
