package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/repository"
)

// RegisterUser stores an account with its first token.
func (s *Server) RegisterUser(ctx context.Context, req gen.RegisterUserRequestObject) (gen.RegisterUserResponseObject, error) {
	r := req.JSONBody
	var a attempt
	networks, limits := s.registrationLimits(ctx, r.Username)
	if err := s.admit(ctx, &a, networks, limits); err != nil {
		return nil, err
	}
	user := NewUser(r.Username, orEmpty(r.FirstName), orEmpty(r.LastName), orEmpty(r.Email))
	var err error
	if user.Password, err = s.encodeNew(ctx, "password", r.Password); err != nil {
		return nil, err
	}
	token, key := repository.NewToken(user.ID, callerOf(ctx).client)
	if err := s.users.CreateSignedIn(ctx, user, token); err != nil {
		return nil, err
	}
	callerOf(ctx).identified = user.ID
	s.audit(ctx, EventRegistered, user.ID)
	if err := s.remember(ctx, &a, user); err != nil {
		return nil, err
	}
	return gen.RegisterUser201JSONResponse{
		Id: user.ID, Username: user.Username, FirstName: user.FirstName, LastName: user.LastName, Email: user.Email,
		AuthToken: key,
	}, nil
}

// GetCurrentUser answers from what the guard has loaded.
func (s *Server) GetCurrentUser(ctx context.Context, _ gen.GetCurrentUserRequestObject) (gen.GetCurrentUserResponseObject, error) {
	return gen.GetCurrentUser200JSONResponse(toUser(callerOf(ctx).user)), nil
}

// GetUser answers from what the guard has loaded where the caller asks for itself.
func (s *Server) GetUser(ctx context.Context, req gen.GetUserRequestObject) (gen.GetUserResponseObject, error) {
	profile := callerOf(ctx).user
	if profile.ID != req.Id {
		if s.ownProfilesOnly {
			return nil, fmt.Errorf("%w: %w", errHidden, repository.ErrNotFound)
		}
		user, err := s.users.ByID(ctx, req.Id)
		if err != nil {
			return nil, err
		}
		profile = user.Profile
	}
	return gen.GetUser200JSONResponse(toUser(profile)), nil
}

// UpdateUser does the same as PatchUser.
func (s *Server) UpdateUser(ctx context.Context, req gen.UpdateUserRequestObject) (gen.UpdateUserResponseObject, error) {
	profile, err := s.update(ctx, req.Id, req.JSONBody)
	if err != nil {
		return nil, err
	}
	return gen.UpdateUser200JSONResponse(toUser(profile)), nil
}

// PatchUser changes the fields that the request has.
func (s *Server) PatchUser(ctx context.Context, req gen.PatchUserRequestObject) (gen.PatchUserResponseObject, error) {
	profile, err := s.update(ctx, req.Id, req.JSONBody)
	if err != nil {
		return nil, err
	}
	return gen.PatchUser200JSONResponse(toUser(profile)), nil
}

// update changes the caller's account, and audits which fields are other than when the caller was authenticated.
func (s *Server) update(ctx context.Context, id uuid.UUID, body *gen.UserUpdate) (repository.Profile, error) {
	changes, before := toChanges(body), callerOf(ctx).user
	profile, err := s.users.Update(ctx, id, changes)
	if err != nil {
		return profile, err
	}
	if fields := changes.Apply(before).Differing(before); len(fields) > 0 {
		what, attr := ProfileEvent(fields...)
		s.audit(ctx, what, id, attr)
	}
	return profile, nil
}

func toUser(p repository.Profile) gen.User {
	return gen.User{Id: p.ID, Username: p.Username, FirstName: p.FirstName, LastName: p.LastName, Email: p.Email}
}

func toChanges(u *gen.UserUpdate) repository.UserChanges {
	return repository.UserChanges{FirstName: u.FirstName, LastName: u.LastName, Email: u.Email}
}

// NewUser returns an active account of canonical fields, with an id of its own and no password yet.
func NewUser(username, firstName, lastName, email string) repository.User {
	return repository.User{
		Profile:  repository.Profile{ID: uuid.New(), Username: username, FirstName: firstName, LastName: lastName, Email: lowerDomain(email)},
		IsActive: true,
	}
}

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// lowerDomain lower-cases what stands behind the last @ of an email address, by Unicode's full rules, as Python does.
func lowerDomain(email string) string {
	at := strings.LastIndexByte(email, '@') + 1
	return email[:at] + cases.Lower(language.Und).String(email[at:])
}
