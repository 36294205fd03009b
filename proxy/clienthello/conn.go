package clienthello

import (
	"errors"
	"net"
)

// Conn is a connection whose first bytes were read already, and are read again.
//
// Bytes that the hello arrived in come first, from memory; every later Read is
// the connection's own, its errors passed on as they are, temporary ones too.
// Like the connection's, its methods may be called from several goroutines,
// but Read only from one at a time until the hello has been read.
type Conn struct {
	net.Conn
	replay []byte // not yet read; nil once it is
}

// Replay returns a connection that reads what [Read] took from conn once more
// and then goes on with conn. The bytes go over to it, so only the first call
// has them to give, and a Hello that lives on for a log line does not keep them.
func (h *Hello) Replay(conn net.Conn) *Conn {
	c := &Conn{Conn: conn, replay: h.raw}
	h.raw = nil
	return c
}

// Read reads from the hello until it is used up, and from then on from the
// connection below. It never does both in one call: a hello must not wait for
// what comes after it.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.replay) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.replay)
	c.replay = c.replay[n:]
	if len(c.replay) == 0 {
		c.replay = nil // free what may be the better part of 128 KiB
	}
	return n, nil
}

// CloseWrite closes the write side of the connection below. The error is
// [errors.ErrUnsupported] if that one cannot.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn returns the connection below. To read from it loses what has not been
// replayed yet.
func (c *Conn) NetConn() net.Conn { return c.Conn }
