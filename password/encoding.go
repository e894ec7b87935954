package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // to read what older servers stored
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// What an encoded password may cost to verify; those of Django's defaults so far are well below.
const (
	mostEncoded    = 1 << 10     // bytes
	mostIterations = 5_000_000   // of PBKDF2
	mostBcrypt     = 16          // its cost, the logarithm of the rounds
	mostScrypt     = 256 << 20   // bytes of memory
	mostScryptWork = 4 << 20 * 8 // N·r·p, which is time
)

// verifier tells whether a password is the one that was encoded.
type verifier func(plain string) bool

// encoding is an encoded password that was read.
type encoding struct {
	verify verifier
	decoy  func() string // writes the encoding that Decoy returns
}

// CheckEncoding is ErrMalformed where a password's encoding is not one that Verify reads, or costs too much.
func CheckEncoding(encoded string) error {
	_, err := parse(encoded)
	return err
}

// parse reads an encoded password: an argon2id PHC string, as Encode makes it, or one of Django's encodings. It is
// ErrMalformed for anything else, and where the cost is out of bounds.
func parse(encoded string) (encoding, error) {
	if len(encoded) > mostEncoded {
		return encoding{}, fmt.Errorf("too long: %w", ErrMalformed)
	}
	algorithm, rest, _ := strings.Cut(encoded, "$")
	switch algorithm {
	case "": // as PHC strings begin
		return parsePHC(encoded)
	case "argon2":
		return parsePHC("$" + rest)
	case "pbkdf2_sha256":
		return parsePBKDF2(algorithm, sha256.New, rest)
	case "pbkdf2_sha1":
		return parsePBKDF2(algorithm, sha1.New, rest)
	case "bcrypt":
		return parseBcrypt(algorithm, rest, func(plain string) string { return plain })
	case "bcrypt_sha256":
		return parseBcrypt(algorithm, rest, func(plain string) string {
			sum := sha256.Sum256([]byte(plain))
			return hex.EncodeToString(sum[:])
		})
	case "scrypt":
		return parseScrypt(rest)
	}
	return encoding{}, fmt.Errorf("an unknown algorithm: %w", ErrMalformed)
}

// parsePBKDF2 reads iterations$salt$hash.
func parsePBKDF2[H hash.Hash](algorithm string, h func() H, text string) (encoding, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 3 {
		return encoding{}, fmt.Errorf("pbkdf2: %w", ErrMalformed)
	}
	iterations, err := strconv.Atoi(parts[0])
	key, ok := decodeKey(base64.StdEncoding, parts[2])
	if err != nil || iterations < 1 || iterations > mostIterations || !ok {
		return encoding{}, fmt.Errorf("pbkdf2: %w", ErrMalformed)
	}
	return encoding{
		verify: func(plain string) bool {
			derived, err := pbkdf2.Key(h, plain, []byte(parts[1]), iterations, len(key))
			return err == nil && subtle.ConstantTimeCompare(derived, key) == 1
		},
		decoy: func() string {
			return fmt.Sprintf("%s$%d$%s$%s", algorithm, iterations, decoySalt, base64.StdEncoding.EncodeToString(make([]byte, len(key))))
		},
	}, nil
}

// parseBcrypt reads what bcrypt itself writes.
func parseBcrypt(algorithm, text string, before func(string) string) (encoding, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil || cost > mostBcrypt {
		return encoding{}, fmt.Errorf("bcrypt: %w", ErrMalformed)
	}
	return encoding{
		verify: func(plain string) bool {
			return bcrypt.CompareHashAndPassword([]byte(text), []byte(before(plain))) == nil
		},
		decoy: func() string {
			const saltAndHash = 22 + 31 // characters
			return fmt.Sprintf("%s$$2b$%02d$%s", algorithm, cost, strings.Repeat(".", saltAndHash))
		},
	}, nil
}

// parseScrypt reads N$salt$r$p$hash.
func parseScrypt(text string) (encoding, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 5 {
		return encoding{}, fmt.Errorf("scrypt: %w", ErrMalformed)
	}
	n, errN := strconv.Atoi(parts[0])
	r, errR := strconv.Atoi(parts[2])
	p, errP := strconv.Atoi(parts[3])
	key, ok := decodeKey(base64.StdEncoding, parts[4])
	const side = 1 << 20 // above which the products below could overflow
	if errN != nil || errR != nil || errP != nil || !ok || n < 2 || n&(n-1) != 0 || r < 1 || p < 1 ||
		n > side || r > side || p > side || 128*n*r > mostScrypt || n*r*p > mostScryptWork {
		return encoding{}, fmt.Errorf("scrypt: %w", ErrMalformed)
	}
	return encoding{
		verify: func(plain string) bool {
			derived, err := scrypt.Key([]byte(plain), []byte(parts[1]), n, r, p, len(key))
			return err == nil && subtle.ConstantTimeCompare(derived, key) == 1
		},
		decoy: func() string {
			return fmt.Sprintf("scrypt$%d$%s$%d$%d$%s", n, decoySalt, r, p, base64.StdEncoding.EncodeToString(make([]byte, len(key))))
		},
	}, nil
}

// phcParams is how a PHC string says what the hash costs.
const phcParams = "m=%d,t=%d,p=%d"

var phcBase64 = base64.RawStdEncoding.Strict()

// phcPrefix is how a hash of these parameters begins.
func phcPrefix(p Params) string {
	return fmt.Sprintf("$argon2id$v=%d$"+phcParams+"$", argon2.Version, p.Memory, p.Time, p.Threads)
}

// parsePHC reads an argon2 hash in the PHC string format: $argon2id$v=19$m=…,t=…,p=…$salt$hash, or argon2i.
func parsePHC(encoded string) (encoding, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return encoding{}, fmt.Errorf("not argon2 of version %d: %w", argon2.Version, ErrMalformed)
	}
	derive, ok := map[string]func([]byte, []byte, uint32, uint32, uint8, uint32) []byte{
		"argon2id": argon2.IDKey, "argon2i": argon2.Key,
	}[parts[1]]
	var p Params
	_, err := fmt.Sscanf(parts[3], phcParams, &p.Memory, &p.Time, &p.Threads)
	if !ok || err != nil || p.Time < 1 || p.Time > most.Time || p.Threads < 1 || p.Threads > most.Threads ||
		p.Memory < 8 || p.Memory > most.Memory {
		return encoding{}, fmt.Errorf("the parameters of argon2: %w", ErrMalformed)
	}
	salt, okSalt := decodeKey(phcBase64, parts[4])
	key, okKey := decodeKey(phcBase64, parts[5])
	if !okSalt || !okKey {
		return encoding{}, fmt.Errorf("the salt or hash of argon2: %w", ErrMalformed)
	}
	return encoding{
		verify: func(plain string) bool {
			derived := derive([]byte(plain), salt, p.Time, p.Memory, p.Threads, uint32(len(key))) //nolint:gosec // decodeKey bounds it
			return subtle.ConstantTimeCompare(derived, key) == 1
		},
		decoy: func() string {
			return fmt.Sprintf("$%s$v=%d$"+phcParams+"$%s$%s", parts[1], argon2.Version, p.Memory, p.Time, p.Threads,
				phcBase64.EncodeToString(make([]byte, saltBytes)), phcBase64.EncodeToString(make([]byte, len(key))))
		},
	}, nil
}

// decodeKey reads a salt or hash of a length that makes sense.
func decodeKey(encoding *base64.Encoding, text string) ([]byte, bool) {
	key, err := encoding.DecodeString(text)
	return key, err == nil && len(key) >= 4 && len(key) <= 64
}
