package clienthello

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// The extensions that are read (IANA, "TLS ExtensionType Values").
const (
	extServerName           = 0
	extStatusRequest        = 5
	extSupportedGroups      = 10
	extECPointFormats       = 11
	extSignatureAlgorithms  = 13
	extALPN                 = 16
	extSCT                  = 18
	extEncryptThenMAC       = 22
	extExtendedMasterSecret = 23
	extSessionTicket        = 35
	extPreSharedKey         = 41
	extEarlyData            = 42
	extSupportedVersions    = 43
	extCookie               = 44
	extPSKModes             = 45
	extSignatureAlgsCert    = 50
	extKeyShare             = 51
	extEncryptedClientHello = 0xfe0d
	extRenegotiationInfo    = 0xff01
)

const compressionNull = 0

// Parse parses a ClientHello message, its handshake header included (RFC 8446
// §4). The error is a [*ParseError]. The Hello keeps no reference to msg.
func Parse(msg []byte) (*Hello, error) {
	s := cryptobyte.String(msg)
	var messageType uint8
	var body cryptobyte.String
	switch {
	case !s.ReadUint8(&messageType):
		return nil, refuse(alertDecodeError, "empty message")
	case messageType != typeClientHello:
		return nil, refuse(alertUnexpectedMessage, "handshake message of type %d, not a ClientHello", messageType)
	case !s.ReadUint24LengthPrefixed(&body) || !s.Empty():
		return nil, refuse(alertDecodeError, "length of the message does not fit")
	}

	h := new(Hello)
	if err := h.parseBody(body); err != nil {
		return nil, err
	}
	return h, nil
}

// parseBody follows struct ClientHello of RFC 8446 §4.1.2, with the bounds of
// RFC 5246 §7.4.1.2 where TLS 1.3 narrowed them.
func (h *Hello) parseBody(s cryptobyte.String) error {
	var sessionID, suites, compression cryptobyte.String
	switch {
	case !s.ReadUint16(&h.LegacyVersion) || !s.CopyBytes(h.Random[:]):
		return refuse(alertDecodeError, "truncated in version or random")
	case !s.ReadUint8LengthPrefixed(&sessionID) || len(sessionID) > 32:
		return badLength("session_id")
	case !s.ReadUint16LengthPrefixed(&suites):
		return badLength("cipher_suites")
	case !s.ReadUint8LengthPrefixed(&compression) || compression.Empty():
		return badLength("compression_methods")
	}
	var ok bool
	if h.CipherSuites, ok = uint16s(suites); !ok {
		return badLength("cipher_suites")
	}
	h.SessionID = clone(sessionID)
	h.CompressionMethods = clone(compression)
	h.SecureRenegotiation = slices.Contains(h.CipherSuites, suiteEmptyRenegotiationInfo)
	h.FallbackSCSV = slices.Contains(h.CipherSuites, suiteFallback)

	// A hello may end here (RFC 5246 §7.4.1.2).
	if !s.Empty() {
		var extensions cryptobyte.String
		if !s.ReadUint16LengthPrefixed(&extensions) {
			return badLength("extensions")
		}
		if !s.Empty() {
			return refuse(alertDecodeError, "%d bytes behind the extensions", len(s))
		}
		if err := h.parseExtensions(extensions); err != nil {
			return err
		}
	}
	return h.check()
}

// parseExtensions reads the block of extensions (RFC 8446 §4.2).
func (h *Hello) parseExtensions(block cryptobyte.String) error {
	const usual = 32 // more than clients send
	h.Extensions = make([]uint16, 0, usual)
	for !block.Empty() {
		var extension uint16
		var data cryptobyte.String
		if !block.ReadUint16(&extension) || !block.ReadUint16LengthPrefixed(&data) {
			return refuse(alertDecodeError, "truncated in extension %d", len(h.Extensions)+1)
		}
		h.Extensions = append(h.Extensions, extension)
		if extension == extPreSharedKey && !block.Empty() {
			return refuse(alertIllegalParameter, "pre_shared_key is not the last extension") // RFC 8446 §4.2.11
		}
		if err := h.parseExtension(extension, data); err != nil {
			return err
		}
	}
	if twice, ok := duplicate(h.Extensions); ok {
		return refuse(alertIllegalParameter, "extension %d twice", twice)
	}
	return nil
}

