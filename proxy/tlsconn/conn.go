package tlsconn

import (
	"context"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is one side of a TLS connection: a server's of TLS 1.2 or 1.3, or a client's
// of TLS 1.2. It is a [net.Conn];
// reading and writing at the same time is safe, and so are several readers or
// writers.
//
// After an error of the connection below that is a temporary [net.Error],
// whatever was under way may be called again and carries on where it was:
// handshake, Read, Write, CloseWrite. Such an error may come at any byte. After
// any other error the connection is of no more use, and further calls return it
// again.
type Conn struct {
	below        net.Conn
	config       *Config       // of a server
	clientConfig *ClientConfig // of a client; one of the two is nil

	handshakeMutex sync.Mutex
	handshaking    interface{ run() error } // nil before the first call, and after the last
	handshakeErr   error                    // why it failed for good
	handshakeDone  atomic.Bool

	// What the handshake decided, guarded by handshakeMutex and, once
	// handshakeDone is set, constant.
	session    session
	protocol   string // by ALPN
	resumed    bool
	etm        bool
	chains     [][]*x509.Certificate // of the peer's certificate
	randoms    [2][randomLen]byte    // the client's and the server's
	ticket     []byte                // a client's: what resumes the session
	tlsUnique  [verifyDataLen]byte   // the first Finished message (RFC 5929 §3.1)
	haveUnique bool

	exporterSecret []byte // of TLS 1.3 (RFC 8446 §7.5)

	in  inbound
	out outbound

	// active counts the calls of Write in its upper bits; the lowest says that
	// Close was called.
	active atomic.Int32
}

// Server returns the server's side of a TLS connection over conn, of the version
// that config says. The ClientHello is yet to be read from conn; [Conn.Handshake]
// does it, or the first Read or Write.
func Server(conn net.Conn, config *Config) *Conn {
	c := &Conn{below: conn, config: config}
	c.in.tls13 = config.Version == tls.VersionTLS13
	return c
}

// NetConn returns the connection below. Whoever reads or writes it himself ruins
// this one.
func (c *Conn) NetConn() net.Conn { return c.below }

// Rebase replaces the connection below by one that it consists of, when the handshake
// is complete and what lies between does nothing any more. If below is a [Window],
// records are opened where it shows them, which saves copying them. No other method
// may run meanwhile.
func (c *Conn) Rebase(below net.Conn) {
	c.below = below
	c.in.reader.window, _ = below.(Window)
}

// LocalAddr returns the address of the connection below.
func (c *Conn) LocalAddr() net.Addr { return c.below.LocalAddr() }

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.below.RemoteAddr() }

// SetDeadline sets the read and write deadlines of the connection below. An
// error that a deadline causes is temporary: with a later one, calls carry on.
func (c *Conn) SetDeadline(t time.Time) error { return c.below.SetDeadline(t) }

// SetReadDeadline is SetDeadline for reading alone.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.below.SetReadDeadline(t) }

// SetWriteDeadline is SetDeadline for writing alone.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.below.SetWriteDeadline(t) }

// Handshake is HandshakeContext without a context.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext runs the handshake to its end, if it has not come there yet.
// When it fails, the peer was sent its alert before the error comes back: a
// [net.OpError] whose Op is "local error", or "remote error" where the alert
// was the peer's.
//
// If ctx ends first, the connection below is closed and the error is the
// context's. Once the handshake is complete, ctx is of no account.
func (c *Conn) HandshakeContext(ctx context.Context) (err error) {
	if c.handshakeDone.Load() {
		return nil
	}
	if ctx.Done() != nil {
		closed := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(closed)
			_ = c.below.Close() // the context's error is the one that matters
		})
		defer func() {
			if !stop() {
				<-closed
				err = ctx.Err()
			}
		}()
	}

	c.handshakeMutex.Lock()
	defer c.handshakeMutex.Unlock()
	if c.handshakeErr != nil || c.handshakeDone.Load() {
		return c.handshakeErr
	}
	c.in.Lock()
	defer c.in.Unlock()
	if fips140.Enabled() {
		c.handshakeErr = c.fail(refuse(alertInternalError, "%w", ErrFIPS))
		return c.handshakeErr
	}
	if c.handshaking == nil {
		c.handshaking = c.newHandshake()
	}
	if err := c.handshaking.run(); err != nil {
		err = c.fail(err)
		if !isTemporary(err) {
			c.handshaking, c.handshakeErr = nil, err
		}
		return err
	}
	c.handshaking = nil
	c.in.endHandshake()
	c.handshakeDone.Store(true)
	return nil
}

