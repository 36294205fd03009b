package tlsconn

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"maps"
	"slices"

	"golang.org/x/crypto/cryptobyte"
)

// The extensions that TLS 1.3 has (RFC 8446 §4.2).
const (
	extPreSharedKey           uint16 = 41
	extEarlyData              uint16 = 42
	extCookie                 uint16 = 44
	extPSKModes               uint16 = 45
	extCertificateAuthorities uint16 = 47
	extKeyShare               uint16 = 51
)

const pskWithDHE uint8 = 1 // psk_dhe_ke, the mode with forward secrecy (RFC 8446 §4.2.9)

// hello13 is what TLS 1.3 has put into ClientHello's extensions. It keeps the
// memory that it was parsed from.
type hello13 struct {
	shares     []keyShare
	pskModes   []byte
	identities [][]byte // of pre-shared keys: tickets
	binders    [][]byte
	bindersLen int // of the list of binders, at the end of the message, in bytes
	earlyData  bool
}

// A keyShare is a KeyShareEntry (RFC 8446 §4.2.8).
type keyShare struct {
	group tls.CurveID
	data  []byte
}

// splitHello returns what of a ClientHello's body stands before its extensions, and
// these.
func splitHello(s cryptobyte.String) (start []byte, extensions cryptobyte.String, ok bool) {
	rest := s
	var sessionID, suites, compressions cryptobyte.String
	ok = rest.Skip(2+randomLen) && rest.ReadUint8LengthPrefixed(&sessionID) && rest.ReadUint16LengthPrefixed(&suites) &&
		rest.ReadUint8LengthPrefixed(&compressions)
	start = s[:len(s)-len(rest)]
	ok = ok && rest.ReadUint16LengthPrefixed(&extensions)
	return start, extensions, ok
}

// parseHello13 parses what TLS 1.3 takes from the body of a ClientHello beyond what
// parseClientHello has taken. The error is a fault.
func parseHello13(s cryptobyte.String, hello *clientHello) (*hello13, error) {
	m := new(hello13)
	_, extensions, ok := splitHello(s)
	if !ok {
		return nil, errDecode("ClientHello")
	}
	for !extensions.Empty() {
		var extension uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&extension) || !extensions.ReadUint16LengthPrefixed(&data) {
			return nil, errDecode("ClientHello's extensions")
		}
		ok := true
		switch extension {
		case extKeyShare:
			ok = m.parseKeyShares(data)
		case extPSKModes:
			ok = readVector8(&data, &m.pskModes) && len(m.pskModes) > 0 && data.Empty()
		case extEarlyData:
			m.earlyData, ok = true, data.Empty()
		case extPreSharedKey:
			// RFC 8446 §4.2.11: the binders have to be the end of the message.
			if !extensions.Empty() {
				return nil, refuse(alertIllegalParameter, "extension behind pre_shared_key")
			}
			ok = m.parsePreSharedKeys(data)
		}
		if !ok {
			return nil, refuse(alertDecodeError, "lengths in extension %d of ClientHello", extension)
		}
	}
	return m, m.check(hello)
}

// check holds the extensions against each other (RFC 8446 §4.2.8, §4.2.9,
// §4.2.11, §9.2).
func (m *hello13) check(hello *clientHello) error {
	for _, extension := range [...]uint16{extSupportedGroups, extKeyShare} {
		// Every key exchange here has one of them, and so needs both.
		if !hello.offers(extension) {
			return refuse(alertMissingExtension, "no extension %d in ClientHello", extension)
		}
	}
	if err := m.checkShares(hello.groups); err != nil {
		return err
	}
	if !hello.offers(extPreSharedKey) {
		if m.earlyData {
			return refuse(alertIllegalParameter, "early_data without pre_shared_key")
		}
		return nil
	}
	if !hello.offers(extPSKModes) {
		return refuse(alertMissingExtension, "pre_shared_key without psk_key_exchange_modes")
	}
	if len(m.identities) != len(m.binders) {
		return refuse(alertIllegalParameter, "%d binders for %d pre-shared keys", len(m.binders), len(m.identities))
	}
	return nil
}

