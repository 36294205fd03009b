package tls12

import "crypto"

// keyExchange is how a cipher suite agrees on the premaster secret.
type keyExchange uint8

const (
	kxDHE   keyExchange = iota + 1 // ephemeral Diffie-Hellman over RFC 7919 groups, signed with RSA
	kxECDHE                        // ephemeral elliptic-curve Diffie-Hellman (RFC 8422), signed with RSA
	kxRSA                          // premaster secret encrypted to the certificate's RSA key (RFC 5246 §7.4.7.1)
)

// A cipherSuite says what its identifier stands for (RFC 5246 Appendix C).
type cipherSuite struct {
	id uint16
	kx keyExchange

	// The lengths in bytes of each direction's share of the key block
	// (RFC 5246 §6.3). CBC suites have no IV there since TLS 1.1, AES-GCM no
	// MAC key.
	macLen, keyLen, ivLen int

	// mac is the hash of the record's HMAC; zero says AES-GCM.
	mac crypto.Hash
	// hash serves the PRF and the transcript: SHA-256 where the suite does
	// not name SHA-384, also in the suites older than TLS 1.2 (RFC 5246 §5).
	hash crypto.Hash
}

// isCBC reports whether records are protected by AES-CBC and HMAC, so that
// encrypt-then-MAC (RFC 7366 §2) may be negotiated.
func (s *cipherSuite) isCBC() bool { return s.mac != 0 }

// cipherSuites returns the suites of this package: forward secrecy before RSA
// key exchange, AES-GCM before CBC, and the wider hash and key first.
func cipherSuites() [10]cipherSuite {
	return [10]cipherSuite{
		// RFC 5288
		{id: 0x009F, kx: kxDHE, keyLen: 32, ivLen: 4, hash: crypto.SHA384}, // TLS_DHE_RSA_WITH_AES_256_GCM_SHA384
		{id: 0x009E, kx: kxDHE, keyLen: 16, ivLen: 4, hash: crypto.SHA256}, // TLS_DHE_RSA_WITH_AES_128_GCM_SHA256
		// RFC 5289
		{id: 0xC028, kx: kxECDHE, macLen: 48, keyLen: 32, mac: crypto.SHA384, hash: crypto.SHA384}, // TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384
		{id: 0xC027, kx: kxECDHE, macLen: 32, keyLen: 16, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
		// RFC 5246
		{id: 0x006B, kx: kxDHE, macLen: 32, keyLen: 32, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_DHE_RSA_WITH_AES_256_CBC_SHA256
		{id: 0x0067, kx: kxDHE, macLen: 32, keyLen: 16, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_DHE_RSA_WITH_AES_128_CBC_SHA256
		{id: 0x0039, kx: kxDHE, macLen: 20, keyLen: 32, mac: crypto.SHA1, hash: crypto.SHA256},   // TLS_DHE_RSA_WITH_AES_256_CBC_SHA
		{id: 0x0033, kx: kxDHE, macLen: 20, keyLen: 16, mac: crypto.SHA1, hash: crypto.SHA256},   // TLS_DHE_RSA_WITH_AES_128_CBC_SHA
		{id: 0x003D, kx: kxRSA, macLen: 32, keyLen: 32, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_RSA_WITH_AES_256_CBC_SHA256
		{id: 0x003C, kx: kxRSA, macLen: 32, keyLen: 16, mac: crypto.SHA256, hash: crypto.SHA256}, // TLS_RSA_WITH_AES_128_CBC_SHA256
	}
}

// suiteByID returns the suite of that identifier, nil when this package does
// not serve it.
func suiteByID(id uint16) *cipherSuite {
	for _, s := range cipherSuites() {
		if s.id == id {
			return &s
		}
	}
	return nil
}

// CipherSuites returns the identifiers of the suites that this package
// serves, in its own order of preference: forward secrecy before RSA key
// exchange, AES-GCM before CBC.
func CipherSuites() []uint16 {
	var ids []uint16
	for _, s := range cipherSuites() {
		ids = append(ids, s.id)
	}
	return ids
}
