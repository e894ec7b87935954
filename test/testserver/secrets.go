package testserver

import (
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Secrets are what clients have typed and been told in a test, none of which may be in a log.
type Secrets struct {
	mu   sync.Mutex
	seen []string
}

// shortestSecret is how long a text is that cannot be in a log by chance.
const shortestSecret = 9

// Add keeps the passwords of a request's JSON, or the keys of an answer's. What is no JSON object has none.
func (s *Secrets) Add(object []byte) {
	var members map[string]any
	_ = json.Unmarshal(object, &members) // as documented
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range members {
		secret, ok := value.(string)
		named := strings.Contains(name, "password") || strings.Contains(name, "token") || name == "code"
		if ok && named && len(secret) >= shortestSecret {
			s.seen = append(s.seen, secret)
		}
	}
}

// patterns are those of a key of a token, or the SHA-256 of one, and of encoded passwords.
var patterns = regexp.MustCompile(`[0-9a-f]{40}|argon2|pbkdf2|bcrypt|scrypt|\$2[aby]\$`)

// Check fails the test where a log holds a password, a key, or a hash of either.
func (s *Secrets) Check(t testing.TB, log string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range append(s.seen, Password) {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	for _, found := range patterns.FindAllString(log, -1) {
		if !strings.Contains(found, "aaaaaaaa") { // which is a long name of the tests
			t.Errorf("the log holds what looks like a key or a hash: %q", found)
		}
	}
}
