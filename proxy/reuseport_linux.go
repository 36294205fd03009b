package proxy

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reusable lets other processes of the same user bind the socket's address, too
// (SO_REUSEPORT in socket(7)): all sockets of an address are a group, whose
// members get the connections in turn.
func reusable(_, _ string, socket syscall.RawConn) error {
	return withDescriptor(socket, func(fd int) error { return reusePort(fd, true) })
}

func reusePort(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, value))
}

// share lets others bind the address of a socket that is bound already, or no
// longer.
func share(l net.Listener, on bool) error {
	return control(l, func(fd int) error { return reusePort(fd, on) })
}

// undivert takes away the program that an earlier member of the group has left
// behind with divert. That there is none is no error worth telling.
func undivert(l net.Listener) {
	_ = control(l, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) })
}

// divert sends all that connect from now on to the second member of the group:
// the kernel keeps members in the order in which they came, and puts the last one
// where one has left, so that whoever has been replaced is the first. Where there
// is no second member the number means nothing, and the kernel chooses as ever.
func divert(l net.Listener) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 1}}
	return control(l, func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}))
	})
}

func control(l net.Listener, do func(fd int) error) error {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return errNotShared
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return withDescriptor(raw, do)
}

func withDescriptor(socket syscall.RawConn, do func(fd int) error) (err error) {
	if failed := socket.Control(func(fd uintptr) { err = do(int(fd)) }); failed != nil {
		return failed
	}
	return err
}
