package engine

import (
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"

	"github.com/suitegate/suitegate/proxy/tls12"
)

// TLS12 is the engine of package tls12: TLS 1.2 suites that crypto/tls lacks,
// or has without countermeasures to Lucky 13.
type TLS12 struct {
	config  Config
	tickets *tls12.TicketKeys // nil without tickets
	configs pinned[tls12.Config]
}

// NewTLS12 returns an engine for the listener that config describes. It has no
// ticket keys, and so no resumption, before [TLS12.SetTicketKeys].
func NewTLS12(config Config) *TLS12 {
	e := &TLS12{config: config}
	if !config.NoTickets {
		e.tickets = new(tls12.TicketKeys)
	}
	return e
}

// Name returns "tls12".
func (e *TLS12) Name() string { return "tls12" }

// Serves says whether package tls12 implements a cipher suite.
func (e *TLS12) Serves(suite uint16) bool { return servedByTLS12(suite) }

// servedByTLS12 is false in FIPS 140-3 mode, whose module the package is no part of.
func servedByTLS12(suite uint16) bool {
	return !fips140.Enabled() && slices.Contains(tls12.CipherSuites(), suite)
}

// SetTicketKeys implements [Engine]. Tickets of the other engines do not
// decrypt here, nor the other way round.
func (e *TLS12) SetTicketKeys(keys [][32]byte) {
	if e.tickets != nil {
		e.tickets.Set(keys)
	}
}

// Server implements [Engine].
func (e *TLS12) Server(conn net.Conn, choice Choice) Conn {
	below := &pinnedConn{Conn: conn, choice: choice}
	config := e.configs.get(choice, func() *tls12.Config {
		config := &tls12.Config{
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
	return &tls12Conn{Conn: tls12.Server(below, config), below: below}
}

// authenticate makes config ask clients for a certificate, which auth judges, as
// pinnedConn.authenticated does for crypto/tls.
func authenticate(config *tls12.Config, auth ClientAuth) {
	config.ClientAuth = tls.RequestClientCert
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume {
			return nil // judged in VerifySession
		}
		return auth.Verify(state.Version, state.PeerCertificates)
	}
	config.VerifySession = func(chain []*x509.Certificate) error { return auth.Verify(tls.VersionTLS12, chain) }
}

// tls12Conn is a *tls12.Conn that leads past pinnedConn.
type tls12Conn struct {
	*tls12.Conn
	below *pinnedConn
}

func (c *tls12Conn) NetConn() net.Conn { return c.below.Conn }
