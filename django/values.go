package django

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// text is a value of the database as text; NULL is "".
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	}
	return fmt.Sprint(value)
}

// truth is a value of the database as a boolean; NULL is true, as a user who is not said to be inactive is active.
func truth(value any) bool {
	switch v := value.(type) {
	case bool:
		return v
	case nil:
		return true
	}
	return !slices.Contains([]string{"0", "f", "false"}, text(value))
}

// moment is a value of the database as a time, and false for NULL and what is no time.
func moment(value any) (time.Time, bool) {
	if t, ok := value.(time.Time); ok {
		return t.UTC(), true
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999-07:00", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text(value)); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// ourID is the id that a row's account has here: its own where that is a UUID, with or without hyphens.
func ourID(key string) (uuid.UUID, bool) {
	if len(key) != 32 && len(key) != 36 {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(key)
	return id, err == nil
}

// digestLength is how many bytes are remembered of each value of a row.
const digestLength = 8

// digestsOf are what is remembered of the values of a row, one after the other.
func digestsOf(values ...string) []byte {
	var digests []byte
	for _, value := range values {
		sum := sha256.Sum256([]byte(value))
		digests = append(digests, sum[:digestLength]...)
	}
	return digests
}

// digestAt is what is remembered of one value.
func digestAt(digests []byte, n int) string {
	if len(digests) < (n+1)*digestLength {
		return ""
	}
	return string(digests[n*digestLength : (n+1)*digestLength])
}

// knoxDigest reads what django-rest-knox keeps of a token, a SHA-512 in hexadecimal digits.
func knoxDigest(value any) ([]byte, bool) {
	digest, err := hex.DecodeString(text(value))
	return digest, err == nil && len(digest) == 64
}
