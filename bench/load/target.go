package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/tlsconn"
)

// DefaultTimeout bounds a connection's connect and handshake, from when it was
// due, and each wait for an answer.
const DefaultTimeout = 10 * time.Second

// A Target is a TLS server, and how to speak with it.
type Target struct {
	// Address is HOST:PORT, and required.
	Address string

	// Version is the only one to offer; the default is that of Suite, or else TLS
	// 1.2 and 1.3.
	Version policy.Version

	// Suite is the only one to offer. With TLS 1.3 all are offered, and a server
	// that chooses another one is an error. The default offers what crypto/tls
	// does.
	Suite policy.Suite

	// Group is the only one to offer; the default offers what crypto/tls does, or
	// with a suite that it lacks all of package tlsconn.
	Group policy.Group

	// ServerName is asked for, and the name that the certificate has to be for; the
	// default is HOST.
	ServerName string

	// RootCAs sign the server's certificate; the default is the system's roots.
	RootCAs *x509.CertPool

	// InsecureSkipVerify takes any certificate.
	InsecureSkipVerify bool

	// Certificate is shown where the server asks for one; the default is none.
	Certificate *tls.Certificate

	// Timeout is the time for connect and handshake, and for each answer; the
	// default is [DefaultTimeout].
	Timeout time.Duration

	// Sources are the addresses to connect from, in turn; the default leaves the
	// choice to the system. Each has some 28,000 ports.
	Sources []netip.Addr

	// Dial connects; the default is a [net.Dialer] that binds to Sources.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A secureConn is a connection of crypto/tls or of package tlsconn.
type secureConn interface {
	net.Conn
	HandshakeContext(context.Context) error
	ConnectionState() tls.ConnectionState
	CloseWrite() error
}

// A connector connects to a target. One of own and standard is nil.
type connector struct {
	Target
	own      *tlsconn.ClientConfig
	standard *tls.Config
	turn     atomic.Uint64 // of Sources
}

// connector checks a target.
func (t Target) connector() (*connector, error) {
	host, _, err := net.SplitHostPort(t.Address)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	t.ServerName = cmp.Or(t.ServerName, host)
	t.Timeout = cmp.Or(t.Timeout, DefaultTimeout)
	suite13 := t.Suite.ID>>8 == 0x13 // RFC 8446 appendix B.4
	switch {
	case t.Suite.ID == 0:
	case t.Version == 0 && suite13:
		t.Version = policy.TLS13
	case t.Version == 0:
		t.Version = policy.TLS12
	case (t.Version == policy.TLS13) != suite13:
		return nil, fmt.Errorf("load: %s is no suite of %s", t.Suite, t.Version)
	}
	switch t.Version {
	case 0, policy.TLS12, policy.TLS13:
	default:
		return nil, fmt.Errorf("load: %s is not spoken here, but TLS 1.2 and 1.3", t.Version)
	}
	c := &connector{Target: t}
	isWanted := func(s *tls.CipherSuite) bool { return s.ID == t.Suite.ID }
	switch {
	case t.Suite.ID == 0 || slices.ContainsFunc(slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()), isWanted):
		c.standard = t.standardConfig()
	case slices.Contains(tlsconn.CipherSuites(), t.Suite.ID):
		c.own = t.ownConfig()
	default:
		return nil, fmt.Errorf("load: %s is not spoken here", t.Suite)
	}
	return c, nil
}

func (t *Target) ownConfig() *tlsconn.ClientConfig {
	config := &tlsconn.ClientConfig{
		RootCAs: t.RootCAs, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify, CipherSuites: []uint16{t.Suite.ID},
	}
	if t.Group != 0 {
		config.CurvePreferences = []tls.CurveID{tls.CurveID(t.Group)}
	}
	if t.Certificate != nil {
		config.Certificates = []tls.Certificate{*t.Certificate}
	}
	return config
}

