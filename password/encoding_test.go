package password_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollbook/rollbook/password"
)

// Encodings of Größe-Horse-9, made by make_password of Django 3.2 with argon2-cffi and bcrypt; argon2i by argon2-cffi
// alone.
const plain = "Größe-Horse-9"

var django = map[string]string{
	"pbkdf2_sha256": "pbkdf2_sha256$260000$Q0xDKilpSTAw6W5jmAIk6y$xtCsDE+6u7GWlxF20cDlmWEoki8q5ITVseCoOhaDaHc=",
	"pbkdf2_sha1":   "pbkdf2_sha1$260000$aXxLMoqlrj9YAR32VnVKvs$qEPgfQyCAdBuz7Wa8tK6G44O4cs=",
	"argon2":        "argon2$argon2id$v=19$m=102400,t=2,p=8$T01WdjRTeGF5RWtabDJSRVU3OWNaMQ$6O9BPGvwrXwWaeCUdvuRBg",
	"argon2i":       "argon2$argon2i$v=19$m=512,t=2,p=2$c29tZXNhbHRzb21lc2FsdA$5EqJHDEOMKsw51kIddxpww",
	"bcrypt_sha256": "bcrypt_sha256$$2b$12$Ms.F8yHCMowBcb9ZpiYn4eJO/Jfl2wpg9bgCFgQqv6X2h/hQ0VGLK",
	"bcrypt":        "bcrypt$$2b$12$e7wpvrO0y9u984ApPRc/8uS0o12zFoF8UbmE..THOg2TIEB69Rs7G",
}

func TestVerifiesDjangosEncodings(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	for algorithm, encoded := range django {
		for candidate, want := range map[string]bool{plain: true, "Größe-Horse-8": false, "": false} {
			if got, err := hasher.Verify(t.Context(), encoded, candidate); err != nil || got != want {
				t.Errorf("%s of %q: got %v, %v; want %v", algorithm, candidate, got, err, want)
			}
		}
		if !hasher.Outdated(encoded) {
			t.Errorf("%s is not called outdated", algorithm)
		}
	}
}

// The vectors are those of RFC 7914, section 12, as Django writes them.
func TestVerifiesScrypt(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	for plain, encoded := range map[string]string{
		"password":      "scrypt$1024$NaCl$8$16$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA==",
		"pleaseletmein": "scrypt$16384$SodiumChloride$8$1$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw==",
	} {
		if ok, err := hasher.Verify(t.Context(), encoded, plain); err != nil || !ok {
			t.Errorf("%s: got %v, %v", plain, ok, err)
		}
		if ok, err := hasher.Verify(t.Context(), encoded, plain+"x"); err != nil || ok {
			t.Errorf("%sx: got %v, %v", plain, ok, err)
		}
	}
}

func TestOutdated(t *testing.T) {
	t.Parallel()
	today := password.New(password.Options{Params: cheap})
	encoded, err := today.Encode(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	if today.Outdated(encoded) {
		t.Error("what was encoded just now is called outdated")
	}
	dearer := cheap
	dearer.Time++
	if !password.New(password.Options{Params: dearer}).Outdated(encoded) {
		t.Error("a cheaper encoding is not called outdated")
	}
}

func TestNoPasswordVerifiesNothing(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	for _, encoded := range []string{"", "!", "!unusable"} {
		if ok, err := hasher.Verify(t.Context(), encoded, ""); ok || err != nil {
			t.Errorf("%q: got %v, %v; want false", encoded, ok, err)
		}
	}
}

func TestMalformedOrTooCostly(t *testing.T) {
	t.Parallel()
	hasher := password.New(password.Options{Params: cheap})
	for _, encoded := range []string{
		"plain", "$", "$$$$$", "md5$salt$d41d8cd98f00b204e9800998ecf8427e",
		"$argon2d$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=1,p=0$c29tZXNhbHQ$AAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$*",
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAA$",
		"pbkdf2_sha256$9999999999$salt$AAAAAAAAAAA=", "pbkdf2_sha256$0$salt$AAAAAAAAAAA=", "pbkdf2_sha256$1$salt$", "pbkdf2_sha256$1$salt",
		"bcrypt$$2b$31$e7wpvrO0y9u984ApPRc/8uS0o12zFoF8UbmE..THOg2TIEB69Rs7G", "bcrypt$x", "bcrypt_sha256$$2b$12$short",
		"scrypt$1073741824$salt$8$1$AAAAAAAAAAA=", "scrypt$1048576$salt$1048576$1048576$AAAAAAAAAAA=", "scrypt$3$salt$8$1$AAAAAAAAAAA=",
		"scrypt$16384$salt$8$1048576$AAAAAAAAAAA=", "scrypt$16384$salt$8$1",
		"pbkdf2_sha256$1$" + strings.Repeat("x", 1024) + "$AAAAAAAAAAA=",
	} {
		if ok, err := hasher.Verify(t.Context(), encoded, "x"); ok || !errors.Is(err, password.ErrMalformed) {
			t.Errorf("%s: got %v, %v; want ErrMalformed", encoded, ok, err)
		}
		if err := password.CheckEncoding(encoded); !errors.Is(err, password.ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", encoded, err)
		}
	}
}
