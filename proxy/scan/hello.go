package scan

import (
	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
)

// Record and handshake types (RFC 8446 §5.1, §4; RFC 5246 §7.4).
const (
	recordAlert     = 21
	recordHandshake = 22

	typeClientHello        = 1
	typeServerHello        = 2
	typeCertificate        = 11
	typeServerKeyExchange  = 12
	typeCertificateRequest = 13
	typeServerHelloDone    = 14
	typeCertificateStatus  = 22
)

// Extensions (IANA "TLS ExtensionType Values").
const (
	extServerName           = 0
	extStatusRequest        = 5
	extSupportedGroups      = 10
	extPointFormats         = 11
	extSignatureAlgorithms  = 13
	extALPN                 = 16
	extEncryptThenMAC       = 22
	extExtendedMasterSecret = 23
	extSessionTicket        = 35
	extSupportedVersions    = 43
	extKeyShare             = 51
	extRenegotiationInfo    = 65281
)

// emptyRenegotiationInfo stands for extRenegotiationInfo in a hello without
// extensions (RFC 5746 §3.3).
const emptyRenegotiationInfo = 0x00ff

// signatureSchemes are all that a server may want to sign with, SHA-1's
// included, because an old one has nothing else.
var signatureSchemes = [...]uint16{
	0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b,
	0x0401, 0x0501, 0x0601, 0x081a, 0x081b, 0x081c, 0x0904, 0x0905, 0x0906, 0x0708,
	0x0402, 0x0502, 0x0602, 0x0301, 0x0302, 0x0303, 0x0203, 0x0201, 0x0202, 0x0101,
}

// hello is what a probe offers. Everything else stands in it, too, whose answer
// tells something and makes no server refuse.
type hello struct {
	version    policy.Version
	suites     []uint16
	groups     []policy.Group
	serverName string // "" sends none
	alpn       []string
}

// marshal is the hello as it goes over the wire, in one record.
func (h *hello) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(recordHandshake)
	b.AddUint16(uint16(min(h.version, policy.TLS10))) // what the oldest servers bear
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(typeClientHello)
		b.AddUint24LengthPrefixed(h.body)
	})
	return b.Bytes()
}

func (h *hello) body(b *cryptobyte.Builder) {
	b.AddUint16(uint16(min(h.version, policy.TLS12)))
	b.AddBytes(random())
	if h.version == policy.TLS13 {
		// For middleboxes, which take it for a resumption (RFC 8446 §D.4).
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(random()) })
	} else {
		b.AddUint8(0)
	}
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		addUint16s(b, h.suites)
		if h.version == policy.SSL30 {
			b.AddUint16(emptyRenegotiationInfo)
		}
	})
	b.AddBytes([]byte{1, 0}) // compression methods: null
	if h.version == policy.SSL30 {
		return // it knows no extensions
	}
	b.AddUint16LengthPrefixed(h.extensions)
}

func (h *hello) extensions(b *cryptobyte.Builder) {
	add := func(extension uint16, data cryptobyte.BuilderContinuation) {
		b.AddUint16(extension)
		b.AddUint16LengthPrefixed(data)
	}
	empty := func(*cryptobyte.Builder) {}
	if h.serverName != "" {
		add(extServerName, func(b *cryptobyte.Builder) { // RFC 6066 §3
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint8(0) // host_name
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(h.serverName)) })
			})
		})
	}
	add(extSupportedGroups, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addUint16s(b, h.groups) })
	})
	add(extPointFormats, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) }) // uncompressed
	if h.version >= policy.TLS12 {
		add(extSignatureAlgorithms, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addUint16s(b, signatureSchemes[:]) })
		})
	}
	if len(h.alpn) > 0 {
		add(extALPN, func(b *cryptobyte.Builder) { // RFC 7301 §3.1
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, protocol := range h.alpn {
					b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(protocol)) })
				}
			})
		})
	}
	if h.version == policy.TLS13 {
		add(extSupportedVersions, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(uint16(policy.TLS13)) })
		})
		// No share at all asks for a HelloRetryRequest (RFC 8446 §4.2.8).
		add(extKeyShare, func(b *cryptobyte.Builder) { b.AddUint16(0) })
		return
	}
	add(extStatusRequest, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0, 0, 0, 0}) }) // OCSP, from anybody
	add(extEncryptThenMAC, empty)
	add(extExtendedMasterSecret, empty)
	add(extSessionTicket, empty)
	add(extRenegotiationInfo, func(b *cryptobyte.Builder) { b.AddUint8(0) })
}

// offers reports whether the extension stands in the hello, so that a server
// may answer it.
func (h *hello) offers(extension uint16) bool {
	switch extension {
	case extRenegotiationInfo: // as a signal in SSL 3.0
		return h.version < policy.TLS13
	case extSupportedGroups, extPointFormats:
		return h.version > policy.SSL30
	case extServerName:
		return h.version > policy.SSL30 && h.serverName != ""
	case extALPN:
		return h.version > policy.SSL30 && len(h.alpn) > 0
	case extStatusRequest, extEncryptThenMAC, extExtendedMasterSecret, extSessionTicket:
		return policy.SSL30 < h.version && h.version < policy.TLS13
	case extSupportedVersions, extKeyShare:
		return h.version == policy.TLS13
	}
	return false
}

func addUint16s[T ~uint16](b *cryptobyte.Builder, values []T) {
	for _, v := range values {
		b.AddUint16(uint16(v))
	}
}
