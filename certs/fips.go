package certs

import (
	"crypto"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
)

// minFIPSKey is how many bytes a key of a MAC has at least: 112 bits (SP 800-131A
// section 10). Go's module, where it is told to do nothing else, panics at less.
const minFIPSKey = 112 / 8

// minFIPSSalt is that of PBKDF2's salt: 128 bits (SP 800-132 section 5.1).
const minFIPSSalt = 128 / 8

// approvedKey says why FIPS 140-3 does not approve of signing with a key. The
// curves that a certificate can have it approves, all of them.
func approvedKey(key crypto.Signer) error {
	k, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil
	}
	why := ""
	switch bits := k.N.BitLen(); {
	case k.E <= 1<<16:
		why = fmt.Sprintf("its public exponent is %d, and 65537 is the least", k.E)
	case len(k.Primes) != 2:
		why = fmt.Sprintf("it has %d primes", len(k.Primes))
	case k.Primes[0].BitLen() != k.Primes[1].BitLen():
		why = "its primes differ in length"
	case bits%2 == 1:
		why = fmt.Sprintf("it has %d bits, which is an odd number", bits)
	default:
		return nil
	}
	return fmt.Errorf("FIPS 140-3 does not approve the RSA key: %s (FIPS 186-5 section 5.1)", why)
}

// approvedEncryption says why FIPS 140-3 does not approve of what a key is
// encrypted with. What is malformed or unknown is for [openKey] to tell.
func approvedEncryption(b *pem.Block) error {
	const remedy = "encrypt it with AES, under PBKDF2 with SHA-2 and a salt of 128 bits"
	if b.Type != "ENCRYPTED PRIVATE KEY" {
		return fmt.Errorf("FIPS 140-3 does not approve the key's encryption, whose own key comes from MD5 (RFC 1423): %s", remedy)
	}
	_, parameters, err := parsePBES2(b.Bytes)
	if err != nil {
		return nil
	}
	why := ""
	var p pbkdf2Parameters
	switch {
	case parameters.Cipher.Algorithm.Equal(oidTripleDES):
		why = "triple DES"
	case parameters.KDF.Algorithm.Equal(oidScrypt):
		why = "scrypt"
	case !parameters.KDF.Algorithm.Equal(oidPBKDF2), unmarshal(parameters.KDF.Parameters.FullBytes, &p) != nil:
		return nil
	case len(p.PRF.Algorithm) == 0, p.PRF.Algorithm.Equal(oidHMACSHA1):
		why = "PBKDF2 with SHA-1"
	case len(p.Salt) < minFIPSSalt:
		why = fmt.Sprintf("PBKDF2 with a salt of %d bits (SP 800-132 section 5.1)", 8*len(p.Salt))
	default:
		return nil
	}
	return fmt.Errorf("FIPS 140-3 does not approve the key's encryption, %s: %s", why, remedy)
}

// errFIPSBundle refuses PKCS #12 whatever is in it: nearly every bundle has a MAC
// whose key is derived by RFC 7292 appendix B, which no standard of NIST's has.
var errFIPSBundle = errors.New("FIPS 140-3 does not approve PKCS #12, for its key derivation (RFC 7292 appendix B): use certificate and key")

// approvedMAC says why FIPS 140-3 does not approve of a key of HMAC.
func approvedMAC(key []byte) error {
	if len(key) < minFIPSKey {
		return fmt.Errorf("FIPS 140-3 does not approve a key of %d bits, and 112 are the least", 8*len(key))
	}
	return nil
}
