package server

import (
	"context"
	"errors"
	"log/slog"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/repository"
)

// LogIn gives a new token to who knows an account's password. Whatever is wrong, a password is hashed, and the answer is
// the same and takes the same time.
func (s *Server) LogIn(ctx context.Context, req gen.LogInRequestObject) (gen.LogInResponseObject, error) {
	var user repository.User
	var key string
	networks, limits := s.loginLimits(ctx, req.JSONBody.Username)
	err := s.attempt(ctx, req.JSONBody.Username, networks, limits, func(a *attempt) (_ uuid.UUID, err error) {
		user, key, err = s.logIn(ctx, a, req.JSONBody)
		if err == nil {
			err = s.remember(ctx, a, user)
		}
		return user.ID, err
	})
	if err != nil {
		return nil, err
	}
	s.renewEncoding(ctx, user, req.JSONBody.Password)
	return gen.LogIn200JSONResponse{Token: key}, nil
}

// renewEncoding encodes a password as today's are, where it is not. Where that cannot be done now, the next login will.
func (s *Server) renewEncoding(ctx context.Context, user repository.User, plain string) {
	if user.DirectoryID != nil || !s.hasher.Outdated(user.Password) { // what the directory knows is not kept
		return
	}
	encoded, err := s.hasher.Encode(ctx, plain)
	if err == nil {
		err = s.users.ReplacePassword(ctx, user.ID, user.Password, encoded)
	}
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "password not renewed", slog.String("account", user.ID.String()), slog.Any("error", err))
	}
}

// LogOut removes the token that the request carries. Somebody else may have done so meanwhile.
func (s *Server) LogOut(ctx context.Context, _ gen.LogOutRequestObject) (gen.LogOutResponseObject, error) {
	by := callerOf(ctx)
	if err := s.tokens.Delete(ctx, by.user.ID, by.token); err != nil && !errors.Is(err, repository.ErrNotFound) {
		return nil, err
	}
	s.audit(ctx, EventTokenRevoked, by.user.ID, TokenAttr(by.token))
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
	s.audit(ctx, EventTokenRevoked, req.Id, TokenAttr(req.TokenId))
	return gen.RevokeToken204Response{}, nil
}

// RevokeTokens ends every sign-in of the account.
func (s *Server) RevokeTokens(ctx context.Context, req gen.RevokeTokensRequestObject) (gen.RevokeTokensResponseObject, error) {
	if err := s.tokens.DeleteAll(ctx, req.Id); err != nil {
		return nil, err
	}
	s.audit(ctx, EventTokensRevoked, req.Id)
	return gen.RevokeTokens204Response{}, nil
}

func toSignIn(t repository.Token, current uuid.UUID) gen.SignIn {
	return gen.SignIn{
		Id: t.ID, CreatedAt: t.CreatedAt.UTC(), LastUsedAt: t.LastUsedAt.UTC(), Client: t.Client, Current: t.ID == current,
	}
}
