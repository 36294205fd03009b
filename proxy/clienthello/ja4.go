package clienthello

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// JA4 is the fingerprint of the client's TLS stack and its settings, such as
// "t13d1516h2_8daaf6152771_e5627efa2ab1": the same program says the same, from
// whatever address and in whatever order it lists its extensions. It tells
// clients apart, and proves nothing: who wants to can send another's hello.
//
// The format is FoxIO's (https://github.com/FoxIO-LLC/ja4, JA4.md). It has the
// transport, the highest version, whether there is a server name, how many
// suites and extensions there are and the ends of the first ALPN protocol; then
// a hash of the suites; then one of the extensions and signature algorithms.
// GREASE is in none of them.
func (h *Hello) JA4() string {
	var suiteRoom, extensionRoom [smallList]uint16
	suites := slices.DeleteFunc(sorted(suiteRoom[:0], h.CipherSuites), IsGREASE)
	extensions := slices.DeleteFunc(sorted(extensionRoom[:0], h.Extensions), IsGREASE)

	var room [36]byte
	b := append(room[:0], 't')
	b = append(b, h.ja4Version()...)
	if h.has(extServerName) {
		b = append(b, 'd')
	} else {
		b = append(b, 'i')
	}
	b = appendCount(b, len(suites))
	b = appendCount(b, len(extensions))
	b = h.appendJA4ALPN(b)

	var listRoom [8 * smallList]byte
	b = append(b, '_')
	b = appendTruncatedHash(b, appendHexList(listRoom[:0], suites))

	// Both are in the first part already.
	extensions = slices.DeleteFunc(extensions, func(e uint16) bool { return e == extServerName || e == extALPN })
	list := appendHexList(listRoom[:0], extensions)
	var schemeRoom [smallList]uint16
	schemes := slices.DeleteFunc(append(schemeRoom[:0], h.SignatureSchemes...), IsGREASE)
	if len(schemes) > 0 {
		list = append(list, '_')
		list = appendHexList(list, schemes)
	}
	b = append(b, '_')
	b = appendTruncatedHash(b, list)
	return string(b)
}

// ja4Version is the highest version that the client lists, and the legacy one
// if it lists none.
func (h *Hello) ja4Version() string {
	version := h.LegacyVersion
	if h.SupportedVersions != nil {
		version = 0
		for _, v := range h.SupportedVersions {
			if !IsGREASE(v) {
				version = max(version, v)
			}
		}
	}
	switch version {
	case versionTLS13:
		return "13"
	case versionTLS12:
		return "12"
	case versionTLS11:
		return "11"
	case versionTLS10:
		return "10"
	case versionSSL30:
		return "s3"
	case versionSSL20:
		return "s2"
	default:
		return "00"
	}
}

// appendJA4ALPN appends the first and the last character of the first ALPN
// protocol or, if one of the two is neither a letter nor a digit, the first and
// the last of its bytes in hexadecimal.
func (h *Hello) appendJA4ALPN(b []byte) []byte {
	if len(h.ALPN) == 0 || h.ALPN[0] == "" {
		return append(b, "00"...)
	}
	first, last := h.ALPN[0][0], h.ALPN[0][len(h.ALPN[0])-1]
	if alphanumeric(first) && alphanumeric(last) {
		return append(b, first, last)
	}
	const digits = "0123456789abcdef"
	return append(b, digits[first>>4], digits[last&0xf])
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// appendCount appends two digits. There is no more than 99.
func appendCount(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, '0'+byte(n/10), '0'+byte(n%10))
}

// appendHexList appends values as "002f,0035".
func appendHexList(b []byte, values []uint16) []byte {
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(v >> 8), byte(v)})
	}
	return b
}

// appendTruncatedHash appends twelve digits of the hash of a list, and twelve
// zeros for one that has nothing in it.
func appendTruncatedHash(b, list []byte) []byte {
	if len(list) == 0 {
		return append(b, "000000000000"...)
	}
	sum := sha256.Sum256(list)
	return hex.AppendEncode(b, sum[:6])
}
