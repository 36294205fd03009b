package relay

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// Socket is a TCP connection that a [Poller] can wait for. Below a TLS
// connection it makes the difference between one that costs a goroutine for as
// long as it lasts and one that does not.
//
// Its Read and Write are those of the TCP connection until [Relay.Hand] has it,
// and again when a loop has given it to goroutines. In between the loop drives it:
// nothing waits then, Read and Write are called by the loop alone, and Close has it
// closed as soon as the loop has let it go. Read returns a temporary [net.Error]
// where it would wait. Write takes everything: what the system does not take at once
// is sent later, and the relay reads no more from the other side before that.
type Socket struct {
	tcp           *net.TCPConn // nil once a loop has had it
	local, remote net.Addr

	driven  *scratch // of whoever drives it; nil while Read and Write wait
	in      []byte   // was received, and not read yet
	drained bool     // the system has no more; the next event says otherwise
	ending  bool     // nothing will come after what the system has: no event tells of its end
	atOnce  int      // how much is received in one call

	mu   sync.Mutex // guards what follows while no loop drives it
	out  []byte     // was written, and not sent yet
	owed int        // payload in out, which the relay has not counted yet

	ends       sync.Mutex // guards what follows from those who end it
	waiting    waiting    // what Read and Write wait with; nil while a loop has all
	descriptor            // of the loop that has it
}

// waiting is a connection whose Read and Write wait.
type waiting interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// over is a connection that a loop has closed.
type over struct{}

func (over) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (over) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (over) Close() error                     { return net.ErrClosed }
func (over) CloseWrite() error                { return net.ErrClosed }
func (over) SetDeadline(time.Time) error      { return net.ErrClosed }
func (over) SetReadDeadline(time.Time) error  { return net.ErrClosed }
func (over) SetWriteDeadline(time.Time) error { return net.ErrClosed }

// NewSocket wraps a connection. Use it before anything is laid over it.
func NewSocket(conn *net.TCPConn) *Socket {
	return &Socket{tcp: conn, local: conn.LocalAddr(), remote: conn.RemoteAddr(), waiting: conn}
}

// LocalAddr implements [net.Conn].
func (s *Socket) LocalAddr() net.Addr { return s.local }

// RemoteAddr implements [net.Conn].
func (s *Socket) RemoteAddr() net.Addr { return s.remote }

// withSocket wraps a connection that has nothing below it.
func withSocket(c Conn) Conn {
	if tcp, ok := c.(*net.TCPConn); ok {
		return NewSocket(tcp)
	}
	return c
}

// scratch is room for what is under way while a connection is driven. It is
// shared by all that a loop has, one after the other.
type scratch struct{ input, payload []byte }

// How much is read from a side, and written to the other in one piece: from one
// TLS record's worth (RFC 8446 §5.1) to four. It grows with what comes, and falls
// back when the other side does not take it, for that is what is held meanwhile.
const (
	leastAtOnce = 16 << 10
	mostAtOnce  = 64 << 10

	// recordRoom is room for another record with all that protects it: 16 KiB and
	// 2048 bytes (RFC 5246 §6.2.3). TLS opens records where they are to be.
	recordRoom = 16<<10 + 2048
)

func newScratch() *scratch {
	return &scratch{input: make([]byte, mostAtOnce), payload: make([]byte, mostAtOnce+recordRoom)}
}

// wouldBlock is what Read returns where it would wait. TLS implementations take
// a temporary error for what it is, and go on where they were.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "relay: would block" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock net.Error = wouldBlock{}

// Read implements [net.Conn].
func (s *Socket) Read(b []byte) (int, error) {
	if len(s.in) > 0 {
		n := copy(b, s.in)
		s.in = s.in[n:]
		return n, nil
	}
	if s.driven == nil {
		return s.waiting.Read(b)
	}
	if s.drained {
		return 0, errWouldBlock
	}
	// TLS asks for a header, and then for the rest of a record. It gets all of
	// it from here, and the system is asked once for several records.
	if room := s.driven.input[:s.atOnce]; len(b) < len(room) {
		n, err := s.receive(room)
		s.in = room[:n]
		if n > 0 {
			n = copy(b, s.in)
			s.in = s.in[n:]
		}
		return n, err
	}
	return s.receive(b)
}

// Next returns the next n bytes of what was received, and they count as read, or nil
// if it was less. They are the caller's until anything else is done with the socket.
func (s *Socket) Next(n int) []byte {
	if len(s.in) < n {
		return nil
	}
	next := s.in[:n:n]
	s.in = s.in[n:]
	return next
}

// receive reads what is there. Less than there is room for is all, but for the end.
func (s *Socket) receive(b []byte) (int, error) {
	n, err := s.tryRead(b)
	if n < len(b) && !s.ending {
		s.drained = true
	}
	return n, err
}

// Write implements [net.Conn].
func (s *Socket) Write(b []byte) (int, error) {
	if s.driven != nil {
		sent := 0
		if len(s.out) == 0 {
			var err error
			if sent, err = s.tryWrite(b); err != nil {
				return sent, err
			}
		}
		s.out = append(s.out, b[sent:]...)
		return len(b), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.settleLocked(); err != nil {
		return 0, err
	}
	return s.waiting.Write(b)
}

// CloseWrite sends what is left, and the end of the stream behind it. While a
// loop drives it, the loop has sent what there was.
func (s *Socket) CloseWrite() error {
	if s.driven == nil {
		s.mu.Lock()
		err := s.settleLocked()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return s.closeWrite()
}

// settle waits until what the loop left is sent, and returns the payload that it
// was.
func (s *Socket) settle() (payload int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.settleLocked(); err != nil {
		return 0, err
	}
	payload, s.owed = s.owed, 0
	return payload, nil
}

func (s *Socket) settleLocked() error {
	for len(s.out) > 0 {
		n, err := s.waiting.Write(s.out)
		s.out = s.out[n:]
		if err != nil {
			return err
		}
	}
	s.out = nil
	return nil
}

// park moves what is under way out of the scratch room, which others need.
func (s *Socket) park() {
	if len(s.in) > 0 && aliases(s.in, s.driven.input) {
		s.in = bytes.Clone(s.in)
	}
}

// aliases says whether a slice lies in room, to whose end it then reaches.
func aliases(b, room []byte) bool {
	return cap(b) > 0 && cap(room) > 0 && &b[:cap(b)][cap(b)-1] == &room[:cap(room)][cap(room)-1]
}

// socketOf finds the Socket that conn is, or lies over.
func socketOf(conn net.Conn) *Socket {
	for conn != nil {
		switch c := conn.(type) {
		case *Socket:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
	return nil
}
