package server

import (
	"context"
	"fmt"

	"github.com/rollbook/rollbook/gen"
	"github.com/rollbook/rollbook/repository"
)

// GetHealth tells that the process answers.
func (s *Server) GetHealth(context.Context, gen.GetHealthRequestObject) (gen.GetHealthResponseObject, error) {
	return gen.GetHealth200JSONResponse{Status: gen.Ok}, nil
}

// errEnding keeps new requests away from a server that has been told to end.
var errEnding = fmt.Errorf("the server is ending: %w", repository.ErrUnavailable)

// GetReadiness tells whether the database can be used and the server is to stay; whatever keeps it from that, this process is
// not ready.
func (s *Server) GetReadiness(ctx context.Context, _ gen.GetReadinessRequestObject) (gen.GetReadinessResponseObject, error) {
	if isEnding(ctx) {
		return nil, errEnding
	}
	if err := s.db.Ready(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", repository.ErrUnavailable, err)
	}
	return gen.GetReadiness200JSONResponse{Status: gen.Ok}, nil
}
