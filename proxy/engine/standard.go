package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
)

// Config is what a listener's connections have in common.
type Config struct {
	// MinVersion and MaxVersion are the versions of the listener's policy, and
	// not only those of one decision: a TLS 1.2 handshake needs to know that
	// TLS 1.3 was possible, for the downgrade marker (RFC 8446 §4.1.3) and
	// FALLBACK_SCSV (RFC 7507 §3).
	MinVersion, MaxVersion uint16

	// NextProtos are the application protocols (RFC 7301), preferred ones
	// first. With none, what clients offer is ignored.
	NextProtos []string

	// NoTickets switches session tickets and so resumption off.
	NoTickets bool
}

// Standard is the engine that crypto/tls provides.
type Standard struct {
	config  Config
	tickets *tls.Config // holds the ticket keys for all of configs

	mu      sync.RWMutex
	configs map[pin]*tls.Config
}

// pin is what a *tls.Config is pinned to.
type pin struct {
	suite uint16
	group tls.CurveID
}

// NewStandard returns an engine for the listener that config describes. Without
// [Standard.SetTicketKeys], its ticket keys are crypto/tls's own and end with
// the engine.
func NewStandard(config Config) *Standard {
	useStandingOrder()
	return &Standard{
		config:  config,
		tickets: &tls.Config{SessionTicketsDisabled: config.NoTickets},
		configs: make(map[pin]*tls.Config),
	}
}

// Name returns "crypto/tls".
func (s *Standard) Name() string { return "crypto/tls" }

// Serves says whether crypto/tls implements a cipher suite.
func (s *Standard) Serves(suite uint16) bool {
	is := func(c *tls.CipherSuite) bool { return c.ID == suite }
	return slices.ContainsFunc(tls.CipherSuites(), is) || slices.ContainsFunc(tls.InsecureCipherSuites(), is)
}

// SetTicketKeys sets the keys of session tickets: the first one encrypts, all
// decrypt. They must differ between listeners of different policy, certificates
// or client authentication, or a ticket would carry a session across.
func (s *Standard) SetTicketKeys(keys [][32]byte) { s.tickets.SetSessionTicketKeys(keys) }

// Server implements [Engine].
func (s *Standard) Server(conn net.Conn, choice Choice) Conn {
	below := &pinnedConn{Conn: conn, choice: choice}
	return &standardConn{Conn: tls.Server(below, s.pinned(choice)), below: below}
}

// pinned returns the tls.Config that can negotiate choice and nothing else. It
// is made once for each pair of suite and group: making one for each connection
// costs more than everything else that a gateway adds to a handshake.
func (s *Standard) pinned(choice Choice) *tls.Config {
	key := pin{choice.Suite, choice.Group}
	s.mu.RLock()
	config := s.configs[key]
	s.mu.RUnlock()
	if config != nil {
		return config
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if config := s.configs[key]; config != nil {
		return config
	}
	config = &tls.Config{
		MinVersion:             s.config.MinVersion,
		MaxVersion:             s.config.MaxVersion,
		CipherSuites:           []uint16{choice.Suite}, // TLS 1.2; for 1.3 see suiteOrder
		CurvePreferences:       []tls.CurveID{choice.Group},
		NextProtos:             s.config.NextProtos,
		GetCertificate:         decidedCertificate,
		SessionTicketsDisabled: s.config.NoTickets,
		WrapSession: func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			return s.tickets.EncryptTicket(cs, ss)
		},
		UnwrapSession: func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
			return s.tickets.DecryptTicket(identity, cs)
		},
	}
	s.configs[key] = config
	return config
}

// decidedCertificate is a tls.Config.GetCertificate. The certificate was chosen
// with the suite, and crypto/tls is not asked for its opinion: its own check
// (ClientHelloInfo.SupportsCertificate) turns an RSA certificate down for
// clients that offer only suites crypto/tls lacks.
func decidedCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	below, ok := hello.Conn.(*pinnedConn)
	if !ok || below.choice.Certificate == nil {
		return nil, errors.New("engine: no certificate was decided")
	}
	below.suitePicked()
	return below.choice.Certificate, nil
}

// standardConn is a *tls.Conn that handshakes under the right suiteOrder.
type standardConn struct {
	*tls.Conn
	below *pinnedConn
}

func (c *standardConn) NetConn() net.Conn { return c.below.Conn }

func (c *standardConn) HandshakeContext(ctx context.Context) error {
	if c.below.choice.Version == tls.VersionTLS13 {
		c.below.release = tls13Order.acquire(c.below.choice.Suite, c.below.choice.Offered)
		defer c.below.suitePicked()
	}
	return c.Conn.HandshakeContext(ctx)
}

// pinnedConn lies below crypto/tls and carries the choice to its callbacks.
type pinnedConn struct {
	net.Conn
	choice  Choice
	release func() // of the suiteOrder; nil when it isn't held
}

// suitePicked gives the suiteOrder back. Everything happens on the goroutine
// of the handshake, so release needs no lock.
func (c *pinnedConn) suitePicked() {
	if c.release != nil {
		c.release()
		c.release = nil
	}
}

// Write is the first thing that crypto/tls does after it has picked a suite and
// before it waits for the client (ServerHello, HelloRetryRequest or an alert).
func (c *pinnedConn) Write(b []byte) (int, error) {
	c.suitePicked()
	return c.Conn.Write(b)
}
