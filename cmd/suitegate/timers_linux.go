package main

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the kernel may wake a sleeping thread of serve, so
// that wake-ups come together (PR_SET_TIMERSLACK in prctl(2)); the kernel's
// default is 50 µs.
//
// Whenever the process has been idle, a thread of the Go runtime looks after
// the others every 20 µs, fifty times, before it lets go: at the default slack
// that is a tenth of the processor time of a handshake on a gateway that is not
// busy. Nothing here has a timer for which a millisecond counts.
const timerSlack = time.Millisecond

// relaxTimers gives every thread of the process timerSlack. Threads inherit it
// from the thread that starts them, and the runtime's were there first; so the
// program is executed once more, which keeps the slack, the process ID and what
// was inherited from the parent. It returns without an effect where the slack
// is that wide already (TimerSlackNSec= in systemd.exec(5)), and where the
// system doesn't let it, since nothing but processor time is lost.
func relaxTimers() {
	runtime.LockOSThread() // for as long as it is this thread's slack
	defer runtime.UnlockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack >= int(timerSlack) {
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	// It returns only if it fails: where /proc is not mounted, for one.
	_ = unix.Exec("/proc/self/exe", os.Args, os.Environ())
}
