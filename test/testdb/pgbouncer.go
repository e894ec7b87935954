package testdb

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollbook/rollbook/test/need"
)

// PgBouncer returns the address of a PostgreSQL database through a pgbouncer of this test's own, which gives each transaction
// whichever of its few connections is free.
func PgBouncer(t testing.TB, address string) string {
	t.Helper()
	program := need.Program(t, "pgbouncer", "/usr/sbin/pgbouncer")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(listener.Addr().String(), ":")
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("/tmp", "rollbook-pgbouncer") // t.TempDir's parents can be closed to another user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) }) // what is left is in /tmp
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
`, u.Hostname(), u.Port(), u.User.Username(), password, port)
	file := filepath.Join(folder, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", file}
	if os.Geteuid() == 0 { // pgbouncer refuses to run as root
		args = append([]string{"-u", "postgres"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = folder
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	through := fmt.Sprintf("postgres://%s@127.0.0.1:%s%s?sslmode=disable&default_query_exec_mode=exec", u.User.Username(), port, u.Path)
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, ok := clusterAt(through); ok {
			return through
		}
	}
	t.Fatal("pgbouncer did not answer in time")
	return ""
}
