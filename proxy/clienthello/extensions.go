package clienthello

import (
	"golang.org/x/crypto/cryptobyte"
)

// maxHostName is the most that DNS allows (RFC 1035 §2.3.4).
const maxHostName = 255

// parseServerName reads server_name (RFC 6066 §3).
func (h *Hello) parseServerName(data cryptobyte.String) error {
	const typeHostName = 0
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || list.Empty() || !data.Empty() {
		return badLength("server_name")
	}
	var seen [256]bool
	for !list.Empty() {
		var nameType uint8
		// Names of all types begin with a length, so that servers can skip the
		// ones that they do not know.
		var name cryptobyte.String
		if !list.ReadUint8(&nameType) || !list.ReadUint16LengthPrefixed(&name) || name.Empty() {
			return badLength("server_name")
		}
		if seen[nameType] {
			return refuse(alertIllegalParameter, "two server names of type %d", nameType)
		}
		seen[nameType] = true
		if nameType != typeHostName {
			continue
		}
		if !validHostName(name) {
			return refuse(alertIllegalParameter, "server name %+q", name[:min(len(name), maxHostName)])
		}
		h.ServerName = string(name)
	}
	return nil
}

// validHostName takes the characters of DNS names, and the underscore of the
// names of containers. Without a trailing dot, says RFC 6066 §3, and not an IP
// address; but mosquitto sends whatever it was told to connect to, so colons and
// the percent sign of a zone pass too.
func validHostName(name []byte) bool {
	if len(name) > maxHostName || name[len(name)-1] == '.' {
		return false
	}
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '%':
		default:
			return false
		}
	}
	return true
}

// parseStatusRequest reads status_request (RFC 6066 §8). The layout is that of
// OCSP, which is the only type there is, and is what crypto/tls expects of
// every type.
func (h *Hello) parseStatusRequest(data cryptobyte.String) error {
	const typeOCSP = 1
	var statusType uint8
	var responders, extensions cryptobyte.String
	if !data.ReadUint8(&statusType) ||
		!data.ReadUint16LengthPrefixed(&responders) ||
		!data.ReadUint16LengthPrefixed(&extensions) ||
		!data.Empty() {
		return badLength("status_request")
	}
	for !responders.Empty() {
		var id cryptobyte.String
		if !responders.ReadUint16LengthPrefixed(&id) || id.Empty() {
			return badLength("responder ID in status_request")
		}
	}
	h.StatusRequest = statusType == typeOCSP
	return nil
}

// parseSupportedVersions reads supported_versions (RFC 8446 §4.2.1).
func (h *Hello) parseSupportedVersions(data cryptobyte.String) error {
	var list cryptobyte.String
	if !data.ReadUint8LengthPrefixed(&list) || !data.Empty() {
		return badLength("supported_versions")
	}
	var ok bool
	if h.SupportedVersions, ok = uint16s(list); !ok {
		return badLength("supported_versions")
	}
	return nil
}

// parseALPN reads application_layer_protocol_negotiation (RFC 7301 §3.1).
func (h *Hello) parseALPN(data cryptobyte.String) error {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || list.Empty() || !data.Empty() {
		return badLength("application_layer_protocol_negotiation")
	}
	for !list.Empty() {
		var protocol cryptobyte.String
		if !list.ReadUint8LengthPrefixed(&protocol) || protocol.Empty() {
			return badLength("application_layer_protocol_negotiation")
		}
		h.ALPN = append(h.ALPN, string(protocol))
	}
	return nil
}

// parseKeyShare reads the groups of key_share (RFC 8446 §4.2.8). An empty list
// is legal: the client asks for a HelloRetryRequest.
func (h *Hello) parseKeyShare(data cryptobyte.String) error {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() {
		return badLength("key_share")
	}
	for !list.Empty() {
		var group uint16
		var key cryptobyte.String
		if !list.ReadUint16(&group) || !list.ReadUint16LengthPrefixed(&key) || key.Empty() {
			return badLength("key_share")
		}
		h.KeyShares = append(h.KeyShares, group)
	}
	return nil
}

// parsePreSharedKey checks pre_shared_key (RFC 8446 §4.2.11), whose contents are
// for the engine alone.
func parsePreSharedKey(data cryptobyte.String) error {
	const minBinder = 32
	var identities, binders cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&identities) || identities.Empty() ||
		!data.ReadUint16LengthPrefixed(&binders) || binders.Empty() || !data.Empty() {
		return badLength("pre_shared_key")
	}
	offered, bound := 0, 0
	for ; !identities.Empty(); offered++ {
		var identity cryptobyte.String
		var obfuscatedAge uint32
		if !identities.ReadUint16LengthPrefixed(&identity) || identity.Empty() ||
			!identities.ReadUint32(&obfuscatedAge) {
			return badLength("identity in pre_shared_key")
		}
	}
	for ; !binders.Empty(); bound++ {
		var binder cryptobyte.String
		if !binders.ReadUint8LengthPrefixed(&binder) || len(binder) < minBinder {
			return badLength("binder in pre_shared_key")
		}
	}
	if offered != bound {
		return refuse(alertIllegalParameter, "%d binders for %d pre-shared keys", bound, offered)
	}
	return nil
}

// parseCookie checks cookie (RFC 8446 §4.2.2).
func parseCookie(data cryptobyte.String) error {
	var cookie cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&cookie) || cookie.Empty() || !data.Empty() {
		return badLength("cookie")
	}
	return nil
}

// parseRenegotiationInfo checks renegotiation_info, which has to be empty in the
// first hello of a connection (RFC 5746 §3.6).
func parseRenegotiationInfo(data cryptobyte.String) error {
	var verifyData cryptobyte.String
	if !data.ReadUint8LengthPrefixed(&verifyData) || !data.Empty() {
		return badLength("renegotiation_info")
	}
	if !verifyData.Empty() {
		return refuse(alertHandshakeFailure, "renegotiation_info is not empty")
	}
	return nil
}

// parseEncryptedClientHello checks encrypted_client_hello (RFC 9849 §5). The
// gateway has no keys for it and goes by the outer hello, as a server does for
// the GREASE that browsers send; but crypto/tls looks at the frame.
func parseEncryptedClientHello(data cryptobyte.String) error {
	const outer, inner = 0, 1
	var helloType, configID uint8
	var kdf, aead uint16
	var encapsulated, payload cryptobyte.String
	if !data.ReadUint8(&helloType) {
		return badLength("encrypted_client_hello")
	}
	switch helloType {
	case inner:
		return mustBeEmpty("encrypted_client_hello", data)
	case outer:
		if !data.ReadUint16(&kdf) || !data.ReadUint16(&aead) || !data.ReadUint8(&configID) ||
			!data.ReadUint16LengthPrefixed(&encapsulated) ||
			!data.ReadUint16LengthPrefixed(&payload) || payload.Empty() || !data.Empty() {
			return badLength("encrypted_client_hello")
		}
		return nil
	default:
		return refuse(alertIllegalParameter, "encrypted_client_hello of type %d", helloType)
	}
}
