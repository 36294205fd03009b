package main

import (
	"os"
	"runtime"
)

// addProcessor gives the Go runtime one processor more than it would have by
// itself, unless the environment variable GOMAXPROCS says how many.
//
// Handshakes leave one of them free, so that established connections are not
// kept waiting (see proxy/limits.Gate). With this one the handshakes have as many
// as the machine has, and the kernel, which does not let one thread wait for
// another to finish, shares them out: on two processors a third of the handshakes
// a second would be lost otherwise. What is carried costs the same.
func addProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}
