package password

import (
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// phc is an argon2id hash in the PHC string format: $argon2id$v=19$m=…,t=…,p=…$salt$key.
type phc struct {
	params    Params
	salt, key []byte
}

const phcParams = "m=%d,t=%d,p=%d"

var phcBase64 = base64.RawStdEncoding.Strict()

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$"+phcParams+"$%s$%s", argon2.Version, p.params.Memory, p.params.Time,
		p.params.Threads, phcBase64.EncodeToString(p.salt), phcBase64.EncodeToString(p.key))
}

// parsePHC reads what phc.String writes. It is ErrMalformed for anything else, and where the cost is above most.
func parsePHC(encoded string) (phc, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, fmt.Errorf("not argon2id of version %d: %w", argon2.Version, ErrMalformed)
	}
	var p phc
	if _, err := fmt.Sscanf(parts[3], phcParams, &p.params.Memory, &p.params.Time, &p.params.Threads); err != nil {
		return phc{}, fmt.Errorf("read the parameters: %w", ErrMalformed)
	}
	if p.params.Time < 1 || p.params.Time > most.Time || p.params.Threads < 1 || p.params.Threads > most.Threads ||
		p.params.Memory < 8 || p.params.Memory > most.Memory {
		return phc{}, fmt.Errorf("parameters out of bounds: %w", ErrMalformed)
	}
	for i, into := range map[int]*[]byte{4: &p.salt, 5: &p.key} {
		bytes, err := phcBase64.DecodeString(parts[i])
		if err != nil || len(bytes) < 4 || len(bytes) > 64 {
			return phc{}, fmt.Errorf("read the salt or the key: %w", ErrMalformed)
		}
		*into = bytes
	}
	return p, nil
}