// parseExtension reads one extension, if it is one that matters here.
func (h *Hello) parseExtension(extension uint16, data cryptobyte.String) error {
	switch extension {
	case extServerName:
		return h.parseServerName(data)
	case extStatusRequest:
		return h.parseStatusRequest(data)
	case extSupportedGroups: // RFC 8446 §4.2.7
		return parseUint16List("supported_groups", data, &h.Groups)
	case extSignatureAlgorithms: // RFC 8446 §4.2.3
		return parseUint16List("signature_algorithms", data, &h.SignatureSchemes)
	case extSignatureAlgsCert:
		return parseUint16List("signature_algorithms_cert", data, &h.SignatureSchemesCert)
	case extSupportedVersions:
		return h.parseSupportedVersions(data)
	case extECPointFormats: // RFC 8422 §5.1.2
		return parseUint8List("ec_point_formats", data, &h.PointFormats)
	case extPSKModes: // RFC 8446 §4.2.9
		return parseUint8List("psk_key_exchange_modes", data, &h.PSKModes)
	case extALPN:
		return h.parseALPN(data)
	case extKeyShare:
		return h.parseKeyShare(data)
	case extPreSharedKey:
		h.PreSharedKey = true
		return parsePreSharedKey(data)
	case extCookie:
		return parseCookie(data)
	case extEncryptedClientHello:
		return parseEncryptedClientHello(data)
	case extSessionTicket: // RFC 5077 §3.2: a ticket, without a length of its own
		h.SessionTicket = true
		h.SessionTicketData = !data.Empty()
		return nil
	case extRenegotiationInfo:
		h.SecureRenegotiation = true
		return parseRenegotiationInfo(data)
	case extEncryptThenMAC: // RFC 7366 §2
		h.EncryptThenMAC = true
		return mustBeEmpty("encrypt_then_mac", data)
	case extExtendedMasterSecret: // RFC 7627 §5.1
		h.ExtendedMasterSecret = true
		return mustBeEmpty("extended_master_secret", data)
	case extEarlyData: // RFC 8446 §4.2.10
		h.EarlyData = true
		return mustBeEmpty("early_data", data)
	case extSCT: // RFC 6962 §3.3.1
		return mustBeEmpty("signed_certificate_timestamp", data)
	}
	return nil
}

// check holds the rules between the fields.
func (h *Hello) check() error {
	if !slices.Contains(h.CompressionMethods, compressionNull) {
		return refuse(alertIllegalParameter, "compression methods without null") // RFC 5246 §7.4.1.2
	}
	// Without uncompressed points there is no curve to use (RFC 8422 §5.1.2).
	if h.PointFormats != nil && !slices.Contains(h.PointFormats, 0) && slices.ContainsFunc(h.Groups, isCurve) {
		return refuse(alertIllegalParameter, "ec_point_formats without uncompressed")
	}
	if err := h.checkKeyShares(); err != nil {
		return err
	}
	if h.offersTLS13() {
		return h.checkTLS13()
	}
	return nil
}

// isCurve tells the groups that RFC 8422 §5.1.1 defines.
func isCurve(group uint16) bool {
	switch group {
	case 23, 24, 25, 29, 30: // secp256r1, secp384r1, secp521r1, x25519, x448
		return true
	}
	return false
}

