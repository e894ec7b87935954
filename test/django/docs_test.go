package django_test

import (
	"path/filepath"
	"testing"

	"github.com/rollbook/rollbook/test/pasted"
)

func TestMovingWorksAsPasted(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s := newService(t, "sqlite:"+filepath.Join(folder, "db.sqlite3"), false)
	const id = "6d5f9bae-a31b-4b7b-82c4-3853eda2b01"
	s.fill(
		person{"id": id + "1", "username": "richard", "password": "correct-horse-battery-staple", "hasher": "pbkdf2_sha256", "first_name": "Richard", "token": true},
		person{"id": id + "2", "username": "jared", "password": "x", "hasher": "unsalted_md5"},
		person{"id": id + "3", "username": "\ufb01ona", "token": true}, person{"id": id + "4", "username": "fiona", "token": true},
	)
	s.serve()
	address := pasted.FreeAddress(t)
	pasted.Run(t, "../../docs/moving-from-django.md", 3, folder,
		[]string{"http://127.0.0.1:8001", s.URL, "http://127.0.0.1:8000", "http://" + address}, "ADDR="+address, pasted.Program(t, "../../cmd/rollbook"))
}
