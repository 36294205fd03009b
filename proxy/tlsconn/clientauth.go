package tlsconn

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// maxClientRSABits bounds the work that a client's key can make, as crypto/tls
// does.
const maxClientRSABits = 8192

// maxAuthorities is how many bytes of names a CertificateRequest has. It could carry
// twice as many, less what else TLS 1.3 has in the same place.
const maxAuthorities = 32 << 10

// requiresCertificate says whether a client without a certificate is refused.
func requiresCertificate(auth tls.ClientAuthType) bool {
	return auth == tls.RequireAnyClientCert || auth == tls.RequireAndVerifyClientCert
}

// clientCertificates judges the chain that a client has sent (RFC 5246
// §7.4.6), and returns it with the ways in which it was verified. The error is
// a fault.
func (c *Config) clientCertificates(raw certificates) (chain []*x509.Certificate, verified [][]*x509.Certificate, err error) {
	if len(raw) == 0 && requiresCertificate(c.ClientAuth) {
		missing := alertHandshakeFailure
		if c.Version == tls.VersionTLS13 {
			missing = alertCertificateRequired
		}
		return nil, nil, refuse(missing, "no client certificate")
	}
	for _, der := range raw {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, refuse(alertBadCertificate, "client certificate: %w", err)
		}
		if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxClientRSABits {
			return nil, nil, refuse(alertBadCertificate, "client certificate with an RSA key of %d bits", key.N.BitLen())
		}
		chain = append(chain, certificate)
	}
	if len(chain) > 0 {
		switch chain[0].PublicKey.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			return nil, nil, refuse(alertUnsupportedCertificate, "client certificate with a key of type %T", chain[0].PublicKey)
		}
		if verified, err = c.verifyChain(chain); err != nil {
			return nil, nil, refuse(certificateAlert(err), "client certificate: %w", err)
		}
	}
	if c.VerifyPeerCertificate != nil {
		if err := c.VerifyPeerCertificate(raw, verified); err != nil {
			return nil, nil, refuse(callbackAlert(err), "client certificate: %w", err)
		}
	}
	return chain, verified, nil
}

// callbackAlert is the alert for an error of a callback that judges clients.
func callbackAlert(err error) alert {
	var named interface{ Alert() uint8 }
	if errors.As(err, &named) {
		return alert(named.Alert())
	}
	return alertBadCertificate
}

// verifyChain verifies a client's chain, where ClientAuth asks for that.
func (c *Config) verifyChain(chain []*x509.Certificate) ([][]*x509.Certificate, error) {
	if c.ClientAuth < tls.VerifyClientCertIfGiven {
		return nil, nil
	}
	opts := x509.VerifyOptions{
		Roots:         c.ClientCAs,
		CurrentTime:   c.time(),
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, certificate := range chain[1:] {
		opts.Intermediates.AddCert(certificate)
	}
	verified, err := chain[0].Verify(opts)
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return verified, nil
}

// certificateAlert is the alert for a certificate that was not verified (RFC
// 5246 §7.2.2).
func certificateAlert(err error) alert {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return alertUnknownCA
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return alertCertificateExpired
	}
	return alertBadCertificate
}

// mayResume says whether a session whose client had these certificates, or
// none, is good enough under today's settings, and how they were verified. The
// chain is verified again: authorities may have gone since, and certificates
// expired.
func (c *Config) mayResume(chain []*x509.Certificate) (verified [][]*x509.Certificate, ok bool) {
	if c.VerifySession != nil && c.VerifySession(chain) != nil {
		return nil, false
	}
	if len(chain) == 0 {
		return nil, !requiresCertificate(c.ClientAuth)
	}
	if c.ClientAuth == tls.NoClientCert || c.time().After(chain[0].NotAfter) {
		return nil, false
	}
	verified, err := c.verifyChain(chain)
	return verified, err == nil
}

// request is our CertificateRequest. With no authorities a client may send
// whatever certificate it has.
func (c *Config) request() *certificateRequest {
	m := new(certificateRequest)
	for _, scheme := range signatureSchemes {
		m.schemes = append(m.schemes, scheme.id)
	}
	if c.ClientCAs == nil {
		return m
	}
	//lint:ignore SA1019 lacks the system's roots, and those are not named here
	m.authorities = c.ClientCAs.Subjects()
	total := 0
	for _, name := range m.authorities {
		total += 2 + len(name)
	}
	if total > maxAuthorities {
		m.authorities = nil
	}
	return m
}
