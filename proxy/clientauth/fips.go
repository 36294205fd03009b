package clientauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
)

// approved says why FIPS 140-3 does not approve of a certificate's key. The rules
// are those by which crypto/tls judges what it verifies itself in that mode.
func approved(c *x509.Certificate) error {
	const minRSABits = 2048
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return fmt.Errorf("FIPS 140-3 does not approve an RSA key of %d bits", bits)
		}
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("FIPS 140-3 does not approve an ECDSA key on %s", key.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("FIPS 140-3 does not approve a key of type %v", c.PublicKeyAlgorithm)
}

// approvedSignature says why FIPS 140-3 does not approve of the algorithm of a
// signature. crypto/x509 refuses SHA-1 in certificates by itself.
func approvedSignature(a x509.SignatureAlgorithm) error {
	if a == x509.SHA1WithRSA || a == x509.ECDSAWithSHA1 {
		return fmt.Errorf("FIPS 140-3 does not approve the signature of the CRL, %v", a)
	}
	return nil
}
