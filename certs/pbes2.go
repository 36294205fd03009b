package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/scrypt"
)

// Neither crypto/x509 nor golang.org/x/crypto reads encrypted PKCS #8. What
// other modules there are trust the lengths and counts of the file, or lack
// the hash functions that OpenSSL offers and the key length that Java writes.

// What a key derivation may cost, so that a damaged file does not keep the
// gateway busy for hours: seconds, and a quarter of a gigabyte. OpenSSL takes
// 2048 iterations and 16 MiB by default.
const (
	maxIterations   = 3_000_000
	maxScryptMemory = 256 << 20 // bytes
	maxScryptLanes  = 16
)

// encryptedKey is an EncryptedPrivateKeyInfo (RFC 5958 section 3).
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// pbes2Parameters are those of RFC 8018 appendix A.4.
type pbes2Parameters struct {
	KDF, Cipher pkix.AlgorithmIdentifier
}

// pbkdf2Parameters are those of RFC 8018 appendix A.2, with a salt in place.
type pbkdf2Parameters struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// scryptParameters are those of RFC 7914 section 7.1.
type scryptParameters struct {
	Salt                   []byte
	Cost, BlockSize, Lanes int
	KeyLength              int `asn1:"optional"`
}

// errWrongPassword is the error for a password that does not decrypt a key.
// What is damaged looks the same.
var errWrongPassword = errors.New("wrong password")

var errMalformedEncryption = errors.New("malformed encryption of the key")

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}

	oidHMACSHA1  = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidTripleDES = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
)

// pbes2PRFs are the pseudorandom functions of PBKDF2, by identifier (RFC 8018
// appendix B.1).
var pbes2PRFs = map[string]func() hash.Hash{
	"":                    sha1.New, // the default
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
	"1.2.840.113549.2.12": sha512.New512_224,
	"1.2.840.113549.2.13": sha512.New512_256,
}

// pbes2Ciphers are the ciphers, all in CBC mode, by identifier (RFC 8018
// appendix B.2).
var pbes2Ciphers = map[string]struct {
	keyLength int // bytes
	newBlock  func(key []byte) (cipher.Block, error)
}{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

// decryptPKCS8 returns the PKCS #8 key, DER, in an encrypted one. Its error is
// errWrongPassword, or says what is malformed or not supported.
func decryptPKCS8(der, password []byte) ([]byte, error) {
	encrypted, parameters, err := parsePBES2(der)
	if err != nil {
		return nil, err
	}
	scheme, ok := pbes2Ciphers[parameters.Cipher.Algorithm.String()]
	if !ok {
		return nil, fmt.Errorf("cipher %v is not supported (AES and triple DES in CBC mode are)", parameters.Cipher.Algorithm)
	}
	var iv []byte
	if err := unmarshal(parameters.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	key, err := deriveKey(parameters.KDF, password, scheme.keyLength)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := scheme.newBlock(key)
	if err != nil {
		return nil, err
	}
	if n := block.BlockSize(); len(iv) != n || len(encrypted.Data) == 0 || len(encrypted.Data)%n != 0 {
		return nil, errMalformedEncryption
	}
	plain := make([]byte, len(encrypted.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, encrypted.Data)
	// RFC 8018 section 6.1.1. The caller's parser judges what is left.
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > block.BlockSize() {
		return nil, errWrongPassword
	}
	return plain[:len(plain)-padding], nil
}

func parsePBES2(der []byte) (encrypted encryptedKey, parameters pbes2Parameters, err error) {
	if err := unmarshal(der, &encrypted); err != nil {
		return encrypted, parameters, err
	}
	if !encrypted.Algorithm.Algorithm.Equal(oidPBES2) {
		return encrypted, parameters, fmt.Errorf("encryption %v is not supported (PBES2 is)", encrypted.Algorithm.Algorithm)
	}
	return encrypted, parameters, unmarshal(encrypted.Algorithm.Parameters.FullBytes, &parameters)
}

func deriveKey(kdf pkix.AlgorithmIdentifier, password []byte, length int) ([]byte, error) {
	switch {
	case kdf.Algorithm.Equal(oidPBKDF2):
		var p pbkdf2Parameters
		if err := unmarshal(kdf.Parameters.FullBytes, &p); err != nil {
			return nil, err
		}
		prf, ok := pbes2PRFs[p.PRF.Algorithm.String()]
		switch {
		case !ok:
			return nil, fmt.Errorf("PBKDF2 with %v is not supported (HMAC with SHA-1 and SHA-2 is)", p.PRF.Algorithm)
		case p.Iterations < 1 || p.Iterations > maxIterations || p.KeyLength != 0 && p.KeyLength != length:
			return nil, errMalformedEncryption
		}
		return pbkdf2.Key(prf, string(password), p.Salt, p.Iterations, length)
	case kdf.Algorithm.Equal(oidScrypt):
		var p scryptParameters
		if err := unmarshal(kdf.Parameters.FullBytes, &p); err != nil {
			return nil, err
		}
		if p.Cost < 2 || p.BlockSize < 1 || p.Cost > maxScryptMemory || p.BlockSize > maxScryptMemory/128/p.Cost ||
			p.Lanes < 1 || p.Lanes > maxScryptLanes || p.KeyLength != 0 && p.KeyLength != length {
			return nil, errMalformedEncryption
		}
		key, err := scrypt.Key(password, p.Salt, p.Cost, p.BlockSize, p.Lanes, length)
		if err != nil {
			return nil, errMalformedEncryption // the cost is no power of two
		}
		return key, nil
	}
	return nil, fmt.Errorf("key derivation %v is not supported (PBKDF2 and scrypt are)", kdf.Algorithm)
}

// unmarshal reads one DER value that fills der.
func unmarshal(der []byte, value any) error {
	if rest, err := asn1.Unmarshal(der, value); err != nil || len(rest) > 0 {
		return errMalformedEncryption
	}
	return nil
}
