package policy

import (
	"fmt"
	"slices"
)

// Version is a TLS protocol version as it stands on the wire (RFC 8446 §4.2.1).
type Version uint16

// The versions that a client may offer. A policy serves the last two.
const (
	SSL30 Version = 0x0300
	TLS10 Version = 0x0301
	TLS11 Version = 0x0302
	TLS12 Version = 0x0303
	TLS13 Version = 0x0304
)

// String is the version's name in the way of OpenSSL ("TLSv1.2"), or its
// number in hexadecimal if it has none.
func (v Version) String() string {
	switch v {
	case SSL30:
		return "SSLv3"
	case TLS10:
		return "TLSv1.0"
	case TLS11:
		return "TLSv1.1"
	case TLS12:
		return "TLSv1.2"
	case TLS13:
		return "TLSv1.3"
	}
	return fmt.Sprintf("0x%04x", uint16(v))
}

// KeyExchange is how a suite agrees on the premaster secret.
type KeyExchange uint8

// The key exchanges of the registry.
const (
	AnyKeyExchange KeyExchange = iota // TLS 1.3: settled by the group, not by the suite
	ECDHE
	DHE
	RSAKeyExchange
)

// String names the key exchange.
func (k KeyExchange) String() string {
	return name(k, "any", "ECDHE", "DHE", "RSA")
}

// Auth is what kind of certificate key a suite is authenticated with.
type Auth uint8

// The authentications of the registry.
const (
	AnyAuth   Auth = iota // TLS 1.3: settled by signature_algorithms, not by the suite
	AuthRSA               // an RSA key, to sign with or to decrypt with
	AuthECDSA             // an ECDSA or Ed25519 key (RFC 8422 §2.1)
)

// String names the authentication.
func (a Auth) String() string {
	return name(a, "any", "RSA", "ECDSA")
}

// Cipher is a suite's bulk cipher and its mode.
type Cipher uint8

// The ciphers of the registry.
const (
	AES128GCM Cipher = iota + 1
	AES256GCM
	AES128CBC
	AES256CBC
	ChaCha20Poly1305
)

// String names the cipher.
func (c Cipher) String() string {
	return name(c, "", "AES-128-GCM", "AES-256-GCM", "AES-128-CBC", "AES-256-CBC", "CHACHA20-POLY1305")
}

// MAC is what protects a suite's records against change.
type MAC uint8

// The MACs of the registry. For AEAD the cipher does the work.
const (
	AEAD MAC = iota + 1
	SHA1
	SHA256
	SHA384
)

// String names the MAC.
func (m MAC) String() string {
	return name(m, "", "AEAD", "SHA1", "SHA256", "SHA384")
}

// name picks the name of an enumeration's value.
func name[E ~uint8](value E, names ...string) string {
	if int(value) < len(names) && names[value] != "" {
		return names[value]
	}
	return fmt.Sprintf("unknown(%d)", value)
}

// Suite is one cipher suite. Suites are plain values: compare and copy them.
type Suite struct {
	ID          uint16 // IANA "TLS Cipher Suites"
	Name        string // IANA's name, the canonical one
	OpenSSLName string // the same as Name for TLS 1.3
	KeyExchange KeyExchange
	Auth        Auth
	Cipher      Cipher
	MAC         MAC
}

// ForwardSecret reports whether recorded traffic stays secret when the
// certificate's key is stolen later.
func (s Suite) ForwardSecret() bool { return s.KeyExchange != RSAKeyExchange }

// TLS13 reports whether this is a TLS 1.3 suite. All others are for TLS 1.2
// here, whatever older versions they may have worked with.
func (s Suite) TLS13() bool { return s.KeyExchange == AnyKeyExchange }

// String is the IANA name.
func (s Suite) String() string { return s.Name }

// registry is the only table of suites. A suite that is not in it is never
// negotiated, by any policy.
var registry = [...]Suite{
	// TLS 1.3 (RFC 8446 §B.4).
	{0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", AnyKeyExchange, AnyAuth, AES256GCM, AEAD},
	{0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", AnyKeyExchange, AnyAuth, AES128GCM, AEAD},
	{0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", AnyKeyExchange, AnyAuth, ChaCha20Poly1305, AEAD},

	// ECDHE with RSA certificates (RFC 5289, RFC 7905, RFC 8422).
	{0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", ECDHE, AuthRSA, AES256GCM, AEAD},
	{0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", ECDHE, AuthRSA, AES128GCM, AEAD},
	{0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", ECDHE, AuthRSA, ChaCha20Poly1305, AEAD},
	{0xC028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384", ECDHE, AuthRSA, AES256CBC, SHA384},
	{0xC027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", ECDHE, AuthRSA, AES128CBC, SHA256},
	{0xC014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", ECDHE, AuthRSA, AES256CBC, SHA1},
	{0xC013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA", ECDHE, AuthRSA, AES128CBC, SHA1},

	// ECDHE with ECDSA or Ed25519 certificates (the same RFCs).
	{0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", ECDHE, AuthECDSA, AES256GCM, AEAD},
	{0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", ECDHE, AuthECDSA, AES128GCM, AEAD},
	{0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", ECDHE, AuthECDSA, ChaCha20Poly1305, AEAD},
	{0xC00A, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA", ECDHE, AuthECDSA, AES256CBC, SHA1},
	{0xC009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA", ECDHE, AuthECDSA, AES128CBC, SHA1},

	// DHE with RSA certificates (RFC 5246 §A.5, RFC 5288).
	{0x009F, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384", DHE, AuthRSA, AES256GCM, AEAD},
	{0x009E, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256", DHE, AuthRSA, AES128GCM, AEAD},
	{0x006B, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", "DHE-RSA-AES256-SHA256", DHE, AuthRSA, AES256CBC, SHA256},
	{0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", "DHE-RSA-AES128-SHA256", DHE, AuthRSA, AES128CBC, SHA256},
	{0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "DHE-RSA-AES256-SHA", DHE, AuthRSA, AES256CBC, SHA1},
	{0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", "DHE-RSA-AES128-SHA", DHE, AuthRSA, AES128CBC, SHA1},

	// RSA key exchange (RFC 5246 §A.5, RFC 5288).
	{0x009D, "TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", RSAKeyExchange, AuthRSA, AES256GCM, AEAD},
	{0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", RSAKeyExchange, AuthRSA, AES128GCM, AEAD},
	{0x003D, "TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256", RSAKeyExchange, AuthRSA, AES256CBC, SHA256},
	{0x003C, "TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", RSAKeyExchange, AuthRSA, AES128CBC, SHA256},
	{0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", RSAKeyExchange, AuthRSA, AES256CBC, SHA1},
	{0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", RSAKeyExchange, AuthRSA, AES128CBC, SHA1},
}

// Suites lists every suite that a policy may name: TLS 1.3's first, then by
// key exchange, the stronger before the weaker.
func Suites() []Suite { return slices.Clone(registry[:]) }

// SuiteByID finds a suite by its IANA number.
func SuiteByID(id uint16) (Suite, bool) {
	for i := range registry {
		if registry[i].ID == id {
			return registry[i], true
		}
	}
	return Suite{}, false
}
