package load

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"github.com/suitegate/suitegate/proxy/tlsconn"
)

// A session is what resumes one, of either client.
type session struct {
	standard *tls.ClientSessionState
	own      *tlsconn.ClientSession
}

// sessionCache is the cache of one connection: it gives the session that is to
// be resumed, and passes on what the server sends. The zero value does neither.
type sessionCache struct {
	give *tls.ClientSessionState
	keep func(*tls.ClientSessionState)
}

// Get implements [tls.ClientSessionCache].
func (c sessionCache) Get(string) (*tls.ClientSessionState, bool) { return c.give, c.give != nil }

// Put implements [tls.ClientSessionCache].
func (c sessionCache) Put(_ string, state *tls.ClientSessionState) {
	if c.keep != nil && state != nil {
		c.keep(state)
	}
}

var errNoTicket = errors.New("load: the server gave no session ticket")

// sessions keeps the session that handshakes resume: one for all, which costs a
// server what one for each would.
type sessions struct {
	connector *connector

	mu      sync.Mutex
	current *session
}

// get returns the session, and makes one by a handshake that is not counted where
// there is none.
func (s *sessions) get(ctx context.Context) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return s.current, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.connector.Timeout)
	defer cancel()
	fresh, err := s.connector.newSession(ctx)
	if err != nil {
		return nil, err
	}
	s.current = fresh
	return fresh, nil
}

// drop forgets a session that the server did not resume.
func (s *sessions) drop(refused *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == refused {
		s.current = nil
	}
}

// newSession does a full handshake and waits for the ticket.
func (c *connector) newSession(ctx context.Context) (*session, error) {
	below, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer below.Close()
	if c.own != nil {
		conn := tlsconn.Client(below, c.own)
		if err := c.handshake(ctx, conn, false); err != nil {
			return nil, err
		}
		defer conn.Close()
		if s := conn.Session(); s != nil {
			return &session{own: s}, nil
		}
		return nil, errNoTicket
	}

	var fresh session
	reading := false
	config := c.standard.Clone()
	config.ClientSessionCache = sessionCache{keep: func(state *tls.ClientSessionState) {
		fresh.standard = state
		if reading {
			_ = below.SetReadDeadline(time.Unix(1, 0)) // Read has done what it was for
		}
	}}
	conn := tls.Client(below, config)
	if err := c.handshake(ctx, conn, false); err != nil {
		return nil, err
	}
	defer conn.Close()
	if fresh.standard == nil && conn.ConnectionState().Version == tls.VersionTLS13 {
		// It comes behind the handshake (RFC 8446 §4.6.1), and is taken by Read.
		reading = true
		_ = below.SetReadDeadline(time.Now().Add(c.Timeout))
		_, _ = conn.Read(make([]byte, 1)) // it fails, be it for the deadline
	}
	if fresh.standard == nil {
		return nil, errNoTicket
	}
	return &fresh, nil
}
