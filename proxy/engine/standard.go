package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
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

	// TicketLifetime is for how long after its full handshake a session can be
	// resumed, at most the seven days of RFC 8446 §4.6.1. Default: 24 h.
	TicketLifetime time.Duration

	// ClientAuth judges the certificates of clients. Default: clients are not
	// asked for one.
	ClientAuth ClientAuth
}

func (c Config) ticketLifetime() time.Duration { return cmp.Or(c.TicketLifetime, 24*time.Hour) }

// Standard is the engine that crypto/tls provides: in FIPS 140-3 mode, the only
// one. Of TLS 1.3's suites it chooses by an order of its own, which there is a fixed
// one: what is decided has to agree with it.
type Standard struct {
	config  Config
	tickets *tls.Config // holds the ticket keys for all of configs
	configs pinned[tls.Config]
}

// NewStandard returns an engine for the listener that config describes. Without
// [Standard.SetTicketKeys], its ticket keys are crypto/tls's own and end with
// the engine.
func NewStandard(config Config) *Standard {
	return &Standard{config: config, tickets: &tls.Config{SessionTicketsDisabled: config.NoTickets}}
}

// Name returns "crypto/tls".
func (s *Standard) Name() string { return "crypto/tls" }

// Serves says whether crypto/tls implements a cipher suite.
func (s *Standard) Serves(suite uint16) bool { return slices.Contains(standardSuites(), suite) }

// standardSuites are those of crypto/tls, which makes new lists of them each time.
var standardSuites = sync.OnceValue(func() (ids []uint16) {
	for _, c := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		ids = append(ids, c.ID)
	}
	return ids
})

// SetTicketKeys implements [Engine].
func (s *Standard) SetTicketKeys(keys [][32]byte) { s.tickets.SetSessionTicketKeys(keys) }

// Server implements [Engine].
func (s *Standard) Server(conn net.Conn, choice Choice) Conn {
	below := &standardBelow{decidedConn: decidedConn{conn, choice.Certificate}}
	config := s.configs.get(choice, func() *tls.Config { return s.pin(choice) })
	if s.config.ClientAuth != nil {
		config = below.authenticated(config, s.config.ClientAuth)
	}
	return &standardConn{Conn: tls.Server(below, config), below: below, version: choice.Version}
}

// pin returns a configuration that can negotiate choice and nothing else. It
// serves every connection of this suite, group and identity.
func (s *Standard) pin(choice Choice) *tls.Config {
	context := sessionContext(choice.Identity)
	return &tls.Config{
		MinVersion:             s.config.MinVersion,
		MaxVersion:             s.config.MaxVersion,
		CipherSuites:           []uint16{choice.Suite}, // of TLS 1.2
		CurvePreferences:       []tls.CurveID{choice.Group},
		NextProtos:             s.config.NextProtos,
		GetCertificate:         decidedCertificate,
		SessionTicketsDisabled: s.config.NoTickets,
		// Small records at the beginning let a browser show the first bytes of a
		// page sooner. Messages of a broker are not worth a call of the system each.
		DynamicRecordSizingDisabled: true,
		WrapSession: func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
			ss.Extra = append(ss.Extra, context(cs))
			return s.tickets.EncryptTicket(cs, ss)
		},
		UnwrapSession: func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
			ss, err := s.tickets.DecryptTicket(identity, cs)
			if ss == nil || err != nil || !s.resumable(ss, context(cs)) {
				return nil, err
			}
			return ss, nil
		},
	}
}

// sessionContext is what has to be the same when a session is resumed, beside
// what crypto/tls looks at: the certificate's identity and the server name
// (RFC 6066 §3, for TLS 1.2; in TLS 1.3 a session costs less than the risk).
func sessionContext(identity string) func(tls.ConnectionState) []byte {
	prefix := slices.Clip(fmt.Appendf(nil, "suitegate %q ", identity))
	return func(cs tls.ConnectionState) []byte { return strconv.AppendQuote(prefix, cs.ServerName) }
}

// resumable says whether a session of one of our tickets may go on.
func (s *Standard) resumable(ss *tls.SessionState, context []byte) bool {
	created, err := sessionCreated(ss)
	return err == nil && time.Since(created) < s.config.ticketLifetime() &&
		slices.ContainsFunc(ss.Extra, func(extra []byte) bool { return bytes.Equal(extra, context) })
}

// sessionCreated is when the secret of a session was made, which crypto/tls
// keeps to itself though it holds it against its own limit of seven days. It is
// behind version, type and suite in the encoding.
func sessionCreated(ss *tls.SessionState) (time.Time, error) {
	state, err := ss.Bytes()
	if err != nil {
		return time.Time{}, err
	}
	var created uint64
	encoded := cryptobyte.String(state)
	if !encoded.Skip(2+1+2) || !encoded.ReadUint64(&created) {
		return time.Time{}, errors.New("engine: session state is too short")
	}
	return time.Unix(int64(created), 0), nil
}

// standardConn is a *tls.Conn that leads past standardBelow.
type standardConn struct {
	*tls.Conn
	below   *standardBelow
	version uint16
}

func (c *standardConn) NetConn() net.Conn { return c.below.Conn }

func (c *standardConn) HandshakeContext(ctx context.Context) error {
	if c.version != tls.VersionTLS13 {
		return c.Conn.HandshakeContext(ctx)
	}
	watch := new(alertWatch)
	c.below.watch = watch
	err := c.Conn.HandshakeContext(ctx)
	c.below.watch = nil
	return watch.explain(err)
}

// standardBelow lies below crypto/tls, and looks at what it reads and writes.
type standardBelow struct {
	decidedConn
	alert uint8       // to send instead of the bad_certificate that comes next; 0 for nothing
	watch *alertWatch // while a TLS 1.3 handshake goes on
}

func (c *standardBelow) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.watch != nil {
		c.watch.see(b[:n])
	}
	return n, err
}

func (c *standardBelow) Write(b []byte) (int, error) {
	if c.alert != 0 {
		b = exactAlert(b, c.alert) // of the same length
	}
	return c.Conn.Write(b)
}
