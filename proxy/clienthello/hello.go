package clienthello

import (
	"slices"
)

// Versions of the protocol as they stand on the wire.
const (
	versionSSL20 = 0x0002
	versionSSL30 = 0x0300
	versionTLS10 = 0x0301
	versionTLS11 = 0x0302
	versionTLS12 = 0x0303
	versionTLS13 = 0x0304
)

// Signalling cipher suite values.
const (
	suiteEmptyRenegotiationInfo = 0x00ff // RFC 5746 §3.3
	suiteFallback               = 0x5600 // RFC 7507 §2
)

// Hello is a parsed ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).
//
// Lists keep the client's order and everything in it, GREASE values included
// (see [IsGREASE]); they are nil when the extension is absent, and own their
// memory.
type Hello struct {
	// RecordVersion is that of the first record. RFC 8446 §5.1 says to ignore
	// it; it is here for logs. 0 after [Parse].
	RecordVersion      uint16
	LegacyVersion      uint16 // see Versions
	Random             [32]byte
	SessionID          []byte // at most 32 bytes
	CipherSuites       []uint16
	CompressionMethods []uint8

	Extensions           []uint16 // types
	ServerName           string   // host_name of server_name; "" when absent
	ALPN                 []string // arbitrary bytes: escape before logging
	SupportedVersions    []uint16 // see Versions
	Groups               []uint16 // supported_groups
	PointFormats         []uint8  // ec_point_formats
	SignatureSchemes     []uint16 // signature_algorithms
	SignatureSchemesCert []uint16 // signature_algorithms_cert
	KeyShares            []uint16 // groups of key_share
	PSKModes             []uint8  // psk_key_exchange_modes
	PreSharedKey         bool
	EarlyData            bool
	ExtendedMasterSecret bool
	EncryptThenMAC       bool
	StatusRequest        bool // for OCSP
	SessionTicket        bool // session_ticket is present
	SessionTicketData    bool // and holds a ticket
	SecureRenegotiation  bool // renegotiation_info, or its signalling suite
	FallbackSCSV         bool

	raw []byte // everything that was read from the wire
}

// Versions is what the client speaks, most often newest first:
// supported_versions where the client sent it (RFC 8446 §4.2.1), and otherwise
// what legacy_version implies, TLS 1.2 at most and TLS 1.0 at least. Of an
// older legacy_version it is that one alone. The result is to be read only.
func (h *Hello) Versions() []uint16 {
	if h.SupportedVersions != nil {
		return h.SupportedVersions
	}
	if h.LegacyVersion < versionTLS10 {
		return []uint16{h.LegacyVersion}
	}
	var versions []uint16
	for v := min(h.LegacyVersion, versionTLS12); v >= versionTLS10; v-- {
		versions = append(versions, v)
	}
	return versions
}

// IsGREASE reports whether v is one of the reserved values that clients
// sprinkle over suites, extensions, groups, versions and schemes so that
// servers learn to ignore what they do not know (RFC 8701 §2).
func IsGREASE(v uint16) bool {
	return v&0x0f0f == 0x0a0a && v>>8 == v&0xff
}

// has reports whether the extension is present.
func (h *Hello) has(extension uint16) bool {
	return slices.Contains(h.Extensions, extension)
}

// offersTLS13 tells who "is considered to be attempting to negotiate" TLS 1.3
// (RFC 8446 §9.2).
func (h *Hello) offersTLS13() bool {
	return slices.Contains(h.SupportedVersions, versionTLS13)
}