// checkKeyShares holds RFC 8446 §4.2.8: at most one share for a group, and only
// for groups that the client lists.
func (h *Hello) checkKeyShares() error {
	if twice, ok := duplicate(h.KeyShares); ok {
		return refuse(alertIllegalParameter, "two key shares for group %d", twice)
	}
	if !h.has(extSupportedGroups) {
		return nil // missing, which is for checkTLS13 to say
	}
	var few [smallList]uint16
	groups := sorted(few[:0], h.Groups)
	for _, group := range h.KeyShares {
		if _, ok := slices.BinarySearch(groups, group); !ok {
			return refuse(alertIllegalParameter, "key share for group %d, which is not in supported_groups", group)
		}
	}
	return nil
}

// checkTLS13 holds what a hello that offers TLS 1.3 owes, whatever version the
// server will choose (RFC 8446 §4.1.2, §4.2.9, §9.2, appendix D.5).
func (h *Hello) checkTLS13() error {
	groups, shares := h.has(extSupportedGroups), h.has(extKeyShare)
	switch {
	case h.LegacyVersion <= versionSSL30:
		return refuse(alertProtocolVersion, "legacy version 0x%04x beside TLS 1.3", h.LegacyVersion)
	case len(h.CompressionMethods) != 1:
		return refuse(alertIllegalParameter, "compression methods beside TLS 1.3")
	case h.PreSharedKey && h.PSKModes == nil:
		return refuse(alertMissingExtension, "pre_shared_key without psk_key_exchange_modes")
	case groups && !shares:
		return refuse(alertMissingExtension, "supported_groups without key_share")
	case shares && !groups:
		return refuse(alertMissingExtension, "key_share without supported_groups")
	case !h.PreSharedKey && !groups:
		return refuse(alertMissingExtension, "TLS 1.3 without supported_groups")
	case !h.PreSharedKey && h.SignatureSchemes == nil:
		return refuse(alertMissingExtension, "TLS 1.3 without signature_algorithms")
	}
	return nil
}

func badLength(field string) *ParseError {
	return refuse(alertDecodeError, "length of %s", field)
}

func mustBeEmpty(field string, data cryptobyte.String) error {
	if !data.Empty() {
		return badLength(field)
	}
	return nil
}

// uint16s reads values until the end of s. There has to be one at least, and
// nothing left over.
func uint16s(s cryptobyte.String) ([]uint16, bool) {
	if s.Empty() || len(s)%2 != 0 {
		return nil, false
	}
	list := make([]uint16, 0, len(s)/2)
	for !s.Empty() {
		var v uint16
		if !s.ReadUint16(&v) {
			return nil, false
		}
		list = append(list, v)
	}
	return list, true
}

func parseUint16List(field string, data cryptobyte.String, out *[]uint16) error {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
		return badLength(field)
	}
	values, ok := uint16s(list)
	if !ok {
		return badLength(field)
	}
	*out = values
	return nil
}

func parseUint8List(field string, data cryptobyte.String, out *[]uint8) error {
	var list cryptobyte.String
	if !data.ReadUint8LengthPrefixed(&list) || list.Empty() || !data.Empty() {
		return badLength(field)
	}
	*out = clone(list)
	return nil
}

// clone lets go of the message. nil for nothing.
func clone(s cryptobyte.String) []byte {
	return append([]byte(nil), s...)
}

// smallList is longer than the lists of most clients: those are checked without
// taking memory.
const smallList = 64

// sorted appends list to buf, in order. With a list that came from the wire
// anything but n log n would be a way to keep a processor busy: 64 KiB hold
// 16,000 extensions.
func sorted(buf, list []uint16) []uint16 {
	buf = append(buf, list...)
	slices.Sort(buf)
	return buf
}

// duplicate finds a value that is there twice.
func duplicate(list []uint16) (v uint16, ok bool) {
	var few [smallList]uint16
	s := sorted(few[:0], list)
	for i := 1; i < len(s); i++ {
		if s[i] == s[i-1] {
			return s[i], true
		}
	}
	return 0, false
}
