package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A descriptor is how a loop reaches a socket: by a file descriptor of its own,
// of which Go's poller knows nothing. One that net has opened would be watched by
// both, and each byte that comes tell both.
type descriptor struct {
	fd   int
	held bool // by a loop: it alone closes fd
	cut  bool // is to be closed as soon as it is no longer held

	readBy, writeBy time.Time // deadlines that were asked for meanwhile
}

// hold gives the socket to a loop. Whoever else has it may end it, no more.
func (s *Socket) hold() error {
	raw, err := s.tcp.SyscallConn()
	if err != nil {
		return err
	}
	fd, failure := -1, error(nil)
	if err := raw.Control(func(own uintptr) { fd, failure = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if failure != nil {
		return os.NewSyscallError("fcntl", failure)
	}
	s.ends.Lock()
	defer s.ends.Unlock()
	s.descriptor = descriptor{fd: fd, held: true}
	return nil
}

// leaveGo closes the descriptor that Go's poller watches: the loop's is the only
// one from now on.
func (s *Socket) leaveGo() {
	s.ends.Lock()
	defer s.ends.Unlock()
	_ = s.tcp.Close() // nothing ends by that
	s.tcp, s.waiting = nil, nil
}

// letGo ends the hold, and the methods wait again.
func (s *Socket) letGo() {
	s.ends.Lock()
	defer s.ends.Unlock()
	d := s.descriptor
	if !d.held {
		return
	}
	s.descriptor = descriptor{fd: -1}
	if s.waiting == nil {
		s.waiting = socketFile{os.NewFile(uintptr(d.fd), "socket"), s}
	} else {
		_ = unix.Close(d.fd) // with the first one, as before
	}
	if d.cut {
		_ = s.waiting.Close()
		return
	}
	if !d.readBy.IsZero() {
		_ = s.waiting.SetReadDeadline(d.readBy)
	}
	if !d.writeBy.IsZero() {
		_ = s.waiting.SetWriteDeadline(d.writeBy)
	}
}

// end closes a socket that a loop has.
func (s *Socket) end() {
	s.ends.Lock()
	defer s.ends.Unlock()
	_ = unix.Close(s.fd)
	s.descriptor, s.waiting = descriptor{fd: -1}, over{}
}

// Close implements [net.Conn].
func (s *Socket) Close() error {
	s.ends.Lock()
	defer s.ends.Unlock()
	if s.held { // and is being read from, perhaps: closing it is the loop's
		s.cut = true
		return os.NewSyscallError("shutdown", unix.Shutdown(s.fd, unix.SHUT_RDWR))
	}
	return s.waiting.Close()
}

func (s *Socket) closeWrite() error {
	s.ends.Lock()
	defer s.ends.Unlock()
	if s.held {
		return os.NewSyscallError("shutdown", unix.Shutdown(s.fd, unix.SHUT_WR))
	}
	return s.waiting.CloseWrite()
}

// SetDeadline implements [net.Conn]. While a loop has the connection no deadline
// holds; the last that was set does from then on.
func (s *Socket) SetDeadline(t time.Time) error {
	return s.setDeadline(t, true, true)
}

// SetReadDeadline implements [net.Conn].
func (s *Socket) SetReadDeadline(t time.Time) error { return s.setDeadline(t, true, false) }

// SetWriteDeadline implements [net.Conn].
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(t, false, true) }

func (s *Socket) setDeadline(t time.Time, read, write bool) error {
	s.ends.Lock()
	defer s.ends.Unlock()
	switch {
	case s.held:
		if read {
			s.readBy = t
		}
		if write {
			s.writeBy = t
		}
		return nil
	case read && write:
		return s.waiting.SetDeadline(t)
	case read:
		return s.waiting.SetReadDeadline(t)
	}
	return s.waiting.SetWriteDeadline(t)
}

// tryRead reads what the system has. It returns errWouldBlock where that is
// nothing.
func (s *Socket) tryRead(b []byte) (int, error) {
	switch n, err := receive(s.fd, b); {
	case n > 0:
		return n, nil
	case err == 0:
		return 0, io.EOF
	case err == unix.EAGAIN:
		return 0, errWouldBlock
	default:
		return 0, s.opError("read", os.NewSyscallError("read", err))
	}
}

// tryWrite writes what the system takes, which may be nothing.
func (s *Socket) tryWrite(b []byte) (int, error) {
	switch n, err := send(s.fd, b); err {
	case 0, unix.EAGAIN:
		return n, nil
	default:
		return 0, s.opError("write", os.NewSyscallError("write", err))
	}
}

// opError is an error as net has it.
func (s *Socket) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.local, Addr: s.remote, Err: err}
}

// socketFile is a socket that waits again. Its errors are those of net.
type socketFile struct {
	*os.File
	socket *Socket
}

func (f socketFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	return n, f.named("read", err)
}

func (f socketFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.named("write", err)
}

func (f socketFile) named(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	} else if inner, ok := errors.AsType[*os.PathError](err); ok {
		err = inner.Err
		if errno, ok := err.(syscall.Errno); ok {
			err = os.NewSyscallError(op, errno)
		}
	}
	return f.socket.opError(op, err)
}

func (f socketFile) CloseWrite() error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	failure := error(nil)
	if err := raw.Control(func(fd uintptr) { failure = unix.Shutdown(int(fd), unix.SHUT_WR) }); err != nil {
		return err
	}
	return os.NewSyscallError("shutdown", failure)
}
