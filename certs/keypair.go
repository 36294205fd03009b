package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/suitegate/suitegate/policy"
)

// minRSABits: RFC 9325 section 4.5. OpenSSL at its default security
// level 2, Java and browsers refuse shorter keys, so that serving one
// would only move the error to every client.
const minRSABits = 2048

// keyPair is a certificate chain with its key.
type keyPair struct {
	tls.Certificate
	chain []*x509.Certificate // the same, parsed
	key   policy.KeyType
	odd   string // what is worth a warning about the file of the key; "" for nothing
}

func newKeyPair(chain []*x509.Certificate, key crypto.Signer, kind policy.KeyType) *keyPair {
	pair := &keyPair{chain: chain, key: kind}
	pair.PrivateKey = key
	pair.Leaf = chain[0]
	for _, c := range chain {
		pair.Certificate.Certificate = append(pair.Certificate.Certificate, c.Raw)
	}
	return pair
}

// validAt says why clients will not accept the certificate at a time.
func (p *keyPair) validAt(now time.Time) error {
	switch {
	case now.Before(p.Leaf.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s", p.Leaf.NotBefore.Format(time.RFC3339))
	case now.After(p.Leaf.NotAfter):
		return fmt.Errorf("the certificate expired at %s", p.Leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// judgeLeaf returns the key type of a certificate that can be served. path is
// for the error.
func judgeLeaf(path string, leaf *x509.Certificate) (policy.KeyType, error) {
	kind := keyTypeOf(leaf.PublicKey)
	rsaKey, _ := leaf.PublicKey.(*rsa.PublicKey)
	switch {
	case cacheName(leaf) == "":
		return policy.NoKey, fmt.Errorf("%s: the certificate has no name, neither alternative nor common", path)
	case kind == policy.NoKey:
		return policy.NoKey, fmt.Errorf("%s: %s key is not supported (RSA, ECDSA P-256, ECDSA P-384 and Ed25519 are)", path, describeKey(leaf.PublicKey))
	case rsaKey != nil && rsaKey.N.BitLen() < minRSABits:
		return policy.NoKey, fmt.Errorf("%s: the RSA key has %d bits, and clients refuse less than %d", path, rsaKey.N.BitLen(), minRSABits)
	}
	return kind, nil
}

// keyTypeOf is the type of a public key, NoKey for those that no policy knows.
func keyTypeOf(pub crypto.PublicKey) policy.KeyType {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return policy.RSA
	case ed25519.PublicKey:
		return policy.Ed25519
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return policy.ECDSAP256
		case elliptic.P384():
			return policy.ECDSAP384
		}
	}
	return policy.NoKey
}

// describeKey says what a public key is, for errors.
func describeKey(pub crypto.PublicKey) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", pub.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + pub.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case nil: // crypto/x509 does not know the algorithm
		return "this type of"
	}
	return strings.TrimPrefix(strings.TrimSuffix(fmt.Sprintf("%T", pub), ".PublicKey"), "*")
}

// fingerprint is the beginning of the SHA-256 of a public key, as
// `openssl pkey -pubout -outform der | sha256sum` prints it.
func fingerprint(pub crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(der)
	return fmt.Sprintf("%x", sum[:8])
}

// matchKey reports a key that is not the leaf's.
func matchKey(chain []*x509.Certificate, key crypto.Signer) error {
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if ok && pub.Equal(chain[0].PublicKey) {
		return nil
	}
	for i, c := range chain[1:] {
		if ok && pub.Equal(c.PublicKey) {
			return fmt.Errorf("the key is that of certificate %d in the chain: the server's certificate must come first", i+2)
		}
	}
	return fmt.Errorf("the key does not match the certificate: it is %s %s, the certificate's is %s %s",
		describeKey(key.Public()), fingerprint(key.Public()), describeKey(chain[0].PublicKey), fingerprint(chain[0].PublicKey))
}

// warnAboutChain logs what some clients will stumble over, whatever the time:
// see [Store.Certificates] for certificates that have expired.
func warnAboutChain(chain []*x509.Certificate, logger *slog.Logger) {
	leaf := chain[0]
	usages := leaf.ExtKeyUsage
	if len(usages)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(usages, x509.ExtKeyUsageServerAuth) && !slices.Contains(usages, x509.ExtKeyUsageAny) {
		logger.Warn("certificate is not meant for servers: its extended key usage lacks serverAuth")
	}
	for i, c := range chain[1:] {
		if !bytes.Equal(chain[i].RawIssuer, c.RawSubject) {
			logger.Warn("certificate chain is out of order", "position", i+1, "issuer", chain[i].Issuer.String(), "next", c.Subject.String())
			return
		}
	}
}

// warnAboutMode logs that a secret can be read by everyone on the machine. The
// group may: on Debian keys are shared with services that way.
func warnAboutMode(secret, path string, logger *slog.Logger) {
	if runtime.GOOS == "windows" {
		return // its mode bits say nothing about who may read
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		logger.Warn(secret+" is accessible to every user of this machine", "file", path, "mode", info.Mode().Perm().String())
	}
}
