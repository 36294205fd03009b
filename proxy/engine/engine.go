// Package engine terminates TLS for connections whose version, cipher suite,
// group and certificate were decided before: it does what the decision says or
// fails, and never negotiates anything else.
//
// An [Engine] serves some of the cipher suites: an [Own] those of one version of
// TLS, and [Standard], which is crypto/tls, takes their place in FIPS 140-3 mode. A
// [Dispatcher] hands each connection to the engine that serves its suite.
//
// # Why not crypto/tls
//
// It lacks eight of the suites of ActiveMQ's brokers, and has no encrypt-then-MAC
// for others. The suites of TLS 1.3 cannot be configured there, nor the alert about
// a client's certificate chosen; an idle connection keeps the buffer of its longest
// record; and X25519 takes twice the time it has to. Each could be got around for a
// price: its lists of suites permuted under a lock, its records opened and sealed
// anew, its fields reached by their offsets.
package engine

import (
	"context"
	"crypto/fips140"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
)

// Conn is the server's side of a TLS connection. *tls.Conn is one.
//
// After a temporary [net.Error] from the connection below, Read and Write
// carry on where they were when they are called again.
type Conn interface {
	net.Conn

	// HandshakeContext runs the handshake to its end. On failure the client
	// was sent its alert before the error comes back.
	HandshakeContext(ctx context.Context) error

	// ConnectionState is complete once the handshake is.
	ConnectionState() tls.ConnectionState

	// CloseWrite sends close_notify (RFC 5246 §7.2.1, RFC 8446 §6.1) and
	// leaves reading open.
	CloseWrite() error

	// NetConn is the connection below. Close it, rather than the Conn, after
	// an error: a Conn's own Close sends a close_notify behind the fatal
	// alert, which clients report as a fault of its own.
	NetConn() net.Conn
}

// Choice is what was decided for one connection.
type Choice struct {
	Version     uint16
	Suite       uint16
	Group       tls.CurveID // 0 with RSA key exchange
	Certificate *tls.Certificate

	// Identity stands for what Certificate tells the client of the server: a
	// session is resumed only under the identity that it began with. Empty is
	// one like any other.
	Identity string
}

// Engine terminates TLS with some of the cipher suites.
type Engine interface {
	// Name is what logs and metrics call the engine.
	Name() string

	// Serves says whether the engine implements a cipher suite.
	Serves(suite uint16) bool

	// SetTicketKeys sets the keys of session tickets: the first one encrypts,
	// all decrypt. They must differ between listeners of different policy or
	// client authentication, or a ticket would carry a session across.
	SetTicketKeys(keys [][32]byte)

	// Server returns the server's side of conn, which has the whole
	// ClientHello still to read. It must negotiate choice or fail.
	Server(conn net.Conn, choice Choice) Conn
}

// Dispatcher is a list of engines, no two of which serve the same suite.
type Dispatcher []Engine

// New returns the engines that a listener needs for its policy's suites: crypto/tls
// alone in FIPS 140-3 mode, and otherwise our own, of TLS 1.2 and TLS 1.3 only where
// one of the suites is theirs.
func New(config Config, suites []uint16) (d Dispatcher) {
	if fips140.Enabled() {
		return Dispatcher{NewStandard(config)}
	}
	for _, own := range [...]*Own{NewTLS12(config), NewTLS13(config)} {
		if slices.ContainsFunc(suites, own.Serves) {
			d = append(d, own)
		}
	}
	return d
}

// SetTicketKeys sets the ticket keys of all engines.
func (d Dispatcher) SetTicketKeys(keys [][32]byte) {
	for _, e := range d {
		e.SetTicketKeys(keys)
	}
}

// Serves says whether any of the engines implements a cipher suite.
func (d Dispatcher) Serves(suite uint16) bool { return d.For(suite) != nil }

// For returns the engine that implements a cipher suite, or nil.
func (d Dispatcher) For(suite uint16) Engine {
	for _, e := range d {
		if e.Serves(suite) {
			return e
		}
	}
	return nil
}

// ErrNotAsDecided is returned by [Verify].
var ErrNotAsDecided = errors.New("engine: the handshake ended with other parameters than were decided")

// Verify holds a finished handshake against its choice. A difference is a
// defect of the engine, and the connection must not carry a byte.
//
// A TLS 1.2 session that is resumed has no key exchange of its own, and reports
// the group of the one it came from; tickets are bound to the policy, so that
// was a permitted one too.
func Verify(state tls.ConnectionState, choice Choice) error {
	noExchange := state.DidResume && state.Version == tls.VersionTLS12
	if state.HandshakeComplete && state.Version == choice.Version && state.CipherSuite == choice.Suite &&
		(state.CurveID == choice.Group || noExchange) {
		return nil
	}
	return fmt.Errorf("%w: version %#04x suite %#04x group %d, decided %#04x %#04x %d", ErrNotAsDecided,
		state.Version, state.CipherSuite, state.CurveID, choice.Version, choice.Suite, choice.Group)
}