// checkShares sees to it that there is one share at most for a group, and that the
// group is offered. Sorting bounds the work on thousands of shares of groups that
// are nobody's, which are no fault (RFC 8446 §9.3).
func (m *hello13) checkShares(offered []tls.CurveID) error {
	const usual = 64 // more than clients have: no memory is taken for these
	var fewShares, fewGroups [usual]tls.CurveID
	shares, groups := fewShares[:0], append(fewGroups[:0], offered...)
	for _, share := range m.shares {
		shares = append(shares, share.group)
	}
	slices.Sort(shares)
	slices.Sort(groups)
	for i, group := range shares {
		if i > 0 && group == shares[i-1] {
			return refuse(alertIllegalParameter, "two key shares for group %d", group)
		}
		if _, ok := slices.BinarySearch(groups, group); !ok {
			return refuse(alertIllegalParameter, "key share for group %d, which is not among the groups", group)
		}
	}
	return nil
}

// repeated is what of a ClientHello's body has to be the same in the one that answers
// a HelloRetryRequest (RFC 8446 §4.1.2), which may order its extensions otherwise. The
// body must be one that parseClientHello takes.
func repeated(s cryptobyte.String) []byte {
	const extPadding, extEncryptedClientHello = 21, 0xfe0d // RFC 7685 §3, RFC 9849 §6.1.5
	start, list, _ := splitHello(s)
	same := bytes.Clone(start)
	extensions := make(map[uint16]cryptobyte.String)
	for !list.Empty() {
		var extension uint16
		var data cryptobyte.String
		list.ReadUint16(&extension)
		list.ReadUint16LengthPrefixed(&data)
		switch extension {
		case extKeyShare, extEarlyData, extCookie, extPreSharedKey, extPadding, extEncryptedClientHello:
		default:
			extensions[extension] = data
		}
	}
	for _, extension := range slices.Sorted(maps.Keys(extensions)) {
		data := extensions[extension]
		same = binary.BigEndian.AppendUint16(same, extension)
		same = binary.BigEndian.AppendUint16(same, uint16(len(data)))
		same = append(same, data...)
	}
	return same
}

// parseKeyShares reads key_share; no share at all asks for a HelloRetryRequest.
func (m *hello13) parseKeyShares(data cryptobyte.String) bool {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
		return false
	}
	for !list.Empty() {
		var group uint16
		var share []byte
		if !list.ReadUint16(&group) || !readVector16(&list, &share) || len(share) == 0 {
			return false
		}
		m.shares = append(m.shares, keyShare{tls.CurveID(group), share})
	}
	return true
}

// parsePreSharedKeys reads pre_shared_key (RFC 8446 §4.2.11).
func (m *hello13) parsePreSharedKeys(data cryptobyte.String) bool {
	const leastBinder = 32
	var identities, binders cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&identities) || identities.Empty() {
		return false
	}
	m.bindersLen = len(data)
	if !data.ReadUint16LengthPrefixed(&binders) || binders.Empty() || !data.Empty() {
		return false
	}
	for !identities.Empty() {
		var identity []byte
		var age uint32 // of no use without early data
		if !readVector16(&identities, &identity) || len(identity) == 0 || !identities.ReadUint32(&age) {
			return false
		}
		m.identities = append(m.identities, identity)
	}
	for !binders.Empty() {
		var binder []byte
		if !readVector8(&binders, &binder) || len(binder) < leastBinder {
			return false
		}
		m.binders = append(m.binders, binder)
	}
	return true
}

// share returns the client's share for a group, nil if it has none.
func (m *hello13) share(group tls.CurveID) []byte {
	for _, share := range m.shares {
		if share.group == group {
			return share.data
		}
	}
	return nil
}
