//go:build unix

package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// ownProcessorTime is the user and system time of this process until now.
func ownProcessorTime() (time.Duration, bool) {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0, false
	}
	return time.Duration(unix.TimevalToNsec(usage.Utime) + unix.TimevalToNsec(usage.Stime)), true
}
