// Package engine terminates TLS for connections whose version, cipher suite,
// group and certificate were decided before: it does what the decision says or
// fails, and never negotiates anything else.
//
// An [Engine] serves some of the cipher suites: [Standard] is crypto/tls, and
// [TLS12] has suites for old clients that crypto/tls lacks. A [Dispatcher] hands
// each connection to the first engine that serves its suite.
package engine

import (
	"context"
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

	// Offered are the client's cipher suites, as in its hello.
	Offered []uint16
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

// Dispatcher is a list of engines, the preferred ones first.
type Dispatcher []Engine

// New returns the engines that a listener needs for its policy's suites.
// [TLS12] is only there if one of them is its, and is then preferred for these:
// of the two that crypto/tls has too, it serves the safer one.
func New(config Config, suites []uint16) Dispatcher {
	standard := NewStandard(config)
	if slices.ContainsFunc(suites, servedByTLS12) { // none in FIPS 140-3 mode
		return Dispatcher{NewTLS12(config), standard}
	}
	return Dispatcher{standard}
}

// SetTicketKeys sets the ticket keys of all engines.
func (d Dispatcher) SetTicketKeys(keys [][32]byte) {
	for _, e := range d {
		e.SetTicketKeys(keys)
	}
}

// Serves says whether any of the engines implements a cipher suite.
func (d Dispatcher) Serves(suite uint16) bool { return d.For(suite) != nil }

// For returns the first engine that implements a cipher suite, or nil.
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
