// Package ogen shows how a client that ogen generates from the contract is made. `make sdk` generates api and compiles
// both.
package ogen

import (
	"context"

	"github.com/ogen-go/ogen/ogenerrors"

	"github.com/rollbook/rollbook/test/sdk/ogen/api"
)

// Token is the key of an account. The empty one is for the operations that need none.
type Token string

// NewClient returns a client of the server at an address.
func NewClient(address string, token Token) (*api.Client, error) {
	return api.NewClient(address, token)
}

// BearerAuth sends the key.
func (t Token) BearerAuth(context.Context, api.OperationName) (api.BearerAuth, error) {
	return api.BearerAuth{Token: string(t)}, nil
}

// TokenAuth is not needed beside BearerAuth.
func (t Token) TokenAuth(context.Context, api.OperationName) (api.TokenAuth, error) {
	return api.TokenAuth{}, ogenerrors.ErrSkipClientSecurity
}
