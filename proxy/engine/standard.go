package engine

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
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
	configs pinned[tls.Config]
}

// NewStandard returns an engine for the listener that config describes. Without
// [Standard.SetTicketKeys], its ticket keys are crypto/tls's own and end with
// the engine.
func NewStandard(config Config) *Standard {
	useStandingOrder()
	return &Standard{config: config, tickets: &tls.Config{SessionTicketsDisabled: config.NoTickets}}
}

// Name returns "crypto/tls".
func (s *Standard) Name() string { return "crypto/tls" }

// Serves says whether crypto/tls implements a cipher suite.
func (s *Standard) Serves(suite uint16) bool {
	is := func(c *tls.CipherSuite) bool { return c.ID == suite }
	return slices.ContainsFunc(tls.CipherSuites(), is) || slices.ContainsFunc(tls.InsecureCipherSuites(), is)
}

// SetTicketKeys implements [Engine].
func (s *Standard) SetTicketKeys(keys [][32]byte) { s.tickets.SetSessionTicketKeys(keys) }

// Server implements [Engine].
func (s *Standard) Server(conn net.Conn, choice Choice) Conn {
	below := &pinnedConn{Conn: conn, choice: choice}
	config := s.configs.get(choice, func() *tls.Config { return s.pin(choice) })
	return &standardConn{Conn: tls.Server(below, config), below: below}
}

// pin returns a configuration that can negotiate choice and nothing else.
func (s *Standard) pin(choice Choice) *tls.Config {
	return &tls.Config{
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
