package main

import (
	"os"
	"runtime"
)

// spareProcessor has the Go runtime use one processor more than it would by
// itself, or gives that back. It is nil if the environment variable GOMAXPROCS,
// Go's own, says how many there are.
func spareProcessor() func(needed bool) {
	if os.Getenv("GOMAXPROCS") != "" {
		return nil
	}
	return func(needed bool) {
		if needed {
			runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
		} else {
			runtime.SetDefaultGOMAXPROCS() // which follows the system's limits again
		}
	}
}
