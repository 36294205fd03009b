package relay

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of a loop never wait. So Go's scheduler need not be told of them,
// as package unix does, and sockets have calls of their own, shorter than those for
// all files. With small frames, where calls are nearly all of the cost, that is 5 % of
// it. A signal may interrupt a call that has done nothing yet: it is made again.

// receive is recv(2). It may be called for sockets alone that do not block.
func receive(fd int, b []byte) (int, syscall.Errno) {
	return transfer(unix.SYS_RECVFROM, fd, b, 0)
}

// send is send(2), and as receive.
func send(fd int, b []byte) (int, syscall.Errno) {
	return transfer(unix.SYS_SENDTO, fd, b, unix.MSG_NOSIGNAL)
}

func transfer(call uintptr, fd int, b []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, err := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		switch err {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}

// look is epoll_pwait(2) without waiting. It returns how many events there are.
func look(fd int, events []unix.EpollEvent) int {
	for {
		n, _, err := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		if err == 0 {
			return int(n)
		} // else it was interrupted: there is no other error that a valid call has
	}
}
