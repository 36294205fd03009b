package tlsconn

import (
	"crypto/tls"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// Handshake types (RFC 5246 §7.4, RFC 5077 §3.3, RFC 6066 §8).
const (
	typeHelloRequest       uint8 = 0
	typeClientHello        uint8 = 1
	typeServerHello        uint8 = 2
	typeNewSessionTicket   uint8 = 4
	typeCertificate        uint8 = 11
	typeServerKeyExchange  uint8 = 12
	typeCertificateRequest uint8 = 13
	typeServerHelloDone    uint8 = 14
	typeCertificateVerify  uint8 = 15
	typeClientKeyExchange  uint8 = 16
	typeFinished           uint8 = 20
	typeCertificateStatus  uint8 = 22
)

const (
	messageHeaderLen = 4
	randomLen        = 32
	maxSessionID     = 32
)

// body returns a message without its header.
func body(message []byte) cryptobyte.String {
	return cryptobyte.String(message[messageHeaderLen:])
}

// appendMessage appends a message, whose body add writes. The error is a fault.
func appendMessage(dst []byte, messageType uint8, add func(*cryptobyte.Builder)) ([]byte, error) {
	b := cryptobyte.NewBuilder(dst)
	b.AddUint8(messageType)
	b.AddUint24LengthPrefixed(add)
	message, err := b.Bytes()
	if err != nil {
		return nil, refuse(alertInternalError, "message of type %d: %w", messageType, err)
	}
	return message, nil
}

// errDecode is for a message whose lengths don't fit.
func errDecode(message string) error { return refuse(alertDecodeError, "lengths in %s", message) }

// serverHello is the ServerHello message (RFC 5246 §7.4.1.3). Extensions that
// only say that the server agrees are booleans.
type serverHello struct {
	random    [randomLen]byte
	sessionID []byte
	suite     uint16

	serverName           bool     // RFC 6066 §3
	statusRequest        bool     // RFC 6066 §8
	pointFormats         bool     // RFC 8422 §5.2
	protocol             string   // RFC 7301
	timestamps           [][]byte // RFC 6962 §3.3.1
	encryptThenMAC       bool     // RFC 7366
	extendedMasterSecret bool     // RFC 7627
	ticket               bool     // RFC 5077 §3.2
	renegotiationInfo    bool     // RFC 5746 §3.6
}

func (m *serverHello) marshal(b *cryptobyte.Builder) {
	b.AddUint16(tls.VersionTLS12)
	b.AddBytes(m.random[:])
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.sessionID) })
	b.AddUint16(m.suite)
	b.AddUint8(compressionNull)

	var extensions cryptobyte.Builder
	m.marshalExtensions(&extensions)
	block, err := extensions.Bytes()
	if err != nil {
		b.SetError(err)
		return
	}
	// Old clients know no extensions, and expect none that they did not send.
	if len(block) > 0 {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(block) })
	}
}

func (m *serverHello) marshalExtensions(b *cryptobyte.Builder) {
	add := func(extension uint16, data func(*cryptobyte.Builder)) { putExtension(b, extension, data) }
	agree := func(extension uint16, agreed bool) {
		if agreed {
			add(extension, func(*cryptobyte.Builder) {})
		}
	}
	if m.renegotiationInfo {
		add(extRenegotiationInfo, func(b *cryptobyte.Builder) { b.AddUint8(0) })
	}
	agree(extServerName, m.serverName)
	agree(extStatusRequest, m.statusRequest)
	agree(extEncryptThenMAC, m.encryptThenMAC)
	agree(extExtendedMasterSecret, m.extendedMasterSecret)
	agree(extSessionTicket, m.ticket)
	if m.pointFormats {
		add(extECPointFormats, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(pointFormatUncompressed) })
		})
	}
	if m.protocol != "" {
		add(extALPN, protocolList(m.protocol))
	}
	if len(m.timestamps) > 0 {
		add(extSCT, timestampList(m.timestamps))
	}
}

// certificates is the Certificate message of either side (RFC 5246 §7.4.2,
// §7.4.6): a chain, its leaf first.
type certificates [][]byte

