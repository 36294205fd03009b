package tlsconn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
)

// A signatureScheme says how a SignatureAndHashAlgorithm signs (RFC 5246
// §7.4.1.4.1, RFC 8422 §5.1.3, RFC 8446 §4.2.3). There is no MD5: a collision
// is a signature of the wrong transcript.
type signatureScheme struct {
	id   tls.SignatureScheme
	kind signatureKind
	hash crypto.Hash // 0 with Ed25519, which takes the message itself
}

type signatureKind uint8

const (
	signPKCS1 signatureKind = iota + 1
	signPSS
	signECDSA
	signEd25519
)

// signatureSchemes are those that clients may sign CertificateVerify with, the
// preferred ones first. In TLS 1.2 an ECDSA scheme says nothing of the curve.
var signatureSchemes = [...]signatureScheme{
	{tls.PSSWithSHA256, signPSS, crypto.SHA256},
	{tls.ECDSAWithP256AndSHA256, signECDSA, crypto.SHA256},
	{tls.Ed25519, signEd25519, 0},
	{tls.PSSWithSHA384, signPSS, crypto.SHA384},
	{tls.PSSWithSHA512, signPSS, crypto.SHA512},
	{tls.PKCS1WithSHA256, signPKCS1, crypto.SHA256},
	{tls.PKCS1WithSHA384, signPKCS1, crypto.SHA384},
	{tls.PKCS1WithSHA512, signPKCS1, crypto.SHA512},
	{tls.ECDSAWithP384AndSHA384, signECDSA, crypto.SHA384},
	{tls.ECDSAWithP521AndSHA512, signECDSA, crypto.SHA512},
}

// schemeByID returns one of signatureSchemes, or SHA-1 with RSA.
func schemeByID(id tls.SignatureScheme) (signatureScheme, bool) {
	if id == tls.PKCS1WithSHA1 {
		return signatureScheme{id, signPKCS1, crypto.SHA1}, true
	}
	for _, s := range signatureSchemes {
		if s.id == id {
			return s, true
		}
	}
	return signatureScheme{}, false
}

// fits says whether a key can sign with a scheme in TLS 1.2. An RSA key has to be
// long enough: for PSS, a digest, a salt as long, and two bytes (RFC 8017 §9.1.1);
// for PKCS #1 v1.5, the DigestInfo and eleven bytes (§9.2).
func (s signatureScheme) fits(public crypto.PublicKey) bool {
	const digestInfoPrefix = 19
	switch public := public.(type) {
	case *rsa.PublicKey:
		switch s.kind {
		case signPSS:
			return public.Size() >= 2*s.hash.Size()+2
		case signPKCS1:
			return public.Size() >= digestInfoPrefix+s.hash.Size()+11
		}
	case *ecdsa.PublicKey:
		return s.kind == signECDSA
	case ed25519.PublicKey:
		return s.kind == signEd25519
	}
	return false
}

// serverScheme returns what ServerKeyExchange is signed with: the client's first
// that the certificate's key can do.
func (c *Config) serverScheme(hello *clientHello, cert *tls.Certificate) (tls.SignatureScheme, bool) {
	offered := hello.schemes
	if !hello.offers(extSignatureAlgorithms) {
		// RFC 5246 §7.4.1.4.1. With ECDSA, too, it would be SHA-1.
		offered = []tls.SignatureScheme{tls.PKCS1WithSHA1}
	}
	public := publicKeyOf(cert)
	for _, id := range offered {
		scheme, ok := schemeByID(id)
		if !ok || !scheme.fits(public) || scheme.hash == crypto.SHA1 && !c.SHA1Signatures {
			continue
		}
		if own := cert.SupportedSignatureAlgorithms; own == nil || slices.Contains(own, id) {
			return id, true
		}
	}
	return 0, false
}

// fits13 says whether a key can sign with a scheme in TLS 1.3, where an ECDSA
// scheme stands for one curve, and PKCS #1 v1.5 is for certificates alone (RFC 8446
// §4.2.3).
func fits13(id tls.SignatureScheme, public crypto.PublicKey) bool {
	scheme, ok := schemeByID(id)
	if !ok || scheme.kind == signPKCS1 || !scheme.fits(public) {
		return false
	}
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return true
	}
	switch key.Curve {
	case elliptic.P256():
		return id == tls.ECDSAWithP256AndSHA256
	case elliptic.P384():
		return id == tls.ECDSAWithP384AndSHA384
	case elliptic.P521():
		return id == tls.ECDSAWithP521AndSHA512
	}
	return false
}

// sign signs with a key that the scheme fits.
func sign(key crypto.PrivateKey, id tls.SignatureScheme, message []byte) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("tlsconn: private key of type %T cannot sign", key)
	}
	scheme, _ := schemeByID(id)
	opts := crypto.SignerOpts(scheme.hash)
	if scheme.kind == signPSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: scheme.hash}
	}
	return crypto.SignMessage(signer, rand.Reader, message, opts)
}

var errWrongKey = errors.New("signature algorithm does not fit the key")

// verify checks a signature by a client's key.
func verify(public crypto.PublicKey, id tls.SignatureScheme, message, signature []byte) error {
	scheme, _ := schemeByID(id)
	digest := message
	if scheme.hash != 0 {
		h := scheme.hash.New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	ok := false
	switch public := public.(type) {
	case *rsa.PublicKey:
		switch scheme.kind {
		case signPSS:
			return rsa.VerifyPSS(public, scheme.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		case signPKCS1:
			return rsa.VerifyPKCS1v15(public, scheme.hash, digest, signature)
		}
		return errWrongKey
	case *ecdsa.PublicKey:
		if scheme.kind != signECDSA {
			return errWrongKey
		}
		ok = ecdsa.VerifyASN1(public, digest, signature)
	case ed25519.PublicKey:
		if scheme.kind != signEd25519 {
			return errWrongKey
		}
		ok = ed25519.Verify(public, digest, signature)
	}
	if !ok {
		return errors.New("signature is wrong")
	}
	return nil
}
