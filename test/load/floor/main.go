// Command floor does four of Rollbook's jobs with net/http and pgx alone: no framework, no contract, no ORM, and few checks. It is
// what Rollbook is measured against, on Rollbook's own tables, and good for nothing else.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/argon2"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// connections is what Rollbook has by default, too.
const connections = 16

// run serves the database of DATABASE_URL on a free port, and says where.
func run(ctx context.Context) error {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	s := server{pool, make(chan struct{}, runtime.GOMAXPROCS(0))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/users/{id}/", s.profile)
	mux.HandleFunc("PATCH /api/v1/users/{id}/", s.patch)
	mux.HandleFunc("POST /api/v1/users/", s.register)
	mux.HandleFunc("POST /api-token-auth/", s.login)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	return http.Serve(listener, mux)
}

type server struct {
	db    *pgxpool.Pool
	slots chan struct{} // for hashing, one for each core
}

// user is a profile and, in requests, a password.
type user struct {
	ID        uuid.UUID `json:"id"`
	Username  string    `json:"username"`
	FirstName string    `json:"first_name"`
	LastName  string    `json:"last_name"`
	Email     string    `json:"email"`
	Password  string    `json:"password,omitempty"`
	AuthToken string    `json:"auth_token,omitempty"`
}

func (u *user) fields() []any { return []any{&u.ID, &u.Username, &u.FirstName, &u.LastName, &u.Email} }

const (
	columns = "u.id, u.username, u.first_name, u.last_name, u.email"
	ofToken = "SELECT " + columns + " FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.digest = $1 AND u.is_active"
)

// owner returns whose token a request carries.
func (s server) owner(r *http.Request) (u user, err error) {
	digest := sha256.Sum256([]byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Token ")))
	err = s.db.QueryRow(r.Context(), ofToken, digest[:]).Scan(u.fields()...)
	return u, err
}

func (s server) profile(w http.ResponseWriter, r *http.Request) {
	u, err := s.owner(r)
	answer(w, http.StatusOK, u, err)
}

func (s server) patch(w http.ResponseWriter, r *http.Request) {
	u, err := s.owner(r)
	if err == nil {
		err = json.NewDecoder(r.Body).Decode(&u)
	}
	if err == nil {
		_, err = s.db.Exec(r.Context(), "UPDATE users SET first_name = $2, last_name = $3, email = $4, updated_at = now() WHERE id = $1",
			u.ID, u.FirstName, u.LastName, u.Email)
	}
	answer(w, http.StatusOK, u, err)
}

const (
	insertUser = `INSERT INTO users (id, username, first_name, last_name, email, password, is_active, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, true, now(), now())`
	insertToken = "INSERT INTO tokens (id, user_id, digest, created_at, last_used_at) VALUES ($1, $2, $3, now(), now())"
)

func (s server) register(w http.ResponseWriter, r *http.Request) {
	u, err := decode(r)
	if err != nil {
		answer(w, 0, nil, err)
		return
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	encoded := prefix + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(s.hash(r.Context(), u.Password, salt))
	u.ID, u.Password = uuid.New(), ""
	var digest []byte
	u.AuthToken, digest = newKey()
	err = pgx.BeginFunc(r.Context(), s.db, func(tx pgx.Tx) error {
		var batch pgx.Batch
		batch.Queue(insertUser, u.ID, u.Username, u.FirstName, u.LastName, u.Email, encoded)
		batch.Queue(insertToken, uuid.New(), u.ID, digest)
		return tx.SendBatch(r.Context(), &batch).Close()
	})
	answer(w, http.StatusCreated, u, err)
}

func (s server) login(w http.ResponseWriter, r *http.Request) {
	given, err := decode(r)
	if err != nil {
		answer(w, 0, nil, err)
		return
	}
	var id uuid.UUID
	var encoded string
	err = s.db.QueryRow(r.Context(), "SELECT id, password FROM users WHERE username = $1 AND is_active", given.Username).Scan(&id, &encoded)
	if err == nil && !s.verify(r.Context(), encoded, given.Password) {
		err = errors.New("wrong password")
	}
	if err != nil {
		answer(w, 0, nil, err)
		return
	}
	key, digest := newKey()
	_, err = s.db.Exec(r.Context(), insertToken, uuid.New(), id, digest)
	answer(w, http.StatusOK, map[string]string{"token": key}, err)
}

// decode reads a body of no more than Rollbook takes.
func decode(r *http.Request) (u user, err error) {
	const most = 64 << 10
	err = json.NewDecoder(http.MaxBytesReader(nil, r.Body, most)).Decode(&u)
	return u, err
}

// answer writes JSON. Whatever is wrong is a 500, which a measurement counts as failed.
func answer(w http.ResponseWriter, status int, body any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status, body = http.StatusInternalServerError, map[string]string{"detail": err.Error()}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // to a client that may be gone
}

// newKey makes a key as Rollbook does, and its digest.
func newKey() (key string, digest []byte) {
	const keyBytes = 20
	random := make([]byte, keyBytes)
	_, _ = rand.Read(random) // never fails
	key = hex.EncodeToString(random)
	sum := sha256.Sum256([]byte(key))
	return key, sum[:]
}

// The cost of Rollbook's hashes.
const (
	saltBytes = 16
	hashBytes = 32
	memory    = 19456
	passes    = 2
	prefix    = "$argon2id$v=19$m=19456,t=2,p=1$"
)

// hash hashes a password once there is a slot, or returns nothing where the client is gone before.
func (s server) hash(ctx context.Context, plain string, salt []byte) []byte {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-s.slots }()
	return argon2.IDKey([]byte(plain), salt, passes, memory, 1, hashBytes)
}

func (s server) verify(ctx context.Context, encoded, plain string) bool {
	salt, key, _ := strings.Cut(strings.TrimPrefix(encoded, prefix), "$")
	rawSalt, err := base64.RawStdEncoding.DecodeString(salt)
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(base64.RawStdEncoding.EncodeToString(s.hash(ctx, plain, rawSalt))), []byte(key)) == 1
}
