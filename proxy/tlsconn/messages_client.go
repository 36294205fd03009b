package tlsconn

import (
	"bytes"
	"crypto/tls"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// The messages from the client's side: what the server parses is marshalled
// here, and the other way round.

// marshal is the reverse of parseClientHello. The extensions are those in the
// list, in its order.
func (m *clientHello) marshal(b *cryptobyte.Builder) {
	b.AddUint16(m.version)
	b.AddBytes(m.random[:])
	vector8 := func(b *cryptobyte.Builder, v []byte) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
	}
	vector8(b, m.sessionID)
	addUint16s(b, m.suites)
	vector8(b, m.compressions)
	if m.extensions == nil {
		return
	}
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, extension := range m.extensions {
			b.AddUint16(extension)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { m.marshalExtension(b, extension) })
		}
	})
}

func (m *clientHello) marshalExtension(b *cryptobyte.Builder, extension uint16) {
	vector8 := func(b *cryptobyte.Builder, v []byte) {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(v) })
	}
	switch extension {
	case extServerName:
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(0)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(m.serverName)) })
		})
	case extStatusRequest:
		b.AddBytes([]byte{statusTypeOCSP, 0, 0, 0, 0})
	case extSupportedGroups:
		addUint16s(b, m.groups)
	case extECPointFormats:
		vector8(b, m.pointFormats)
	case extSignatureAlgorithms:
		addUint16s(b, m.schemes)
	case extALPN:
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, protocol := range m.protocols {
				vector8(b, []byte(protocol))
			}
		})
	case extSessionTicket:
		b.AddBytes(m.ticket)
	case extSupportedVersions:
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, v := range m.versions {
				b.AddUint16(v)
			}
		})
	case extRenegotiationInfo:
		vector8(b, m.renegotiationInfo)
	}
}

func addUint16s[T ~uint16](b *cryptobyte.Builder, list []T) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, v := range list {
			b.AddUint16(uint16(v))
		}
	})
}

// parseServerHello parses the body of a ServerHello. An extension that no client
// of ours offers is an error, and whether another one was offered is for the
// caller to ask.
func parseServerHello(s cryptobyte.String) (m serverHello, err error) {
	var version uint16
	var compression uint8
	if !s.ReadUint16(&version) || version != tls.VersionTLS12 || !s.CopyBytes(m.random[:]) ||
		!readVector8(&s, &m.sessionID) || !s.ReadUint16(&m.suite) || !s.ReadUint8(&compression) || compression != compressionNull || len(m.sessionID) > maxSessionID {
		return m, errDecode("ServerHello")
	}
	if s.Empty() {
		return m, nil
	}
	var extensions cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return m, errDecode("ServerHello")
	}
	seen := make(map[uint16]bool)
	for !extensions.Empty() {
		var extension uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&extension) || !extensions.ReadUint16LengthPrefixed(&data) || seen[extension] {
			return m, errDecode("ServerHello")
		}
		seen[extension] = true
		if !m.parseExtension(extension, data) {
			return m, errDecode("ServerHello")
		}
	}
	return m, nil
}

func (m *serverHello) parseExtension(extension uint16, data cryptobyte.String) bool {
	var list, protocol cryptobyte.String
	switch extension {
	case extServerName:
		m.serverName = true
	case extStatusRequest:
		m.statusRequest = true
	case extEncryptThenMAC:
		m.encryptThenMAC = true
	case extExtendedMasterSecret:
		m.extendedMasterSecret = true
	case extSessionTicket:
		m.ticket = true
	case extRenegotiationInfo:
		m.renegotiationInfo = true
		return bytes.Equal(data, []byte{0})
	case extECPointFormats:
		m.pointFormats = true
		var formats []byte
		return readVector8(&data, &formats) && slices.Contains(formats, pointFormatUncompressed) && data.Empty()
	case extALPN:
		ok := data.ReadUint16LengthPrefixed(&list) && data.Empty() && list.ReadUint8LengthPrefixed(&protocol) && list.Empty()
		m.protocol = string(protocol)
		return ok
	case extSCT:
		if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
			return false
		}
		for !list.Empty() {
			var sct []byte
			if !readVector16(&list, &sct) {
				return false
			}
			m.timestamps = append(m.timestamps, sct)
		}
		return true
	default:
		return false
	}
	return data.Empty()
}

func parseCertificateStatus(s cryptobyte.String) ([]byte, error) {
	var statusType uint8
	var response cryptobyte.String
	if !s.ReadUint8(&statusType) || statusType != statusTypeOCSP || !s.ReadUint24LengthPrefixed(&response) || !s.Empty() {
		return nil, errDecode("CertificateStatus")
	}
	return response, nil
}

func parseCertificateRequest(s cryptobyte.String) (m certificateRequest, err error) {
	var types, schemes, names cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&types) || types.Empty() ||
		!s.ReadUint16LengthPrefixed(&schemes) || !readUint16s(schemes, &m.schemes) ||
		!s.ReadUint16LengthPrefixed(&names) || !s.Empty() {
		return m, errDecode("CertificateRequest")
	}
	for !names.Empty() {
		var name []byte
		if !readVector16(&names, &name) {
			return m, errDecode("CertificateRequest")
		}
		m.authorities = append(m.authorities, name)
	}
	return m, nil
}

func parseNewSessionTicket(s cryptobyte.String) (m newSessionTicket, err error) {
	if !s.ReadUint32(&m.lifetimeHint) || !readVector16(&s, &m.ticket) || !s.Empty() {
		return m, errDecode("NewSessionTicket")
	}
	return m, nil
}

// parseServerKeyExchange takes the message apart, and the parameters as one
// piece: they are what is signed.
func parseServerKeyExchange(s cryptobyte.String, kx keyExchange) (m serverKeyExchange, err error) {
	all := s
	var skipped []byte
	ok := true
	if kx == kxDHE {
		for range 3 {
			ok = ok && readVector16(&s, &skipped) && len(skipped) > 0
		}
	} else {
		ok = s.Skip(3) && readVector8(&s, &skipped)
	}
	m.params = all[:len(all)-len(s)]
	var scheme uint16
	if !ok || !s.ReadUint16(&scheme) || !readVector16(&s, &m.signature) || !s.Empty() {
		return m, errDecode("ServerKeyExchange")
	}
	m.scheme = tls.SignatureScheme(scheme)
	return m, nil
}

func (m *certificateVerify) marshal(b *cryptobyte.Builder) {
	b.AddUint16(uint16(m.scheme))
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(m.signature) })
}