func (c *Conn) isClient() bool { return c.clientConfig != nil }

func (c *Conn) newHandshake() interface{ run() error } {
	switch {
	case c.isClient():
		return newClientHandshake(c)
	case c.in.tls13:
		return newHandshake13(c)
	}
	return newHandshake(c)
}

// ConnectionState describes the connection as crypto/tls would. Its
// ExportKeyingMaterial panics: there is [Conn.ExportKeyingMaterial].
func (c *Conn) ConnectionState() tls.ConnectionState {
	c.handshakeMutex.Lock()
	defer c.handshakeMutex.Unlock()
	return c.connectionStateLocked()
}

func (c *Conn) connectionStateLocked() tls.ConnectionState {
	state := tls.ConnectionState{
		Version:            tls.VersionTLS12,
		HandshakeComplete:  c.handshakeDone.Load(),
		DidResume:          c.resumed,
		CipherSuite:        c.session.suite,
		CurveID:            c.session.group,
		NegotiatedProtocol: c.protocol,
		ServerName:         c.session.serverName,
		PeerCertificates:   c.session.peerCertificates,
		VerifiedChains:     c.chains,
	}
	if c.in.tls13 {
		state.Version = tls.VersionTLS13
	}
	//lint:ignore SA1019 crypto/tls sets it too
	state.NegotiatedProtocolIsMutual = true
	// A resumed session's is not unique without extended_master_secret
	// (RFC 7627 §1).
	if c.haveUnique && (!c.resumed || c.session.extendedMasterSecret) {
		state.TLSUnique = append([]byte(nil), c.tlsUnique[:]...)
	}
	return state
}

// ExtendedMasterSecret says whether the session is bound to its handshake
// (RFC 7627).
func (c *Conn) ExtendedMasterSecret() bool {
	c.handshakeMutex.Lock()
	defer c.handshakeMutex.Unlock()
	return c.in.tls13 || c.session.extendedMasterSecret
}

// EncryptThenMAC says whether records are encrypted first (RFC 7366). With an
// AEAD that is not a question, and the answer false.
func (c *Conn) EncryptThenMAC() bool {
	c.handshakeMutex.Lock()
	defer c.handshakeMutex.Unlock()
	return c.etm
}

// ExportKeyingMaterial returns length bytes that both sides derive for a label
// and a context (RFC 5705 §4, RFC 8446 §7.5); a nil context is none. It fails
// before the handshake is complete, and in TLS 1.2 without extended_master_secret
// (RFC 7627 §5.4).
func (c *Conn) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	c.handshakeMutex.Lock()
	defer c.handshakeMutex.Unlock()
	if !c.handshakeDone.Load() {
		return nil, errors.New("tlsconn: handshake is not complete")
	}
	if c.in.tls13 {
		return exportKeyingMaterial13(suite13ByID(c.session.suite).hash, c.exporterSecret, label, context, length)
	}
	if !c.session.extendedMasterSecret {
		return nil, errors.New("tlsconn: no keying material without extended_master_secret")
	}
	hash := suiteByID(c.session.suite).hash
	return exportKeyingMaterial(hash, c.session.masterSecret, c.randoms[0][:], c.randoms[1][:], label, context, length)
}
