package tlsconn

import (
	"crypto/tls"

	"golang.org/x/crypto/cryptobyte"
)

// Handshake types that TLS 1.3 has added (RFC 8446 §4).
const (
	typeEncryptedExtensions uint8 = 8
	typeKeyUpdate           uint8 = 24
	typeMessageHash         uint8 = 254
)

// helloRetryRandom is the random of a ServerHello that is a HelloRetryRequest
// (RFC 8446 §4.1.3): the SHA-256 of "HelloRetryRequest".
var helloRetryRandom = [randomLen]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// serverHello13 is the ServerHello message, or HelloRetryRequest (RFC 8446
// §4.1.3, §4.1.4).
type serverHello13 struct {
	random    [randomLen]byte
	sessionID []byte // the client's
	suite     uint16
	group     tls.CurveID
	share     []byte // nil in a HelloRetryRequest, which wants one
	resumed   bool   // with the client's pre-shared key number identity
	identity  uint16
}

func (m *serverHello13) marshal(b *cryptobyte.Builder) {
	b.AddUint16(tls.VersionTLS12)
	b.AddBytes(m.random[:])
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.sessionID) })
	b.AddUint16(m.suite)
	b.AddUint8(compressionNull)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		putExtension(b, extSupportedVersions, func(b *cryptobyte.Builder) { b.AddUint16(tls.VersionTLS13) })
		putExtension(b, extKeyShare, func(b *cryptobyte.Builder) {
			b.AddUint16(uint16(m.group))
			if m.share != nil {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.share) })
			}
		})
		if m.resumed {
			putExtension(b, extPreSharedKey, func(b *cryptobyte.Builder) { b.AddUint16(m.identity) })
		}
	})
}

func putExtension(b *cryptobyte.Builder, extension uint16, data func(*cryptobyte.Builder)) {
	b.AddUint16(extension)
	b.AddUint16LengthPrefixed(data)
}

// encryptedExtensions is the EncryptedExtensions message (RFC 8446 §4.3.1).
type encryptedExtensions struct {
	serverName bool   // RFC 6066 §3
	protocol   string // RFC 7301
}

func (m *encryptedExtensions) marshal(b *cryptobyte.Builder) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		if m.serverName {
			putExtension(b, extServerName, func(*cryptobyte.Builder) {})
		}
		if m.protocol != "" {
			putExtension(b, extALPN, protocolList(m.protocol))
		}
	})
}

// protocolList is ProtocolNameList with one name (RFC 7301 §3.1).
func protocolList(protocol string) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(protocol)) })
		})
	}
}

// timestampList is SignedCertificateTimestampList (RFC 6962 §3.3).
func timestampList(timestamps [][]byte) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) { addVectors16(b, timestamps) }
}

// certificateRequest13 is the CertificateRequest message of TLS 1.3 (RFC 8446
// §4.3.2). Both say what may sign certificates, too, and so have schemes that
// are of no use in CertificateVerify.
type certificateRequest13 certificateRequest

func (m *certificateRequest13) marshal(b *cryptobyte.Builder) {
	b.AddUint8(0) // certificate_request_context, which is for later requests
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		putExtension(b, extSignatureAlgorithms, func(b *cryptobyte.Builder) { addUint16s(b, m.schemes) })
		if len(m.authorities) > 0 {
			putExtension(b, extCertificateAuthorities, func(b *cryptobyte.Builder) { addVectors16(b, m.authorities) })
		}
	})
}

// certificates13 is our Certificate message in TLS 1.3 (RFC 8446 §4.4.2). What
// belongs to the first certificate is nil where the client has not asked for it.
type certificates13 struct {
	chain      [][]byte
	status     []byte   // an OCSP response (§4.4.2.1)
	timestamps [][]byte // RFC 6962
}

func (m *certificates13) marshal(b *cryptobyte.Builder) {
	b.AddUint8(0) // certificate_request_context
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for i, certificate := range m.chain {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(certificate) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				if i > 0 {
					return
				}
				if m.status != nil {
					putExtension(b, extStatusRequest, certificateStatus(m.status).marshal)
				}
				if m.timestamps != nil {
					putExtension(b, extSCT, timestampList(m.timestamps))
				}
			})
		}
	})
}

// parseCertificates13 reads a client's Certificate message (RFC 8446 §4.4.2). The
// extensions of its entries could only answer what was not asked.
func parseCertificates13(s cryptobyte.String) (certificates, error) {
	var context, list cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&context) || !s.ReadUint24LengthPrefixed(&list) || !s.Empty() {
		return nil, errDecode("Certificate")
	}
	if !context.Empty() {
		return nil, refuse(alertIllegalParameter, "Certificate with a context of %d bytes", len(context))
	}
	var m certificates
	for !list.Empty() {
		var certificate, extensions cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&certificate) || certificate.Empty() || !list.ReadUint16LengthPrefixed(&extensions) {
			return nil, errDecode("Certificate")
		}
		if !extensions.Empty() {
			return nil, refuse(alertUnsupportedExtension, "extensions of %d bytes with a certificate", len(extensions))
		}
		m = append(m, append([]byte(nil), certificate...))
	}
	return m, nil
}

// newSessionTicket13 is the NewSessionTicket message of TLS 1.3 (RFC 8446
// §4.6.1), of which a connection has one.
type newSessionTicket13 struct {
	lifetime uint32 // seconds
	ageAdd   [4]byte
	ticket   []byte
}

// ticketNonce tells the tickets of a connection apart.
const ticketNonce = "\x00"

func (m *newSessionTicket13) marshal(b *cryptobyte.Builder) {
	b.AddUint32(m.lifetime)
	b.AddBytes(m.ageAdd[:])
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(ticketNonce)) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.ticket) })
	b.AddUint16(0) // no extensions, and so no early data
}

// finished13 is the Finished message of TLS 1.3 (RFC 8446 §4.4.4).
type finished13 []byte

func (m finished13) marshal(b *cryptobyte.Builder) { b.AddBytes(m) }

// keyUpdate is the KeyUpdate message (RFC 8446 §4.6.3), header included.
func keyUpdate(requested uint8) []byte { return []byte{typeKeyUpdate, 0, 0, 1, requested} }

const (
	updateNotRequested uint8 = 0
	updateRequested    uint8 = 1
)
