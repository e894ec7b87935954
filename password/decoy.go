package password

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
)

// decoySalt has the length of Django's salts.
const decoySalt = "aaaaaaaaaaaaaaaaaaaaaa"

// Decoy returns an encoding that costs as much to verify as encoded: it has the same algorithm and parameters and a key of the
// same length. Encodings of one cost have one decoy. It is ErrMalformed where Verify does not read encoded.
func Decoy(encoded string) (string, error) {
	read, err := parse(encoded)
	if err != nil {
		return "", err
	}
	return read.decoy(), nil
}

// Mix chooses a decoy for a name that has no password to verify, so that the time of a refused login does not distinguish such
// a name from an account. A name gets a decoy with the probability that a random account has an encoding of its cost. The
// choice is the same for every Mix with the same key and counts, and a change of the counts moves as few names as
// possible. Its methods may be called by several goroutines at once.
type Mix struct {
	key    []byte
	shares atomic.Pointer[[]share]
}

// share is how many accounts have encodings of one cost.
type share struct {
	decoy string
	count float64
}

// NewMix returns a Mix without encodings. The key must be secret: otherwise choices can be predicted.
func NewMix(key []byte) *Mix {
	m := &Mix{key: key}
	m.Set(nil)
	return m
}

// Set replaces the number of accounts per decoy.
func (m *Mix) Set(counts map[string]int) {
	var shares []share
	for decoy, count := range counts {
		shares = append(shares, share{decoy, float64(count)})
	}
	slices.SortFunc(shares, func(a, b share) int { return cmp.Compare(a.decoy, b.decoy) })
	m.shares.Store(&shares)
}

// For returns the decoy of a name, for Verify. It is "" where the Mix is nil or has no encodings.
func (m *Mix) For(name string) string {
	if m == nil {
		return ""
	}
	// Weighted rendezvous hashing: of exponentially distributed scores with the rates of the counts, the least wins.
	decoy, least := "", math.Inf(1)
	for _, s := range *m.shares.Load() {
		if score := -math.Log(m.uniform(name, s.decoy)) / s.count; score < least {
			decoy, least = s.decoy, score
		}
	}
	return decoy
}

// uniform returns a number between 0 and 1, exclusively, that is fixed for a name and a decoy.
func (m *Mix) uniform(name, decoy string) float64 {
	mac := hmac.New(sha256.New, m.key)
	_, _ = fmt.Fprintf(mac, "%d:%s%s", len(name), name, decoy) // to a hash, which takes everything
	const bits = 52                                            // with one more, the largest would be rounded to 1
	return (float64(binary.BigEndian.Uint64(mac.Sum(nil))>>(64-bits)) + 0.5) / (1 << bits)
}
