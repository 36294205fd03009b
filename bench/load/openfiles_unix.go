//go:build unix

package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// raiseOpenFiles raises RLIMIT_NOFILE, if it has no room for n files, as far as
// this process may: above the hard limit for root alone.
func raiseOpenFiles(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("load: limit of open files: %w", err)
	}
	wanted := uint64(n)
	if uint64(limit.Cur) >= wanted {
		return nil
	}
	raised := limit
	raised.Cur = wanted
	raised.Max = max(raised.Max, wanted)
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
		return nil
	}
	return fmt.Errorf("load: the limit of open files (ulimit -n) is %d, and %d are needed", limit.Max, wanted)
}
