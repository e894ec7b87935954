package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// leastHeap is what the heap grows to before its garbage is collected, in bytes. Go would do that at twice what lives, which
	// is 8 MiB for a server that hashes nothing: ten times a second where profiles are read.
	leastHeap = 32 << 20
	// mostMemory is what the program's memory grows to before garbage is collected, in bytes, where GOGC is more than usual: many may
	// log in at once, and all that they hash be garbage, before GOGC is set by what lives then.
	mostMemory = 3 * leastHeap
	// usualPercent is GOGC's default: garbage is collected when there is as much of it as of what lives.
	usualPercent = 100
)

// collectLessOften has garbage collected less often while the heap is small, and as usual once it is not. Where the operator has set
// GOGC or GOMEMLIMIT, that counts.
func collectLessOften() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if _, set := os.LookupEnv(name); set {
			return
		}
	}
	percent := usualPercent
	var collected func()
	collected = func() {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if now := percentFor(int(live[0].Value.Uint64())); now != percent { //nolint:gosec // bytes of memory fit
			percent = now
			debug.SetGCPercent(percent) // which stops the program for a moment
			debug.SetMemoryLimit(limitFor(percent))
		}
		atNextCollection(collected)
	}
	atNextCollection(collected)
}

// limitFor is the GOMEMLIMIT that goes with a GOGC.
func limitFor(percent int) int64 {
	if percent > usualPercent {
		return mostMemory
	}
	return math.MaxInt64
}

// atNextCollection calls f once, when garbage has been collected.
func atNextCollection(f func()) {
	runtime.AddCleanup(new([1]*byte), func(f func()) { f() }, f)
}

// percentFor is the GOGC with which a heap grows to leastHeap, or to twice what lives of it.
func percentFor(live int) int {
	const (
		step  = 50      // so that it is seldom set
		least = 4 << 20 // Go takes the heap to be no smaller
	)
	return max(usualPercent, (100*leastHeap/max(live, least)-100)/step*step)
}
