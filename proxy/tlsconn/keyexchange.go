package tlsconn

import (
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"crypto/tls"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// A keyAgreement is our side of one key exchange.
type keyAgreement interface {
	// params are our parameters for ServerKeyExchange, nil if there is no such
	// message.
	params() ([]byte, error)

	// premasterSecret takes the body of ClientKeyExchange. The error is a
	// fault.
	premasterSecret(body cryptobyte.String) ([]byte, error)
}

// newKeyAgreement draws a fresh key for a suite and its group.
func newKeyAgreement(kx keyExchange, group tls.CurveID, key crypto.PrivateKey, clientVersion uint16) (keyAgreement, error) {
	switch kx {
	case kxDHE:
		private, err := ffdhe.GenerateKey(uint16(group))
		return &dheAgreement{private}, err
	case kxECDHE:
		key, err := newEphemeral(group)
		return &ecdheAgreement{group, key}, err
	default:
		decrypter, ok := key.(crypto.Decrypter)
		if !ok {
			return nil, fmt.Errorf("tlsconn: private key of type %T cannot decrypt", key)
		}
		return &rsaAgreement{decrypter, clientVersion}, nil
	}
}

// dheAgreement is DHE_RSA (RFC 5246 §7.4.3, RFC 7919).
type dheAgreement struct{ private *ffdhe.PrivateKey }

func (a *dheAgreement) params() ([]byte, error) {
	p, g := a.private.Parameters()
	var b cryptobyte.Builder
	for _, v := range [][]byte{p, g, a.private.PublicKey()} {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
	}
	return b.Bytes()
}

// premasterSecret reads ClientDiffieHellmanPublic (RFC 5246 §7.4.7.2). RFC 7919
// §4 has handshake_failure for a public value out of range.
func (a *dheAgreement) premasterSecret(body cryptobyte.String) ([]byte, error) {
	var public []byte
	if !readVector16(&body, &public) || len(public) == 0 || !body.Empty() {
		return nil, errDecode("ClientKeyExchange")
	}
	secret, err := a.private.SharedSecret(public)
	if err != nil {
		return nil, refuse(alertHandshakeFailure, "ClientKeyExchange: %w", err)
	}
	return secret, nil
}

// ecdheAgreement is ECDHE_RSA and ECDHE_ECDSA (RFC 8422).
type ecdheAgreement struct {
	group tls.CurveID
	key   ephemeral
}

// curveOf returns a curve, nil if it isn't one of ours.
func curveOf(group tls.CurveID) ecdh.Curve {
	switch group {
	case tls.X25519:
		return ecdh.X25519()
	case tls.CurveP256:
		return ecdh.P256()
	case tls.CurveP384:
		return ecdh.P384()
	case tls.CurveP521:
		return ecdh.P521()
	}
	return nil
}

const namedCurve = 3 // ECCurveType (RFC 8422 §5.4)

// params writes ServerECDHParams (RFC 8422 §5.4).
func (a *ecdheAgreement) params() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(namedCurve)
	b.AddUint16(uint16(a.group))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(a.key.public()) })
	return b.Bytes()
}

// premasterSecret reads ClientECDiffieHellmanPublic (RFC 8422 §5.7).
func (a *ecdheAgreement) premasterSecret(body cryptobyte.String) ([]byte, error) {
	var point []byte
	if !readVector8(&body, &point) || len(point) == 0 || !body.Empty() {
		return nil, errDecode("ClientKeyExchange")
	}
	secret, err := a.key.shared(point)
	if err != nil {
		return nil, refuse(alertIllegalParameter, "ClientKeyExchange: group %d: %w", a.group, err)
	}
	return secret, nil
}

// rsaAgreement is RSA key exchange (RFC 5246 §7.4.7.1).
type rsaAgreement struct {
	key crypto.Decrypter

	// clientVersion is the version of the ClientHello, whatever was negotiated.
	clientVersion uint16
}

func (a *rsaAgreement) params() ([]byte, error) { return nil, nil }

// premasterSecret decrypts EncryptedPreMasterSecret. Whatever is wrong with it,
// be it the padding, the length or the version, the handshake goes on with a
// random secret and ends where the client's Finished cannot be authenticated:
// any other sign would be Bleichenbacher's oracle. Only the lengths on the wire
// are no secret.
//
// BenchmarkTimingRSA looks for a difference in time between good ciphertexts and
// nine kinds of bad ones. With RSA-2048 and 100,000 measurements of each kind, |t|
// was at most 2.0, where 4.5 would be a reason to look again; with numbers above
// the modulus, which are refused at once, and may be, it was 9,369.
func (a *rsaAgreement) premasterSecret(body cryptobyte.String) ([]byte, error) {
	var ciphertext []byte
	if !readVector16(&body, &ciphertext) || !body.Empty() {
		return nil, errDecode("ClientKeyExchange")
	}
	random := make([]byte, masterSecretLen)
	rand.Read(random) // never fails

	// With a SessionKeyLen, Decrypt puts a random secret in the place of what
	// is wrongly padded or long, in constant time. Its error is left for
	// ciphertexts that are no number below the modulus, which any observer can
	// see.
	//lint:ignore SA1019 dangerous, and what these suites are
	secret, err := a.key.Decrypt(rand.Reader, ciphertext, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: masterSecretLen})
	if err != nil || len(secret) != masterSecretLen {
		return random, nil
	}
	versionOK := subtle.ConstantTimeByteEq(secret[0], byte(a.clientVersion>>8)) &
		subtle.ConstantTimeByteEq(secret[1], byte(a.clientVersion))
	subtle.ConstantTimeCopy(1-versionOK, secret, random)
	return secret, nil
}
