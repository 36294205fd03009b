package tlsconn

import (
	"crypto/tls"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// The extensions that mean anything to this server (IANA, "TLS ExtensionType
// Values").
const (
	extServerName           uint16 = 0
	extStatusRequest        uint16 = 5
	extSupportedGroups      uint16 = 10
	extECPointFormats       uint16 = 11
	extSignatureAlgorithms  uint16 = 13
	extALPN                 uint16 = 16
	extSCT                  uint16 = 18
	extEncryptThenMAC       uint16 = 22
	extExtendedMasterSecret uint16 = 23
	extSessionTicket        uint16 = 35
	extSupportedVersions    uint16 = 43
	extRenegotiationInfo    uint16 = 0xff01
)

const (
	compressionNull         uint8 = 0
	pointFormatUncompressed uint8 = 0
	statusTypeOCSP          uint8 = 1

	// Signalling values among the cipher suites.
	suiteRenegotiationInfo uint16 = 0x00ff // RFC 5746 §3.3
	suiteFallback          uint16 = 0x5600 // RFC 7507 §2
)

// clientHello is the ClientHello message (RFC 5246 §7.4.1.2). It keeps the
// memory that it was parsed from.
type clientHello struct {
	version      uint16
	random       [randomLen]byte
	sessionID    []byte
	suites       []uint16
	compressions []byte

	extensions           []uint16 // all, in the client's order
	serverName           string
	statusRequest        bool
	groups               []tls.CurveID
	pointFormats         []byte
	schemes              []tls.SignatureScheme
	protocols            []string
	timestamps           bool
	encryptThenMAC       bool
	extendedMasterSecret bool
	ticketExtension      bool
	ticket               []byte
	versions             []uint16
	renegotiationInfo    []byte // what was negotiated before
}

// offers says whether an extension is there.
func (m *clientHello) offers(extension uint16) bool { return slices.Contains(m.extensions, extension) }

// checkLegacyVersion refuses SSL 3.0, and less, beside supported_versions (RFC 8446
// appendix D.5).
func (m *clientHello) checkLegacyVersion() error {
	const ssl30 = 0x0300
	if m.version <= ssl30 {
		return refuse(alertProtocolVersion, "version %#04x beside supported versions %x", m.version, m.versions)
	}
	return nil
}

// parseClientHello parses the body of a ClientHello. The error is a fault.
func parseClientHello(s cryptobyte.String) (*clientHello, error) {
	m := new(clientHello)
	var suites cryptobyte.String
	if !s.ReadUint16(&m.version) || !s.CopyBytes(m.random[:]) ||
		!readVector8(&s, &m.sessionID) || len(m.sessionID) > maxSessionID ||
		!s.ReadUint16LengthPrefixed(&suites) || !readUint16s(suites, &m.suites) ||
		!readVector8(&s, &m.compressions) || len(m.compressions) == 0 {
		return nil, errDecode("ClientHello")
	}
	// A hello may end here (RFC 5246 §7.4.1.2).
	if s.Empty() {
		return m, nil
	}
	var extensions cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return nil, errDecode("ClientHello")
	}
	for !extensions.Empty() {
		var extension uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&extension) || !extensions.ReadUint16LengthPrefixed(&data) {
			return nil, errDecode("ClientHello's extensions")
		}
		m.extensions = append(m.extensions, extension)
		if err := m.parseExtension(extension, data); err != nil {
			return nil, err
		}
	}
	// RFC 5246 §7.4.1.4. Sorting bounds the work on thousands of extensions.
	sorted := slices.Sorted(slices.Values(m.extensions))
	if len(slices.Compact(sorted)) != len(m.extensions) {
		return nil, refuse(alertIllegalParameter, "an extension twice in ClientHello")
	}
	return m, nil
}

