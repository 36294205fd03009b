package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// processClock is the processor time of another process until now, of all its
// threads, those that have ended too. It is what clock_getcpuclockid(3) names:
// exact to the nanosecond, where /proc/PID/stat counts ticks of 10 ms.
func processClock(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED of include/linux/posix-timers_types.h
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduler, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}
