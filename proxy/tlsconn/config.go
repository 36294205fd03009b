package tlsconn

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// A Config says how a server handshakes. Fields that crypto/tls has too mean
// the same. It may be shared by any number of connections, and must not be
// changed once it is.
type Config struct {
	// Time is the clock; the default is time.Now.
	Time func() time.Time

	// Version is the one to speak: TLS 1.2, which is the default, or TLS 1.3.
	// Nothing is negotiated here; a client that does not offer it is refused.
	Version uint16

	// Certificates are what the server may show, with keys for RSA, ECDSA or
	// Ed25519. The first one for the client's server_name is taken, or else the
	// first one, whatever its key is good for.
	Certificates []tls.Certificate

	// GetCertificate, where it is set, is asked before Certificates, which
	// serve where it returns nil. The Conn of its argument is the one that
	// Server was given.
	//
	// After an error the handshake ends with unrecognized_name if the error is
	// ErrUnrecognizedName, and with internal_error otherwise.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// NextProtos are the application protocols (RFC 7301), the preferred ones
	// first. With none, what clients offer is ignored.
	NextProtos []string

	// ClientAuth says what is asked of clients in the way of certificates. The
	// default asks for none.
	ClientAuth tls.ClientAuthType

	// ClientCAs sign the certificates of clients. Where it is nil, the
	// system's roots do.
	ClientCAs *x509.CertPool

	// VerifyPeerCertificate is called in a full handshake after the client's
	// certificate was verified as ClientAuth asks; an error ends the handshake
	// with the alert that its method Alert() uint8 names, or bad_certificate.
	VerifyPeerCertificate func(rawCerts [][]byte, verifiedChains [][]*x509.Certificate) error

	// VerifyConnection is called last, in full and abbreviated handshakes, with
	// or without a client certificate; an error ends the handshake with the
	// alert that its method Alert() uint8 names, or bad_certificate.
	VerifyConnection func(tls.ConnectionState) error

	// VerifySession is called before a session is resumed, with the client's
	// certificates; an error makes the handshake a full one, in which the
	// client can show better ones.
	VerifySession func(peerCertificates []*x509.Certificate) error

	// CipherSuites are the suites to negotiate, the preferred ones first; the
	// client's order is ignored. What [CipherSuites] does not list, or for TLS
	// 1.3 [CipherSuites13], is ignored too. The default is all of these in their
	// order.
	CipherSuites []uint16

	// CurvePreferences are the groups of ECDHE (secp256r1, secp384r1,
	// secp521r1, x25519; in TLS 1.3 X25519MLKEM768, too) and of TLS 1.2's DHE
	// (ffdhe2048 = 256, ffdhe3072, ffdhe4096; RFC 7919), the preferred ones of
	// each first; the client's order is ignored. Other groups are ignored. The
	// default is X25519MLKEM768, X25519, the curves and the finite field groups
	// in ascending order.
	CurvePreferences []tls.CurveID

	// Tickets are the keys of session tickets (RFC 5077, RFC 8446 §4.6.1). Where it is nil, or
	// has no keys, sessions cannot be resumed.
	Tickets *TicketKeys

	// TicketLifetime is for how long after its full handshake a session can be
	// resumed (RFC 9325 §7.3 wants it limited). The default is 24 hours.
	TicketLifetime time.Duration

	// SessionContext is what sessions are bound to beside their ticket key: one
	// that began under another context is not resumed. It tells apart Configs
	// that share Tickets, by their certificates for instance.
	SessionContext string

	// MaxVersion is the best version that the listener speaks, with whatever
	// engine: with tls.VersionTLS13 a server of TLS 1.2 puts the downgrade marker in
	// its random (RFC 8446 §4.1.3) and refuses clients that say they fell back
	// to TLS 1.2 (RFC 7507). The default is TLS 1.2.
	MaxVersion uint16

	// SHA1Signatures allows SHA-1 in the signature of ServerKeyExchange, for
	// clients that offer nothing better or that, with no signature_algorithms
	// at all, imply it (RFC 5246 §7.4.1.4.1). The default is to do a key
	// exchange without signature or none.
	SHA1Signatures bool
}

// ErrUnrecognizedName is for GetCertificate to return, wrapped or as it is,
// where there is no certificate for the client's server_name (RFC 6066 §3).
var ErrUnrecognizedName = errors.New("tlsconn: no certificate for this server name")

func (c *Config) time() time.Time {
	if c.Time != nil {
		return c.Time()
	}
	return time.Now()
}

func (c *Config) ticketLifetime() time.Duration { return cmp.Or(c.TicketLifetime, 24*time.Hour) }

// suites returns the identifiers to negotiate, in order.
func (c *Config) suites() []uint16 {
	switch {
	case c.CipherSuites != nil:
		return c.CipherSuites
	case c.Version == tls.VersionTLS13:
		return CipherSuites13()
	}
	return CipherSuites()
}

// groups returns the groups to negotiate, in order.
func (c *Config) groups() []tls.CurveID {
	if c.CurvePreferences != nil {
		return c.CurvePreferences
	}
	groups := []tls.CurveID{
		tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521,
		tls.CurveID(ffdhe.FFDHE2048), tls.CurveID(ffdhe.FFDHE3072), tls.CurveID(ffdhe.FFDHE4096),
	}
	if c.Version == tls.VersionTLS13 {
		groups = slices.Insert(groups, 0, tls.X25519MLKEM768)
	}
	return groups
}

// certificate returns the certificate for a client.
func (c *Config) certificate(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := c.pickCertificate(info)
	if errors.Is(err, ErrUnrecognizedName) {
		return nil, refuse(alertUnrecognizedName, "server name %q: %w", info.ServerName, err)
	}
	if err != nil {
		return nil, refuse(alertInternalError, "certificate: %w", err)
	}
	if len(cert.Certificate) == 0 {
		return nil, refuse(alertInternalError, "certificate chain is empty")
	}
	switch publicKeyOf(cert).(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return cert, nil
	}
	return nil, refuse(alertInternalError, "certificate's private key is of type %T", cert.PrivateKey)
}

func (c *Config) pickCertificate(info *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.GetCertificate != nil {
		if cert, err := c.GetCertificate(info); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(c.Certificates) == 0 {
		return nil, ErrUnrecognizedName
	}
	i := slices.IndexFunc(c.Certificates, func(cert tls.Certificate) bool {
		leaf, err := leafOf(&cert)
		return err == nil && leaf.VerifyHostname(info.ServerName) == nil
	})
	return &c.Certificates[max(i, 0)], nil
}

// leafOf returns the parsed first certificate of a chain.
func leafOf(cert *tls.Certificate) (*x509.Certificate, error) {
	if cert.Leaf != nil {
		return cert.Leaf, nil
	}
	if len(cert.Certificate) == 0 {
		return nil, errors.New("certificate chain is empty")
	}
	return x509.ParseCertificate(cert.Certificate[0])
}

// publicKeyOf returns the public key that belongs to a certificate's private
// key, or nil.
func publicKeyOf(cert *tls.Certificate) crypto.PublicKey {
	key, ok := cert.PrivateKey.(interface{ Public() crypto.PublicKey })
	if !ok {
		return nil
	}
	return key.Public()
}
