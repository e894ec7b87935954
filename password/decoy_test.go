package password_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/rollbook/rollbook/password"
)

const (
	zeros32 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	zeros16 = "AAAAAAAAAAAAAAAAAAAAAA"
	bcrypt0 = "$2b$12$....................................................."
)

// A decoy costs what the encoding does and has nothing else of it. Whatever its salt, an encoding of the same cost has the same.
func TestDecoy(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	for encoded, want := range map[string]string{
		django["pbkdf2_sha256"]:                                     "pbkdf2_sha256$260000$aaaaaaaaaaaaaaaaaaaaaa$" + zeros32,
		"pbkdf2_sha256$260000$other$" + zeros32:                     "pbkdf2_sha256$260000$aaaaaaaaaaaaaaaaaaaaaa$" + zeros32,
		"pbkdf2_sha256$00260000$other$" + zeros32:                   "pbkdf2_sha256$260000$aaaaaaaaaaaaaaaaaaaaaa$" + zeros32,
		"pbkdf2_sha256$1$salt$MTIzNA==":                             "pbkdf2_sha256$1$aaaaaaaaaaaaaaaaaaaaaa$AAAAAA==",
		django["pbkdf2_sha1"]:                                       "pbkdf2_sha1$260000$aaaaaaaaaaaaaaaaaaaaaa$AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		django["argon2"]:                                            "$argon2id$v=19$m=102400,t=2,p=8$" + zeros16 + "$" + zeros16,
		django["argon2i"]:                                           "$argon2i$v=19$m=512,t=2,p=2$" + zeros16 + "$" + zeros16,
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$MTIzNDU2":           "$argon2id$v=19$m=8,t=1,p=1$" + zeros16 + "$AAAAAAAA",
		"scrypt$1024$NaCl$8$16$MTIzNA==":                            "scrypt$1024$aaaaaaaaaaaaaaaaaaaaaa$8$16$AAAAAA==",
		django["bcrypt"]:                                            "bcrypt$" + bcrypt0,
		django["bcrypt_sha256"]:                                     "bcrypt_sha256$" + bcrypt0,
		"bcrypt$$2a$12$" + django["bcrypt"][len("bcrypt$$2b$12$"):]: "bcrypt$" + bcrypt0,
	} {
		got, err := password.Decoy(encoded)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", encoded, got, err, want)
		}
		if again, err := password.Decoy(got); err != nil || again != got {
			t.Errorf("the decoy of %s is %s, %v", got, again, err)
		}
		if ok, err := hasher.Verify(t.Context(), got, plain); ok || err != nil {
			t.Errorf("against %s: %v, %v", got, ok, err)
		}
	}
	for _, malformed := range []string{"", "!", "plain", "pbkdf2_sha256$9999999999$salt$" + zeros32} {
		if got, err := password.Decoy(malformed); !errors.Is(err, password.ErrMalformed) {
			t.Errorf("%q: got %q, %v", malformed, got, err)
		}
	}
}

// chosen counts which of the decoys names get.
func chosen(m *password.Mix, names int) map[string]int {
	counts := map[string]int{}
	for n := range names {
		counts[m.For(fmt.Sprint("name", n))]++
	}
	return counts
}

// Names get decoys in the proportion of the counts, rare ones included. The key is fixed, so that the result is.
func TestMixIsProportional(t *testing.T) {
	t.Parallel()
	const names = 100_000
	for _, counts := range []map[string]int{
		{"a": 1}, {"a": 1, "b": 1}, {"a": 700, "b": 290, "c": 10}, {"a": 10_000_000, "b": 10_000}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5},
	} {
		m := password.NewMix([]byte("key"))
		m.Set(counts)
		total := 0
		for _, count := range counts {
			total += count
		}
		got := chosen(m, names)
		for decoy, count := range counts {
			p := float64(count) / float64(total)
			if off := math.Abs(float64(got[decoy]) - names*p); off > 4*math.Sqrt(names*p*(1-p)) {
				t.Errorf("%v: %d of %d names got %s", counts, got[decoy], names, decoy)
			}
		}
	}
}

// The choice depends on the key, the name and the counts alone, and changes only towards what has become more.
func TestMixIsStable(t *testing.T) {
	t.Parallel()
	key, counts := []byte("key"), map[string]int{"a": 500, "b": 300, "c": 200}
	one, other, keyed := password.NewMix(key), password.NewMix(key), password.NewMix([]byte("another"))
	one.Set(map[string]int{"z": 9})
	for _, m := range []*password.Mix{one, other, keyed} {
		m.Set(counts)
	}
	grown := password.NewMix(key)
	grown.Set(map[string]int{"a": 500, "b": 400, "c": 200})
	differs, moved := 0, 0
	const names = 1000
	for n := range names {
		name := fmt.Sprint("name", n)
		if one.For(name) != other.For(name) {
			t.Fatalf("%s got %s and %s", name, one.For(name), other.For(name))
		}
		if one.For(name) != keyed.For(name) {
			differs++
		}
		if now := grown.For(name); now != one.For(name) {
			moved++
			if now != "b" {
				t.Errorf("%s moved from %s to %s", name, one.For(name), now)
			}
		}
	}
	if differs < names/4 || moved == 0 || moved > names/10 {
		t.Errorf("under another key %d of %d names got another decoy; when one grew, %d moved", differs, names, moved)
	}
}

func TestMixWithoutEncodings(t *testing.T) {
	t.Parallel()
	for _, m := range []*password.Mix{nil, password.NewMix([]byte("key"))} {
		if got := m.For("name"); got != "" {
			t.Errorf("got %q", got)
		}
	}
}
