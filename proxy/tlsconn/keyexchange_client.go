package tlsconn

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// agree does a client's side of a key exchange with the parameters of
// ServerKeyExchange, or with the certificate's key. ours is for ClientKeyExchange:
// our public value, or the encrypted premaster secret. The group is 0 with RSA, and
// with a prime that is none of RFC 7919's. The error is a fault.
func agree(kx keyExchange, params []byte, leaf *x509.Certificate, hello *clientHello) (ours, premaster []byte, group tls.CurveID, err error) {
	switch kx {
	case kxDHE:
		return agreeDHE(params)
	case kxECDHE:
		return agreeECDHE(params, hello)
	}
	public, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, nil, 0, refuse(alertUnsupportedCertificate, "cannot encrypt to a key of type %T", leaf.PublicKey)
	}
	// RFC 5246 §7.4.7.1.
	premaster = make([]byte, masterSecretLen)
	rand.Read(premaster) // never fails
	binary.BigEndian.PutUint16(premaster, hello.version)
	//lint:ignore SA1019 what these suites are
	if ours, err = rsa.EncryptPKCS1v15(rand.Reader, public, premaster); err != nil {
		return nil, nil, 0, refuse(alertHandshakeFailure, "ClientKeyExchange: %w", err)
	}
	return ours, premaster, 0, nil
}

// agreeDHE takes ServerDHParams (RFC 5246 §7.4.3).
func agreeDHE(params []byte) (ours, premaster []byte, group tls.CurveID, err error) {
	s := cryptobyte.String(params)
	var p, g, theirs []byte
	if !readVector16(&s, &p) || !readVector16(&s, &g) || !readVector16(&s, &theirs) || !s.Empty() {
		return nil, nil, 0, errDecode("ServerDHParams")
	}
	key, id, err := ffdhe.GenerateKeyFor(p, g)
	if err != nil {
		return nil, nil, 0, refuse(alertInsufficientSecurity, "ServerDHParams: %w", err)
	}
	if premaster, err = key.SharedSecret(theirs); err != nil {
		return nil, nil, 0, refuse(alertIllegalParameter, "ServerDHParams: %w", err)
	}
	return key.PublicKey(), premaster, tls.CurveID(id), nil
}

// agreeECDHE takes ServerECDHParams (RFC 8422 §5.4).
func agreeECDHE(params []byte, hello *clientHello) (ours, premaster []byte, group tls.CurveID, err error) {
	s := cryptobyte.String(params)
	var curveType uint8
	var theirs []byte
	if !s.ReadUint8(&curveType) || !s.ReadUint16((*uint16)(&group)) || !readVector8(&s, &theirs) || !s.Empty() {
		return nil, nil, 0, errDecode("ServerECDHParams")
	}
	if curveType != namedCurve || curveOf(group) == nil || !slices.Contains(hello.groups, group) {
		return nil, nil, 0, refuse(alertIllegalParameter, "curve %d of type %d, which was not offered", group, curveType)
	}
	key, err := newEphemeral(group)
	if err != nil {
		return nil, nil, 0, refuse(alertInternalError, "ClientKeyExchange: %w", err)
	}
	if premaster, err = key.shared(theirs); err != nil {
		return nil, nil, 0, refuse(alertIllegalParameter, "ServerECDHParams: group %d: %w", group, err)
	}
	return key.public(), premaster, group, nil
}

// marshalExchange writes the body of ClientKeyExchange (RFC 5246 §7.4.7, RFC
// 8422 §5.7).
func marshalExchange(b *cryptobyte.Builder, kx keyExchange, ours []byte) {
	vector := b.AddUint16LengthPrefixed
	if kx == kxECDHE {
		vector = b.AddUint8LengthPrefixed
	}
	vector(func(b *cryptobyte.Builder) { b.AddBytes(ours) })
}
