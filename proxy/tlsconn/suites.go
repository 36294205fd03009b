package tlsconn

import (
	"crypto"
	"crypto/tls"
)

// keyExchange is how a cipher suite agrees on the premaster secret.
type keyExchange uint8

const (
	kxDHE   keyExchange = iota + 1 // ephemeral Diffie-Hellman over RFC 7919 groups, signed
	kxECDHE                        // ephemeral elliptic-curve Diffie-Hellman (RFC 8422), signed
	kxRSA                          // premaster secret encrypted to the certificate's RSA key (RFC 5246 §7.4.7.1)
)

// A cipherSuite says what its identifier stands for (RFC 5246 Appendix C).
type cipherSuite struct {
	id uint16
	kx keyExchange

	// ecdsa says that the server's key is one for ECDSA, or Ed25519 (RFC 8422
	// §5.10), where others want RSA.
	ecdsa bool

	// The lengths in bytes of each direction's share of the key block
	// (RFC 5246 §6.3). CBC suites have no IV there since TLS 1.1, AEADs no MAC
	// key.
	macLen, keyLen, ivLen int

	// mac is the hash of the record's HMAC; zero says that there is an AEAD:
	// AES-GCM, or ChaCha20-Poly1305 if chacha is set.
	mac    crypto.Hash
	chacha bool
	// hash serves the PRF and the transcript: SHA-256 where the suite does
	// not name SHA-384, also in the suites older than TLS 1.2 (RFC 5246 §5).
	hash crypto.Hash
}

// isCBC reports whether records are protected by AES-CBC and HMAC, so that
// encrypt-then-MAC (RFC 7366 §2) may be negotiated.
func (s *cipherSuite) isCBC() bool { return s.mac != 0 }

// cipherSuites are the suites of TLS 1.2: forward secrecy before RSA key
// exchange, elliptic curves before finite fields, AEADs before CBC, and the wider
// hash and key first.
var cipherSuites = [...]cipherSuite{
	// RFC 5289, RFC 7905
	{id: 0xC02C, kx: kxECDHE, ecdsa: true, keyLen: 32, ivLen: 4, hash: crypto.SHA384},                // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	{id: 0xC030, kx: kxECDHE, keyLen: 32, ivLen: 4, hash: crypto.SHA384},                             // TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
	{id: 0xC02B, kx: kxECDHE, ecdsa: true, keyLen: 16, ivLen: 4, hash: crypto.SHA256},                // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	{id: 0xC02F, kx: kxECDHE, keyLen: 16, ivLen: 4, hash: crypto.SHA256},                             // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	{id: 0xCCA9, kx: kxECDHE, ecdsa: true, keyLen: 32, ivLen: 12, chacha: true, hash: crypto.SHA256}, // TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	{id: 0xCCA8, kx: kxECDHE, keyLen: 32, ivLen: 12, chacha: true, hash: crypto.SHA256},              // TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
	// RFC 5288
	{id: 0x009F, kx: kxDHE, keyLen: 32, ivLen: 4, hash: crypto.SHA384}, // TLS_DHE_RSA_WITH_AES_256_GCM_SHA384
	{id: 0x009E, kx: kxDHE, keyLen: 16, ivLen: 4, hash: crypto.SHA256}, // TLS_DHE_RSA_WITH_AES_128_GCM_SHA256
	// RFC 5289, RFC 8422
	{id: 0xC028, kx: kxECDHE, macLen: 48, keyLen: 32, mac: crypto.SHA384, hash: crypto.SHA384},            // TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384
	{id: 0xC027, kx: kxECDHE, macLen: 32, keyLen: 16, mac: crypto.SHA256, hash: crypto.SHA256},            // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
	{id: 0xC00A, kx: kxECDHE, ecdsa: true, macLen: 20, keyLen: 32, mac: crypto.SHA1, hash: crypto.SHA256}, // TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA
	{id: 0xC014, kx: kxECDHE, macLen: 20, keyLen: 32, mac: crypto.SHA1, hash: crypto.SHA256},              // TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA
	{id: 0xC009, kx: kxECDHE, ecdsa: true, macLen: 20, keyLen: 16, mac: crypto.SHA1, hash: crypto.SHA256}, // TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
	{id: 0xC013, kx: kxECDHE, macLen: 20, keyLen: 16, mac: crypto.SHA1, hash: crypto.SHA256},              // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
	// RFC 5246
	{id: 0x006B, kx: kxDHE, macLen: 32, keyLen: 32, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_DHE_RSA_WITH_AES_256_CBC_SHA256
	{id: 0x0067, kx: kxDHE, macLen: 32, keyLen: 16, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_DHE_RSA_WITH_AES_128_CBC_SHA256
	{id: 0x0039, kx: kxDHE, macLen: 20, keyLen: 32, mac: crypto.SHA1, hash: crypto.SHA256},   // TLS_DHE_RSA_WITH_AES_256_CBC_SHA
	{id: 0x0033, kx: kxDHE, macLen: 20, keyLen: 16, mac: crypto.SHA1, hash: crypto.SHA256},   // TLS_DHE_RSA_WITH_AES_128_CBC_SHA
	// RFC 5288
	{id: 0x009D, kx: kxRSA, keyLen: 32, ivLen: 4, hash: crypto.SHA384}, // TLS_RSA_WITH_AES_256_GCM_SHA384
	{id: 0x009C, kx: kxRSA, keyLen: 16, ivLen: 4, hash: crypto.SHA256}, // TLS_RSA_WITH_AES_128_GCM_SHA256
	// RFC 5246
	{id: 0x003D, kx: kxRSA, macLen: 32, keyLen: 32, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_RSA_WITH_AES_256_CBC_SHA256
	{id: 0x003C, kx: kxRSA, macLen: 32, keyLen: 16, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_RSA_WITH_AES_128_CBC_SHA256
	{id: 0x0035, kx: kxRSA, macLen: 20, keyLen: 32, mac: crypto.SHA1, hash: crypto.SHA256},   // TLS_RSA_WITH_AES_256_CBC_SHA
	{id: 0x002F, kx: kxRSA, macLen: 20, keyLen: 16, mac: crypto.SHA1, hash: crypto.SHA256},   // TLS_RSA_WITH_AES_128_CBC_SHA
}

// suiteByID returns the suite of that identifier, nil when this package does
// not serve it.
func suiteByID(id uint16) *cipherSuite {
	for i := range cipherSuites {
		if cipherSuites[i].id == id {
			return &cipherSuites[i]
		}
	}
	return nil
}

// Serves says whether this package has a suite of a version, TLS 1.2 or TLS 1.3.
func Serves(version, suite uint16) bool {
	if version == tls.VersionTLS13 {
		return suite13ByID(suite) != nil
	}
	return suiteByID(suite) != nil
}

// CipherSuites returns the identifiers of the TLS 1.2 suites that this package
// serves, in its own order of preference: forward secrecy before RSA key
// exchange, AEADs before CBC.
func CipherSuites() []uint16 {
	var ids []uint16
	for _, s := range cipherSuites {
		ids = append(ids, s.id)
	}
	return ids
}
