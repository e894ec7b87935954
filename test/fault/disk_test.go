package fault_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rollbook/rollbook/test/need"
	"github.com/rollbook/rollbook/test/testdb"
	"github.com/rollbook/rollbook/test/testserver"
)

// smallDisk mounts one of so many KiB. Where that is not allowed, the test is skipped.
func smallDisk(t *testing.T, kib int) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dk", kib), "tmpfs", folder).CombinedOutput(); err != nil {
		need.Skip(t, fmt.Sprintf("right to mount a tmpfs: %v: %s", err, out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", folder).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return folder
}

// While the disk of an SQLite file is full, what would write is 503 and what reads goes on. Once there is room, all is as before,
// without a restart, and what was acknowledged is there.
func TestLongDiskFull(t *testing.T) {
	begin(t)
	folder := smallDisk(t, 4<<10)
	p := start(t, "sqlite:"+filepath.Join(folder, "rollbook.db"))
	id, token := p.Register("before")
	longAgo(t, filepath.Join(folder, "rollbook.db"))
	filler := filepath.Join(folder, "filler")
	fill(t, filler, 512<<10)
	var acknowledged []string
	refused := answer{}
	c := newClient(p.URL)
	const tries = 1000 // far more than there is room for
	for n := 0; n < tries && refused.status == 0; n++ {
		switch a := c.do(t.Context(), "POST", users, "", credentials(fmt.Sprint("u", n))); a.status {
		case 201:
			acknowledged = append(acknowledged, a.text("auth_token"))
		default:
			refused = a
		}
	}
	if refused.status != 503 || refused.retryAfter == "" {
		t.Fatalf("with a full disk, after %d registrations: %s", len(acknowledged), refused)
	}
	if a := c.do(t.Context(), "GET", me, token, ""); a.status != 200 {
		t.Errorf("read: %s", a)
	}
	// There may be room for a change: one that is acknowledged is kept.
	changed := c.do(t.Context(), "PATCH", users+id+"/", token, `{"first_name":"x"}`)
	if changed.status != 200 && (changed.status != 503 || changed.retryAfter == "") {
		t.Errorf("change: %s", changed)
	}
	if a := c.do(t.Context(), "GET", me, token, ""); a.status != 200 || (a.text("first_name") == "x") != (changed.status == 200) {
		t.Errorf("change: %s, and then %s", changed, a)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if a := c.do(t.Context(), "POST", users, "", credentials("after")); a.status != 201 {
		t.Errorf("register once there is room: %s", a)
	}
	for _, token := range append(acknowledged, token) {
		if a := c.do(t.Context(), "GET", me, token, ""); a.status != 200 {
			t.Errorf("an account that was acknowledged: %s", a)
		}
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged before the disk was full")
	}
	figure(t, "disk full (SQLite): %d accounts were acknowledged before, all of them there; writes 503 meanwhile, reads served", len(acknowledged))
	wantIntact(t, p, filepath.Join(folder, "rollbook.db"))
}

// longAgo makes each token one that was not used for so long that its next use is noted.
func longAgo(t *testing.T, path string) {
	t.Helper()
	result, err := testdb.SQL(t, "sqlite:"+path).ExecContext(t.Context(), "UPDATE tokens SET last_used_at = '2020-01-01 00:00:00+00:00'")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("%d tokens, %v", n, err)
	}
}

// fill fills a disk with a file, but for so many bytes.
func fill(t *testing.T, path string, but int64) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4<<10); err == nil; {
		_, err = file.Write(block)
	}
	size, err := file.Seek(0, io.SeekCurrent)
	if err := errors.Join(err, file.Truncate(size-but), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// wantIntact fails the test where SQLite finds its file damaged.
func wantIntact(t *testing.T, p *testserver.Process, path string) {
	t.Helper()
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Cmd.Wait() // it was killed
	var state string
	if err := testdb.SQL(t, "sqlite:"+path).QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&state); err != nil || state != "ok" {
		t.Errorf("%s: %s, %v", path, state, err)
	}
}
