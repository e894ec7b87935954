package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/repository"
)

// LogIn gives a new token to who knows an account's password. Whatever is wrong, a password is hashed, and the answer is
// the same and takes the same time.
func (s *Server) LogIn(ctx context.Context, req gen.LogInRequestObject) (gen.LogInResponseObject, error) {
	place, err := s.admitLogin(ctx, req.JSONBody.Username)
	if err != nil {
		return nil, err
	}
	user, err := s.verify(ctx, req.JSONBody)
	if errors.Is(err, errBadCredentials) {
		s.audit(ctx, eventRefused, user.ID)
		wait(ctx, callerOf(ctx).arrival.Add(s.refuseAfter))
	}
	if err != nil {
		return nil, err
	}
	if err := s.succeeded(ctx, place); err != nil {
		return nil, err
	}
	if err := s.renewEncoding(ctx, user, req.JSONBody.Password); err != nil {
		return nil, err
	}
	token, key := repository.NewToken(user.ID, callerOf(ctx).client)
	if err := s.tokens.Create(ctx, token); err != nil {
		return nil, err
	}
	s.audit(ctx, eventSignedIn, user.ID, slog.String("token", token.ID.String()))
	return gen.LogIn200JSONResponse{Token: key}, nil
}

// verify returns the account whose credentials these are, or errBadCredentials.
func (s *Server) verify(ctx context.Context, c *gen.Credentials) (repository.User, error) {
	user, err := s.users.ByUsername(ctx, c.Username)
	if err != nil && !errors.Is(err, repository.ErrNotFound) {
		return repository.User{}, err
	}
	ok, err := s.hasher.Verify(ctx, user.Password, c.Password)
	if err == nil && (!ok || !user.IsActive) {
		err = errBadCredentials
	}
	return user, err
}

// wait returns at a time, or when the context ends.
func wait(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
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
	s.audit(ctx, eventTokenRevoked, by.user.ID, slog.String("token", by.token.String()))
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
	s.audit(ctx, eventTokenRevoked, req.Id, slog.String("token", req.TokenId.String()))
	return gen.RevokeToken204Response{}, nil
}

// RevokeTokens ends every sign-in of the account.
func (s *Server) RevokeTokens(ctx context.Context, req gen.RevokeTokensRequestObject) (gen.RevokeTokensResponseObject, error) {
	if err := s.tokens.DeleteAll(ctx, req.Id); err != nil {
		return nil, err
	}
	s.audit(ctx, eventTokensRevoked, req.Id)
	return gen.RevokeTokens204Response{}, nil
}

func toSignIn(t repository.Token, current uuid.UUID) gen.SignIn {
	return gen.SignIn{
		Id: t.ID, CreatedAt: t.CreatedAt.UTC(), LastUsedAt: t.LastUsedAt.UTC(), Client: t.Client, Current: t.ID == current,
	}
}