func (m certificates) marshal(b *cryptobyte.Builder) {
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, certificate := range m {
			b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(certificate) })
		}
	})
}

func parseCertificates(s cryptobyte.String) (certificates, error) {
	var list cryptobyte.String
	if !s.ReadUint24LengthPrefixed(&list) || !s.Empty() {
		return nil, errDecode("Certificate")
	}
	var m certificates
	for !list.Empty() {
		var certificate cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&certificate) || certificate.Empty() {
			return nil, errDecode("Certificate")
		}
		m = append(m, append([]byte(nil), certificate...))
	}
	return m, nil
}

// certificateStatus is the CertificateStatus message (RFC 6066 §8): an OCSP
// response.
type certificateStatus []byte

func (m certificateStatus) marshal(b *cryptobyte.Builder) {
	b.AddUint8(statusTypeOCSP)
	b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m) })
}

// serverKeyExchange is the ServerKeyExchange message with a signature (RFC 5246
// §7.4.3, RFC 8422 §5.4).
type serverKeyExchange struct {
	params    []byte
	scheme    tls.SignatureScheme
	signature []byte
}

func (m *serverKeyExchange) marshal(b *cryptobyte.Builder) {
	b.AddBytes(m.params)
	b.AddUint16(uint16(m.scheme))
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.signature) })
}

// certificateRequest is the CertificateRequest message (RFC 5246 §7.4.4). The
// authorities are DER-encoded names.
type certificateRequest struct {
	schemes     []tls.SignatureScheme
	authorities [][]byte
}

// allows says whether a client may sign with a scheme.
func (m *certificateRequest) allows(scheme tls.SignatureScheme) bool {
	return slices.Contains(m.schemes, scheme)
}

func (m *certificateRequest) marshal(b *cryptobyte.Builder) {
	const rsaSign, ecdsaSign = 1, 64 // Ed25519 goes by the latter (RFC 8422 §5.5)
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte{rsaSign, ecdsaSign}) })
	addUint16s(b, m.schemes)
	addVectors16(b, m.authorities)
}

// addVectors16 writes a list of vectors, each with its length before it.
func addVectors16(b *cryptobyte.Builder, list [][]byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, v := range list {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
		}
	})
}

// serverHelloDone is the ServerHelloDone message (RFC 5246 §7.4.5).
type serverHelloDone struct{}

func (serverHelloDone) marshal(*cryptobyte.Builder) {}

// newSessionTicket is the NewSessionTicket message (RFC 5077 §3.3). An empty
// ticket takes the promise of one back.
type newSessionTicket struct {
	lifetimeHint uint32 // seconds
	ticket       []byte
}

func (m *newSessionTicket) marshal(b *cryptobyte.Builder) {
	b.AddUint32(m.lifetimeHint)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.ticket) })
}

// certificateVerify is the CertificateVerify message (RFC 5246 §7.4.8, RFC 8446
// §4.4.3).
type certificateVerify struct {
	scheme    tls.SignatureScheme
	signature []byte
}

func parseCertificateVerify(s cryptobyte.String) (certificateVerify, error) {
	var m certificateVerify
	var scheme uint16
	if !s.ReadUint16(&scheme) || !readVector16(&s, &m.signature) || !s.Empty() {
		return m, errDecode("CertificateVerify")
	}
	m.scheme = tls.SignatureScheme(scheme)
	return m, nil
}

// finished is the Finished message of either side (RFC 5246 §7.4.9).
type finished [verifyDataLen]byte

func (m finished) marshal(b *cryptobyte.Builder) { b.AddBytes(m[:]) }

func parseFinished(s cryptobyte.String) (m finished, err error) {
	if !s.CopyBytes(m[:]) || !s.Empty() {
		return m, errDecode("Finished")
	}
	return m, nil
}

func readVector16(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint16LengthPrefixed((*cryptobyte.String)(out))
}

func readVector8(s *cryptobyte.String, out *[]byte) bool {
	return s.ReadUint8LengthPrefixed((*cryptobyte.String)(out))
}
