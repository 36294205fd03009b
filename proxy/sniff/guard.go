package sniff

import (
	"errors"
	"io"
	"net"
)

// Conn is what [Guard] takes and gives: a connection that half-closes and lies
// on another, such as *[crypto/tls.Conn].
type Conn interface {
	net.Conn
	CloseWrite() error
	NetConn() net.Conn
}

// Guard returns c with its Read watched: it holds the client's first bytes back
// until they are known to be of protocol want, and then gets out of the way. If
// they are not, every Read fails with the same *[MismatchError], and none of the
// bytes is ever returned. It decides on the same bytes as the function Read, and
// so holds at most 8 KiB beside what one Read of c brings. All other methods are
// c's own, so that what goes to the client is not held back.
//
// A client that closes without a word ends in [io.EOF], one that closes within
// its first bytes in a *[PartialError]. Other errors of c, temporary ones too,
// are returned as they are, and Read may be called again as far as c allows.
// Like c's, Read is for one goroutine at a time.
func Guard(c Conn, want Protocol) Conn { return &guard{Conn: c, want: want} }

type guard struct {
	Conn
	want     Protocol
	known    bool   // the client is in the right place
	held     []byte // read from Conn and not yet returned
	mismatch error
}

func (g *guard) Read(p []byte) (int, error) {
	for !g.known {
		if g.mismatch != nil {
			return 0, g.mismatch
		}
		if len(p) == 0 {
			return 0, nil
		}
		if err := g.recognise(p); err != nil {
			return 0, err
		}
	}
	if len(g.held) == 0 {
		return g.Conn.Read(p)
	}
	n := copy(p, g.held)
	if g.held = g.held[n:]; len(g.held) == 0 {
		g.held = nil // the connection may stay for days
	}
	return n, nil
}

// Cool has what lies below let go of memory that it needs for traffic alone, if
// it can. No other method may run meanwhile.
func (g *guard) Cool() { cool(g.Conn) }

func cool(c Conn) {
	if c, ok := c.(interface{ Cool() }); ok {
		c.Cool()
	}
}

// recognise reads once, with p for a buffer, and judges what has come.
func (g *guard) recognise(p []byte) error {
	n, err := g.Conn.Read(p)
	g.held = append(g.held, p[:n]...)
	if n > 0 {
		_, g.known, g.mismatch = judge(g.held, g.want)
	}
	switch {
	case g.mismatch != nil:
		g.known, g.held = false, nil
		return g.mismatch
	case g.known:
		return nil // if err lasts, it comes again behind the bytes
	case errors.Is(err, io.EOF) && len(g.held) > 0:
		return &PartialError{Received: len(g.held), Err: err}
	default:
		return err
	}
}
