package engine

import (
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"net"

	"github.com/suitegate/suitegate/proxy/tlsconn"
)

// Own is one of the two engines of package tlsconn: TLS 1.2, or TLS 1.3.
type Own struct {
	name    string
	version uint16
	config  Config
	tickets *tlsconn.TicketKeys // nil without tickets
	configs pinned[tlsconn.Config]
}

// NewTLS12 returns the engine of TLS 1.2 for the listener that config describes.
// It has no ticket keys, and so no resumption, before [Own.SetTicketKeys].
func NewTLS12(config Config) *Own { return newOwn("tls12", tls.VersionTLS12, config) }

// NewTLS13 is [NewTLS12] for TLS 1.3.
func NewTLS13(config Config) *Own { return newOwn("tls13", tls.VersionTLS13, config) }

func newOwn(name string, version uint16, config Config) *Own {
	e := &Own{name: name, version: version, config: config}
	if !config.NoTickets {
		e.tickets = new(tlsconn.TicketKeys)
	}
	return e
}

// Name returns "tls12" or "tls13".
func (e *Own) Name() string { return e.name }

// Serves says whether the engine implements a cipher suite. In FIPS 140-3 mode it
// serves none: package tlsconn is no part of the module.
func (e *Own) Serves(suite uint16) bool {
	return !fips140.Enabled() && tlsconn.Serves(e.version, suite)
}

// SetTicketKeys implements [Engine]. No engine resumes the sessions of another: those
// of crypto/tls do not decrypt here, and the other version's have another form.
func (e *Own) SetTicketKeys(keys [][32]byte) {
	if e.tickets != nil {
		e.tickets.Set(keys)
	}
}

// Server implements [Engine].
func (e *Own) Server(conn net.Conn, choice Choice) Conn {
	below := &decidedConn{conn, choice.Certificate}
	config := e.configs.get(choice, func() *tlsconn.Config {
		config := &tlsconn.Config{
			Version:          e.version,
			MaxVersion:       e.config.MaxVersion,
			CipherSuites:     []uint16{choice.Suite},
			CurvePreferences: []tls.CurveID{choice.Group},
			NextProtos:       e.config.NextProtos,
			GetCertificate:   decidedCertificate,
			Tickets:          e.tickets,
			TicketLifetime:   e.config.ticketLifetime(),
			SessionContext:   choice.Identity,
		}
		if auth := e.config.ClientAuth; auth != nil {
			authenticate(config, auth)
		}
		return config
	})
	if e.config.ClientAuth != nil {
		todays := *config
		todays.ClientCAs = e.config.ClientAuth.Authorities()
		config = &todays
	}
	return &ownConn{Conn: tlsconn.Server(below, config), below: below}
}

// authenticate makes config ask clients for a certificate, which auth judges, as
// standardConn.authenticated does for crypto/tls.
func authenticate(config *tlsconn.Config, auth ClientAuth) {
	config.ClientAuth = tls.RequestClientCert
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume {
			return nil // judged in VerifySession
		}
		return auth.Verify(state.Version, state.PeerCertificates)
	}
	config.VerifySession = func(chain []*x509.Certificate) error { return auth.Verify(config.Version, chain) }
}

// ownConn is a *tlsconn.Conn that leads past decidedConn.
type ownConn struct {
	*tlsconn.Conn
	below *decidedConn
}

func (c *ownConn) NetConn() net.Conn { return c.below.Conn }

// Rebase has conn read from and write to socket, the lowest of the connections below
// it. The handshake must be complete, and what lies between do nothing any more but
// to pass on what it is asked for. crypto/tls cannot, and goes on as before.
func Rebase(conn Conn, socket net.Conn) {
	if own, ok := conn.(*ownConn); ok {
		own.below.Conn = socket
		own.Conn.Rebase(socket)
	}
}
