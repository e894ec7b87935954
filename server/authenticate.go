package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/rollbook/rollbook/repository"
)

// schemes are the words that may stand before a key, in lower case.
var schemes = []string{"token", "bearer"}

// asciiSpace is what DRF splits the header at.
const asciiSpace = " \t\n\v\f\r"

// authenticate looks up who sends a request. A database that is away is its own error, not that of the token.
func (s *Server) authenticate(r *http.Request, by *caller) error {
	key, err := parseAuthorization(r.Header)
	if err != nil {
		return err
	}
	by.user, by.token, err = s.tokens.Owner(r.Context(), key)
	if errors.Is(err, repository.ErrNotFound) {
		return errTokenInvalid
	}
	return err
}

// parseAuthorization returns the key in the Authorization header. Several such headers count as one, joined by commas,
// as WSGI has it.
func parseAuthorization(header http.Header) (string, error) {
	isSpace := func(r rune) bool { return strings.ContainsRune(asciiSpace, r) }
	words := strings.FieldsFunc(strings.Join(header.Values(echo.HeaderAuthorization), ","), isSpace)
	switch {
	case len(words) == 0 || !slices.Contains(schemes, strings.ToLower(words[0])):
		return "", errNoCredentials
	case len(words) == 1:
		return "", errTokenMissing
	case len(words) > 2:
		return "", errTokenSpaces
	case !utf8.ValidString(words[1]):
		return "", errTokenCharacters
	}
	return words[1], nil
}
