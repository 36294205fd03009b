package tlsconn

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"time"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// A ClientConfig says how a client handshakes. Fields that crypto/tls has too
// mean the same. It may be shared by any number of connections, and must not be
// changed once it is.
type ClientConfig struct {
	// Time is the clock that certificates are judged by; the default is
	// time.Now.
	Time func() time.Time

	// RootCAs sign the certificates of servers. Where it is nil, the system's
	// roots do.
	RootCAs *x509.CertPool

	// ServerName is sent as server_name (RFC 6066 §3), unless it is empty or an
	// address, and is what the server's certificate has to be for.
	ServerName string

	// InsecureSkipVerify takes any certificate. The server's signature is
	// verified all the same.
	InsecureSkipVerify bool

	// Certificates are for servers that ask for one: the first is shown, whatever
	// authorities they name. The default shows none.
	Certificates []tls.Certificate

	// NextProtos are the application protocols to offer (RFC 7301); the default
	// offers none.
	NextProtos []string

	// CipherSuites are the suites to offer, in this order. What [CipherSuites]
	// does not list is left out. The default is all of [CipherSuites].
	CipherSuites []uint16

	// CurvePreferences are the groups to offer, in this order: those of
	// [Config.CurvePreferences], which are also the default. Where a server
	// uses a prime that is none of RFC 7919's, as OpenSSL does when it is left
	// to itself, it is taken from 1024 to 8192 bits.
	CurvePreferences []tls.CurveID

	// Session is what to resume; nil does a full handshake. The server may
	// refuse, and do a full one: ConnectionState().DidResume tells.
	Session *ClientSession
}

// A ClientSession is what a client keeps of a connection to resume its session
// (RFC 5077), once or many times. It does not change, and may be shared.
type ClientSession struct {
	ticket  []byte
	session session
}

// Client returns the client's side of a TLS 1.2 connection over conn, of the
// suites of this package and no others. It is for measuring servers that have
// them, and for their tests: what a program connects with for its own sake is
// crypto/tls. It does nothing against an attacker who watches its time or its
// memory, and it takes primes for Diffie-Hellman as they come.
//
// Offered are always extended_master_secret (RFC 7627), encrypt_then_mac (RFC
// 7366), session_ticket and renegotiation_info; a server that lacks any of them
// is spoken with all the same.
//
// The config must have a ServerName or InsecureSkipVerify.
func Client(conn net.Conn, config *ClientConfig) *Conn {
	return &Conn{below: conn, clientConfig: config}
}

// Session returns what a later connection of a client can resume this one's
// session with: the server's latest ticket, or else the one that this
// connection began with. It is nil for a server's side, before the handshake is
// complete, and where the server gave no ticket.
func (c *Conn) Session() *ClientSession {
	c.handshakeMutex.Lock()
	defer c.handshakeMutex.Unlock()
	if !c.handshakeDone.Load() || len(c.ticket) == 0 {
		return nil
	}
	return &ClientSession{c.ticket, c.session}
}

// CipherSuite returns the suite of the session. A server resumes it with no
// other.
func (s *ClientSession) CipherSuite() uint16 { return s.session.suite }

func (c *ClientConfig) time() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

// groups returns the groups to offer, in order.
func (c *ClientConfig) groups() []tls.CurveID {
	if c.CurvePreferences == nil {
		return (&Config{}).groups()
	}
	return slices.DeleteFunc(slices.Clone(c.CurvePreferences), func(group tls.CurveID) bool {
		return curveOf(group) == nil && !ffdhe.Supported(uint16(group))
	})
}

// suites returns the suites to offer, in order.
func (c *ClientConfig) suites() []uint16 {
	if c.CipherSuites == nil {
		return CipherSuites()
	}
	return slices.DeleteFunc(slices.Clone(c.CipherSuites), func(id uint16) bool { return suiteByID(id) == nil })
}

// hello is the ClientHello, without its random.
func (c *ClientConfig) hello() *clientHello {
	m := &clientHello{
		version:              tls.VersionTLS12,
		suites:               c.suites(),
		compressions:         []byte{compressionNull},
		groups:               c.groups(),
		pointFormats:         []byte{pointFormatUncompressed},
		protocols:            c.NextProtos,
		extendedMasterSecret: true,
		encryptThenMAC:       true,
		ticketExtension:      true,
		extensions: []uint16{extRenegotiationInfo, extSignatureAlgorithms, extExtendedMasterSecret,
			extEncryptThenMAC, extSessionTicket},
	}
	for _, scheme := range signatureSchemes {
		m.schemes = append(m.schemes, scheme.id)
	}
	if len(m.groups) > 0 {
		m.extensions = append(m.extensions, extSupportedGroups, extECPointFormats)
	}
	if len(m.protocols) > 0 {
		m.extensions = append(m.extensions, extALPN)
	}
	// RFC 6066 §3: no addresses.
	if c.ServerName != "" && net.ParseIP(c.ServerName) == nil {
		m.serverName = c.ServerName
		m.extensions = append(m.extensions, extServerName)
	}
	if c.Session != nil {
		m.ticket = c.Session.ticket
	}
	return m
}

// serverCertificates judges the chain that a server has sent (RFC 5246 §7.4.2),
// and returns it with the ways in which it was verified. The error is a fault.
func (c *ClientConfig) serverCertificates(raw certificates) (chain []*x509.Certificate, verified [][]*x509.Certificate, err error) {
	if len(raw) == 0 {
		return nil, nil, refuse(alertDecodeError, "no server certificate")
	}
	for _, der := range raw {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, refuse(alertBadCertificate, "server certificate: %w", err)
		}
		chain = append(chain, certificate)
	}
	if c.InsecureSkipVerify {
		return chain, nil, nil
	}
	opts := x509.VerifyOptions{
		Roots:         c.RootCAs,
		CurrentTime:   c.time(),
		DNSName:       c.ServerName,
		Intermediates: x509.NewCertPool(),
	}
	for _, certificate := range chain[1:] {
		opts.Intermediates.AddCert(certificate)
	}
	verified, err = chain[0].Verify(opts)
	if err != nil {
		err = &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
		return nil, nil, refuse(certificateAlert(err), "server certificate: %w", err)
	}
	return chain, verified, nil
}
