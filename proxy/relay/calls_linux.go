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
	return call(unix.SYS_RECVFROM, fd, unsafe.Pointer(unsafe.SliceData(b)), len(b), 0)
}

// send is send(2), and as receive.
func send(fd int, b []byte) (int, syscall.Errno) {
	return call(unix.SYS_SENDTO, fd, unsafe.Pointer(unsafe.SliceData(b)), len(b), unix.MSG_NOSIGNAL)
}

// look is epoll_pwait(2) without waiting. It returns how many events there are.
func look(fd int, events []unix.EpollEvent) int {
	n, _ := call(unix.SYS_EPOLL_PWAIT, fd, unsafe.Pointer(unsafe.SliceData(events)), len(events), 0)
	return n // a valid call has no error but to be interrupted
}

// call makes one that takes a descriptor, room for n, and flags or how long to wait.
func call(number uintptr, fd int, room unsafe.Pointer, n int, last uintptr) (int, syscall.Errno) {
	for {
		done, _, err := unix.RawSyscall6(number, uintptr(fd), uintptr(room), uintptr(n), last, 0, 0)
		switch err {
		case 0:
			return int(done), 0
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}