func (m *clientHello) parseExtension(extension uint16, data cryptobyte.String) error {
	ok := true
	switch extension {
	case extServerName:
		return m.parseServerName(data)
	case extStatusRequest:
		ok = m.parseStatusRequest(data)
	case extSupportedGroups: // RFC 8422 §5.1.1
		ok = readUint16List(data, &m.groups)
	case extSignatureAlgorithms: // RFC 5246 §7.4.1.4.1
		ok = readUint16List(data, &m.schemes)
	case extECPointFormats: // RFC 8422 §5.1.2
		ok = readVector8(&data, &m.pointFormats) && len(m.pointFormats) > 0 && data.Empty()
	case extALPN:
		ok = m.parseALPN(data)
	case extSCT: // RFC 6962 §3.3.1
		m.timestamps, ok = true, data.Empty()
	case extEncryptThenMAC: // RFC 7366 §2
		m.encryptThenMAC, ok = true, data.Empty()
	case extExtendedMasterSecret: // RFC 7627 §5.1
		m.extendedMasterSecret, ok = true, data.Empty()
	case extSessionTicket: // RFC 5077 §3.2: without a length of its own
		m.ticketExtension, m.ticket = true, data
	case extSupportedVersions: // RFC 8446 §4.2.1
		var list cryptobyte.String
		ok = data.ReadUint8LengthPrefixed(&list) && readUint16s(list, &m.versions) && data.Empty()
	case extRenegotiationInfo: // RFC 5746 §3.2
		ok = readVector8(&data, &m.renegotiationInfo) && data.Empty()
	}
	if !ok {
		return refuse(alertDecodeError, "lengths in extension %d of ClientHello", extension)
	}
	return nil
}

// parseServerName reads server_name (RFC 6066 §3), of which only one type was
// ever defined.
func (m *clientHello) parseServerName(data cryptobyte.String) error {
	const typeHostName = 0
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || list.Empty() || !data.Empty() {
		return errDecode("server_name")
	}
	for !list.Empty() {
		var nameType uint8
		var name cryptobyte.String
		if !list.ReadUint8(&nameType) || !list.ReadUint16LengthPrefixed(&name) || name.Empty() {
			return errDecode("server_name")
		}
		if nameType != typeHostName {
			continue
		}
		if m.serverName != "" {
			return refuse(alertIllegalParameter, "two names in server_name")
		}
		// The longest that DNS has (RFC 1035 §2.3.4), "without a trailing dot".
		if len(name) > 255 || name[len(name)-1] == '.' {
			return refuse(alertIllegalParameter, "server name %q", name[:min(len(name), 255)])
		}
		m.serverName = string(name)
	}
	return nil
}

// parseStatusRequest reads status_request (RFC 6066 §8) in the layout of OCSP,
// which has remained the only one.
func (m *clientHello) parseStatusRequest(data cryptobyte.String) bool {
	var statusType uint8
	var responders, extensions cryptobyte.String
	if !data.ReadUint8(&statusType) || !data.ReadUint16LengthPrefixed(&responders) ||
		!data.ReadUint16LengthPrefixed(&extensions) || !data.Empty() {
		return false
	}
	m.statusRequest = statusType == statusTypeOCSP
	return true
}

// parseALPN reads application_layer_protocol_negotiation (RFC 7301 §3.1).
func (m *clientHello) parseALPN(data cryptobyte.String) bool {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || list.Empty() || !data.Empty() {
		return false
	}
	for !list.Empty() {
		var protocol cryptobyte.String
		if !list.ReadUint8LengthPrefixed(&protocol) || protocol.Empty() {
			return false
		}
		m.protocols = append(m.protocols, string(protocol))
	}
	return true
}

// readUint16List reads a list with a length before it.
func readUint16List[T ~uint16](data cryptobyte.String, out *[]T) bool {
	var list cryptobyte.String
	return data.ReadUint16LengthPrefixed(&list) && readUint16s(list, out) && data.Empty()
}

// readUint16s reads values to the end of s; one has to be there.
func readUint16s[T ~uint16](s cryptobyte.String, out *[]T) bool {
	if s.Empty() || len(s)%2 != 0 {
		return false
	}
	*out = make([]T, 0, len(s)/2)
	for !s.Empty() {
		var v uint16
		s.ReadUint16(&v)
		*out = append(*out, T(v))
	}
	return true
}
