package scan

import (
	"crypto/rand"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
)

// Record and handshake types (RFC 8446 §5.1, §4; RFC 5246 §7.4).
const (
	recordChangeCipherSpec = 20
	recordAlert            = 21
	recordHandshake        = 22
	recordApplicationData  = 23

	typeClientHello         = 1
	typeServerHello         = 2
	typeEncryptedExtensions = 8
	typeCertificate         = 11
	typeServerKeyExchange   = 12
	typeCertificateRequest  = 13
	typeServerHelloDone     = 14
	typeCertificateStatus   = 22
	typeMessageHash         = 254
)

// Extensions (IANA "TLS ExtensionType Values").
const (
	extServerName              = 0
	extStatusRequest           = 5
	extSupportedGroups         = 10
	extPointFormats            = 11
	extSignatureAlgorithms     = 13
	extALPN                    = 16
	extEncryptThenMAC          = 22
	extExtendedMasterSecret    = 23
	extSessionTicket           = 35
	extSupportedVersions       = 43
	extCookie                  = 44
	extSignatureAlgorithmsCert = 50
	extKeyShare                = 51
	extRenegotiationInfo       = 65281
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

	// In TLS 1.3 alone:
	shares  []*keyShare // to choose from, for the groups; nil asks for a HelloRetryRequest
	whole   bool        // the answer is read on where it is encrypted; shares has one for each group
	schemes []uint16    // of signatures in the handshake; nil means all
	second  *second     // it comes after a HelloRetryRequest
}

// second is what the second hello of a handshake repeats (RFC 8446 §4.1.2).
type second struct {
	random, session, cookie []byte
}

// share is the one that the hello has for a group, or nil.
func (h *hello) share(g policy.Group) *keyShare {
	if !slices.Contains(h.groups, g) {
		return nil
	}
	for _, s := range h.shares {
		if s.group == g {
			return s
		}
	}
	return nil
}

// placeholder is a group that no server knows (RFC 8701): a share in it stands in
// a hello that must have one, and whose groups have none.
const placeholder policy.Group = 0x0A0A

// offeredShares are those for the hello's groups.
func (h *hello) offeredShares() (offered []*keyShare) {
	for _, g := range h.groups {
		if s := h.share(g); s != nil {
			offered = append(offered, s)
		}
	}
	if len(offered) == 0 && len(h.shares) > 0 {
		offered = append(offered, &keyShare{group: placeholder, public: []byte{0}})
	}
	return offered
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
	nonce, session := random(), []byte(nil)
	if h.version == policy.TLS13 {
		session = random() // for middleboxes, which take it for a resumption (RFC 8446 §D.4)
	}
	if h.second != nil {
		nonce, session = h.second.random, h.second.session
	}
	b.AddUint16(uint16(min(h.version, policy.TLS12)))
	b.AddBytes(nonce)
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(session) })
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
	shares := h.offeredShares()
	add(extSupportedGroups, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			addUint16s(b, h.groups)
			if len(shares) > 0 && shares[0].group == placeholder {
				b.AddUint16(uint16(placeholder))
			}
		})
	})
	add(extPointFormats, func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0}) }) // uncompressed
	if h.version >= policy.TLS12 {
		add(extSignatureAlgorithms, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				if h.schemes != nil {
					addUint16s(b, h.schemes)
				} else {
					addUint16s(b, signatureSchemes[:])
				}
			})
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
	ocsp := func(b *cryptobyte.Builder) { b.AddBytes([]byte{1, 0, 0, 0, 0}) } // from anybody
	if h.version == policy.TLS13 {
		if h.whole {
			add(extStatusRequest, ocsp)
			add(extSignatureAlgorithmsCert, func(b *cryptobyte.Builder) { // a chain is no obstacle
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { addUint16s(b, signatureSchemes[:]) })
			})
		}
		if h.second != nil && len(h.second.cookie) > 0 {
			add(extCookie, func(b *cryptobyte.Builder) {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(h.second.cookie) })
			})
		}
		add(extSupportedVersions, func(b *cryptobyte.Builder) {
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint16(uint16(policy.TLS13)) })
		})
		// No share at all asks for a HelloRetryRequest (RFC 8446 §4.2.8).
		add(extKeyShare, func(b *cryptobyte.Builder) {
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				for _, s := range shares {
					b.AddUint16(uint16(s.group))
					b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s.public) })
				}
			})
		})
		return
	}
	add(extStatusRequest, ocsp)
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
	case extSupportedVersions, extKeyShare: // the answers to extStatusRequest stand with the certificates
		return h.version == policy.TLS13
	}
	return false
}

// random returns the 32 bytes that a hello has once or twice.
func random() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return b
}

func addUint16s[T ~uint16](b *cryptobyte.Builder, values []T) {
	for _, v := range values {
		b.AddUint16(uint16(v))
	}
}
