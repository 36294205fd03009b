package relay

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// direct are calls of the system on a socket that do not wait. The descriptor is
// held for each, so that it is not another connection's in the meantime.
type direct struct {
	descriptor syscall.RawConn
	read       func(uintptr) // made once: a closure for each call would be garbage
	write      func(uintptr)

	b   []byte // of the call
	n   int
	err error
}

// open makes the calls possible.
func (s *Socket) open() (err error) {
	d := &s.direct
	if d.descriptor != nil {
		return nil
	}
	d.read = func(fd uintptr) { d.n, d.err = unix.Read(int(fd), d.b) }
	d.write = func(fd uintptr) { d.n, d.err = unix.Write(int(fd), d.b) }
	d.descriptor, err = s.TCPConn.SyscallConn()
	return err
}

// call returns errWouldBlock where the system would wait.
func (s *Socket) call(name string, do func(uintptr), b []byte) (int, error) {
	d := &s.direct
	d.b = b
	for {
		if err := d.descriptor.Control(do); err != nil {
			d.n, d.err = 0, err
			break
		}
		if d.err != unix.EINTR {
			break
		}
	}
	n, err := max(d.n, 0), d.err
	d.b, d.err = nil, nil
	errno, ok := err.(unix.Errno)
	switch {
	case !ok:
		return n, err
	case errno == unix.EAGAIN:
		return n, errWouldBlock
	}
	return n, &net.OpError{Op: name, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(name, errno)}
}

// tryRead reads what the system has. It returns errWouldBlock where that is
// nothing.
func (s *Socket) tryRead(b []byte) (int, error) {
	n, err := s.call("read", s.direct.read, b)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// tryWrite writes what the system takes, which may be nothing.
func (s *Socket) tryWrite(b []byte) (int, error) {
	n, err := s.call("write", s.direct.write, b)
	if err == errWouldBlock {
		return 0, nil
	}
	return n, err
}
