package main

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rollbook/rollbook/password"
)

// useHugePages asks Linux for huge pages where passwords are going to be hashed. A hash reads its memory in no order, so that with pages of
// 4 KiB the processor has to look up where a page is again and again. Distributions differ in whether they give huge pages to who does not
// ask.
//
// It is called while the heap is small: what is taken for it here and left again is what hashes get later.
func useHugePages(h *password.Hasher) {
	const (
		growth = 3       // how many times what is hashed in at once the heap gets to be, garbage included
		block  = 4 << 20 // bytes; where one was in use before, Go clears it, and it takes memory
	)
	var blocks [][]byte
	for range growth * h.Memory() / block {
		blocks = append(blocks, make([]byte, block))
		_ = unix.Madvise(blocks[len(blocks)-1], unix.MADV_HUGEPAGE) // a kernel without them says so
	}
	runtime.KeepAlive(blocks)
	runtime.GC()
}
