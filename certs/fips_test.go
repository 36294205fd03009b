package certs

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/policy"
)

// mistakeIn is the only mistake of a source of files in FIPS 140-3 mode, and the
// field that it is in; "" if there is none.
func mistakeIn(t *testing.T, files Files) (field, reason string) {
	t.Helper()
	_, err := Check(Config{Sources: []Source{{Name: "x", Files: &files}}, FIPS: true})
	var mistake *SourceError
	if !errors.As(err, &mistake) {
		return "", ""
	}
	return mistake.Field, mistake.Err.Error()
}

func TestFIPSKeyFiles(t *testing.T) {
	p256 := newECDSA(elliptic.P256())
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		args []string // of openssl
		want string   // "" if the key is served
	}{
		{"not encrypted", p256, []string{"pkey"}, ""},
		{"SHA-1", p256, []string{"pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"}, "PBKDF2 with SHA-1"},
		{"triple DES", p256, []string{"pkcs8", "-topk8", "-v2", "des3"}, "triple DES"},
		{"scrypt", rsa2048(), []string{"pkcs8", "-topk8", "-scrypt"}, "scrypt"},
		{"traditional", rsa2048(), []string{"rsa", "-aes128", "-traditional"}, "from MD5 (RFC 1423)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := sourceOfFiles(t, "x", tt.key, "a.example")
			files := Files{Certificate: src.Files.Certificate, Key: write(t, "encrypted.key", "")}
			args := append(tt.args, "-in", src.Files.Key, "-out", files.Key)
			if tt.want != "" {
				args = append(args, "-passout", "env:"+secretVariable)
				files.Password.File = write(t, "password", secret)
			}
			openssl(t, args...)
			field, reason := mistakeIn(t, files)
			if tt.want == "" && reason == "" {
				return
			}
			if field != "files.key" || !strings.Contains(reason, "FIPS 140-3 does not approve the key's encryption, ") || !strings.Contains(reason, tt.want) {
				t.Errorf("%s: %s", field, reason)
			}
		})
	}
	t.Run("PKCS #12", func(t *testing.T) {
		bundle := filepath.Join(t.TempDir(), "bundle.p12")
		src := sourceOfFiles(t, "x", p256, "a.example")
		openssl(t, "pkcs12", "-export", "-in", src.Files.Certificate, "-inkey", src.Files.Key, "-passout", "env:"+secretVariable, "-out", bundle)
		field, reason := mistakeIn(t, Files{PKCS12: bundle, Password: Secret{File: write(t, "password", secret)}})
		if field != "files.pkcs12" || !strings.Contains(reason, "does not approve PKCS #12") {
			t.Errorf("%s: %s", field, reason)
		}
	})
}

// A key is approved that is encrypted as FIPS 140-3 wants it, and opens. With less
// salt, which the openssl of Debian 12 has, it opens only elsewhere.
func TestFIPSApprovedEncryption(t *testing.T) {
	src := sourceOfFiles(t, "x", newECDSA(elliptic.P256()), "a.example")
	for salt, want := range map[int]string{16: "", 8: "PBKDF2 with a salt of 64 bits"} {
		files := Files{Certificate: src.Files.Certificate, Key: write(t, "encrypted.key", ""), Password: Secret{File: write(t, "password", secret)}}
		encrypt(t, src.Files.Key, files.Key, salt)
		if field, reason := mistakeIn(t, files); (reason == "") != (want == "") || !strings.Contains(reason, want) {
			t.Errorf("%s: %s", field, reason)
		}
		served(t, files, policy.ECDSAP256)
	}
}

// encrypt encrypts a key in a file with AES-256, under PBKDF2 with SHA-256 and so
// many bytes of salt.
func encrypt(t *testing.T, from, to string, saltLength int) {
	t.Helper()
	key, _, err := readKey(from, password{}, true)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	salt, iv := make([]byte, saltLength), make([]byte, aes.BlockSize)
	derived, err := pbkdf2.Key(sha256.New, secret, salt, 2048, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		t.Fatal(err)
	}
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	sealed := append(plain, bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(sealed, sealed)
	marshal := func(value any) asn1.RawValue {
		der, err := asn1.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: der}
	}
	der := marshal(encryptedKey{Data: sealed, Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidPBES2, Parameters: marshal(pbes2Parameters{
		KDF: pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: marshal(pbkdf2Parameters{
			Salt: salt, Iterations: 2048, PRF: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}}})},
		Cipher: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, Parameters: marshal(iv)},
	})}})
	text := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der.FullBytes})
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestApprovedKey(t *testing.T) {
	ofPrimes := func(e int, bits ...int) *rsa.PrivateKey {
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{E: e, N: big.NewInt(1)}}
		for _, n := range bits {
			p, err := rand.Prime(rand.Reader, n)
			if err != nil {
				t.Fatal(err)
			}
			k.Primes = append(k.Primes, p)
			k.N.Mul(k.N, p)
		}
		return k
	}
	odd := ofPrimes(65537, 1024, 1024)
	odd.N = new(big.Int).Lsh(big.NewInt(1), 2048)
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		want string
	}{
		{"RSA", rsa2048(), ""},
		{"P-256", newECDSA(elliptic.P256()), ""},
		{"small exponent", ofPrimes(3, 512, 512), "its public exponent is 3, and 65537 is the least"},
		{"odd number of bits", odd, "it has 2049 bits, which is an odd number"},
		{"three primes", ofPrimes(65537, 512, 512, 512), "it has 3 primes"},
		{"unequal primes", ofPrimes(65537, 500, 524), "its primes differ in length"},
	} {
		err := approvedKey(tt.key)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestApprovedMAC(t *testing.T) {
	if approvedMAC(make([]byte, 14)) != nil || approvedMAC(make([]byte, 13)) == nil {
		t.Error(approvedMAC(make([]byte, 14)), approvedMAC(make([]byte, 13)))
	}
}