func (t *Target) standardConfig() *tls.Config {
	config := &tls.Config{
		RootCAs: t.RootCAs, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify,
		MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13,
		// As most clients do, it offers to take tickets, so that what they cost is
		// part of a full handshake.
		ClientSessionCache: sessionCache{},
	}
	if t.Version != 0 {
		config.MinVersion, config.MaxVersion = uint16(t.Version), uint16(t.Version)
	}
	if t.Suite.ID != 0 {
		config.CipherSuites = []uint16{t.Suite.ID} // of no account in TLS 1.3
	}
	if t.Group != 0 {
		config.CurvePreferences = []tls.CurveID{tls.CurveID(t.Group)}
	}
	if t.Certificate != nil {
		// Whatever authorities the server names: that it refuses is for it to say.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return t.Certificate, nil }
	}
	return config
}

// dial connects from the next source.
func (c *connector) dial(ctx context.Context) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		var dialer net.Dialer
		if n := len(c.Sources); n > 0 {
			source := c.Sources[c.turn.Add(1)%uint64(n)]
			dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		}
		dial = dialer.DialContext
	}
	conn, err := dial(ctx, "tcp", c.Address)
	if err != nil {
		return nil, &connectError{err}
	}
	return conn, nil
}

// client is the TLS side of a connection, which resumes if there is a session.
func (c *connector) client(below net.Conn, resume *session) secureConn {
	switch {
	case c.own != nil && resume == nil:
		return tlsconn.Client(below, c.own)
	case c.own != nil:
		config := *c.own
		config.Session = resume.own
		return tlsconn.Client(below, &config)
	case resume == nil:
		return tls.Client(below, c.standard)
	}
	config := c.standard.Clone()
	config.ClientSessionCache = sessionCache{give: resume.standard}
	return tls.Client(below, config)
}

// connect connects and handshakes until ctx ends, and sees to it that what was
// negotiated is what was asked for. Further reads and writes have Timeout from now.
func (c *connector) connect(ctx context.Context, resume *session) (secureConn, error) {
	below, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := c.client(below, resume)
	if err := c.handshake(ctx, conn, resume != nil); err != nil {
		below.Close()
		return nil, err
	}
	_ = below.SetDeadline(time.Now().Add(c.Timeout)) // it may be closed: the next read tells
	return conn, nil
}

// connectAll opens connections, some at a time, and counts those that fail.
func (c *connector) connectAll(ctx context.Context, n int, failed *tally) (conns []secureConn) {
	var mu sync.Mutex
	var workers sync.WaitGroup
	var next atomic.Int64
	for range min(n, DefaultWorkers) {
		workers.Go(func() {
			for next.Add(1) <= int64(n) {
				bounded, cancel := context.WithTimeout(ctx, c.Timeout)
				conn, err := c.connect(bounded, nil)
				cancel()
				if err != nil {
					failed.add(err)
					continue
				}
				mu.Lock()
				conns = append(conns, conn)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return conns
}

// What was negotiated, and is not what was asked for.
var (
	errNotResumed   = errors.New("load: the server did not resume the session")
	errAnotherSuite = errors.New("load: the server chose another suite")
	errAnotherGroup = errors.New("load: the server chose another group")
)

func (c *connector) handshake(ctx context.Context, conn secureConn, resume bool) error {
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	state := conn.ConnectionState()
	switch {
	case c.Suite.ID != 0 && state.CipherSuite != c.Suite.ID:
		return fmt.Errorf("%w: %s", errAnotherSuite, tls.CipherSuiteName(state.CipherSuite))
	// Prime numbers that have no name, and sessions of crypto/tls, have no group.
	case c.Group != 0 && state.CurveID != 0 && state.CurveID != tls.CurveID(c.Group):
		return fmt.Errorf("%w: %s", errAnotherGroup, state.CurveID)
	case resume && !state.DidResume:
		return errNotResumed
	}
	return nil
}
