package testdb

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollbook/rollbook/test/need"
)

const (
	startTimeout = 30 * time.Second
	startTries   = 3 // each on another port
)

// serverScript makes a cluster and runs it until its standard input ends, which happens when the test process does,
// in whatever way. Until then it takes orders there: "kill SIGNAL" ends the server, "start" starts it again. $1 is the folder of
// PostgreSQL's programs, $2 the port, $3 the address of the server that it is to be a standby of, or empty, $4 its name, $5 more
// of its options.
const serverScript = `
set -e
dir=$(mktemp -d /tmp/rollbook-postgres.XXXXXX)
trap 'rm -rf "$dir"' EXIT
if [ "$3" ]; then
	"$1/pg_basebackup" --pgdata="$dir/data" --dbname="$3" --checkpoint=fast --no-sync --write-recovery-conf
else
	"$1/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 --no-locale --no-sync >/dev/null
fi
start() {
	"$1/postgres" -D "$dir/data" -p "$2" -c listen_addresses=127.0.0.1 -c unix_socket_directories="$dir" -c cluster_name="$4" \
		-c fsync=off -c full_page_writes=off -c max_connections=400 -c log_min_messages=fatal $5 &
	server=$!
}
end() {
	[ "$server" ] || return 0
	kill "-$1" $server
	wait $server || true
	server=
}
start "$@"
while read -r order signal; do
	case $order in kill) end "$signal" ;; start) start "$@" ;; esac
	echo done
done
end INT
`

// Cluster is a PostgreSQL of a test's own.
type Cluster struct {
	Address string // of its database postgres
	orders  io.WriteCloser
	done    *bufio.Reader
}

// NewCluster starts a PostgreSQL that a test can stop, with settings such as "fsync=on", which is off otherwise. Where there is none on the machine, the test is skipped.
func NewCluster(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	return newCluster(t, "", settings...)
}

// Standby starts a PostgreSQL that follows this one.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	return newCluster(t, c.Address)
}

func newCluster(t testing.TB, primary string, settings ...string) *Cluster {
	t.Helper()
	programs, err := findPrograms("initdb", "postgres", "pg_basebackup")
	if err != nil {
		need.Skip(t, err.Error())
	}
	c, err := startAnywhere(programs, primary, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.orders.Close() }) // which ends it, as does the end of this process
	return c
}

// Kill ends the server by a signal, as pg_ctl stop does: INT ends every connection and then the server, QUIT leaves all as a
// crash would. It returns when the server has ended.
func (c *Cluster) Kill(t testing.TB, signal string) { c.order(t, "kill "+signal) }

// Start starts the server again. It returns before the server answers.
func (c *Cluster) Start(t testing.TB) { c.order(t, "start") }

func (c *Cluster) order(t testing.TB, order string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.orders, order); err != nil {
		t.Fatal(err)
	}
	if _, err := c.done.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

// privateServer starts a PostgreSQL server of this process's own, once, and returns its address.
var privateServer = sync.OnceValues(func() (string, error) {
	programs, err := findPrograms("initdb", "postgres")
	if err != nil {
		return "", err
	}
	c, err := startAnywhere(programs, "")
	if err != nil {
		return "", err
	}
	return c.Address, nil
})

// startAnywhere starts a server on a free port.
func startAnywhere(programs, primary string, settings ...string) (*Cluster, error) {
	var failures error
	for range startTries {
		port := fmt.Sprint(20000 + mathrand.IntN(12000)) // below the range that outgoing connections use
		c, err := startServer(programs, port, primary, settings...)
		if err == nil {
			return c, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, failures
}

// findPrograms returns the folder that holds these programs of PostgreSQL.
func findPrograms(names ...string) (string, error) {
	folders := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"} {
		matches, _ := filepath.Glob(pattern) // fails only for a malformed pattern
		folders = append(folders, matches...)
	}
	for _, folder := range folders {
		missing := func(name string) bool { return !isFile(filepath.Join(folder, name)) }
		if !slices.ContainsFunc(names, missing) {
			return folder, nil
		}
	}
	return "", errors.New("PostgreSQL: install it, or set TEST_DATABASE_URL")
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func startServer(programs, port, primary string, settings ...string) (*Cluster, error) {
	var more string
	for _, setting := range settings {
		more += " -c " + setting
	}
	name := rand.Text() // by which it is known from another that has the port already
	args := []string{"sh", "-c", serverScript, "sh", programs, port, primary, name, more}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root; its package made this user
		args = append([]string{"su", "postgres", "-s", "/bin/sh", "-c", serverScript, "--", "sh"}, programs, port, primary, name, more)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan error, 1) // the goroutine also keeps cmd, and so its standard input, open
	go func() { exited <- cmd.Wait() }()

	address := "postgres://postgres@" + net.JoinHostPort("127.0.0.1", port) + "/postgres?sslmode=disable"
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case err := <-exited:
			return nil, fmt.Errorf("PostgreSQL ended: %w: %s", err, stderr.String())
		case <-time.After(50 * time.Millisecond):
		}
		if found, ok := clusterAt(address); ok && found == name {
			return &Cluster{Address: address, orders: in, done: bufio.NewReader(out)}, nil
		}
	}
	return nil, errors.Join(errors.New("PostgreSQL did not answer in time"), in.Close())
}

// clusterAt is the name of the server that answers at an address, if any does.
func clusterAt(address string) (name string, answers bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return "", false
	}
	err = conn.QueryRow(ctx, "SHOW cluster_name").Scan(&name)
	return name, errors.Join(err, conn.Close(ctx)) == nil
}
