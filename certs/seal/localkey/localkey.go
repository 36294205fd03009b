// Package localkey is for those who have neither a KMS nor Vault: key encryption
// keys that are in a file, or derived from a passphrase. They protect a storage
// that is copied, backed up or kept elsewhere, and not from whoever can read the
// key as well: while the gateway runs, the key is in its memory.
package localkey

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/suitegate/suitegate/certs/seal"
)

const (
	keySize  = 32 // AES-256
	saltSize = 16

	// MinPassphrase is the length of the shortest passphrase, in bytes: what it is
	// worth is what it takes to guess it, by whoever has a copy of the storage.
	MinPassphrase = 16
)

// iterations are what OWASP asks of PBKDF2 with HMAC-SHA-256 (2023). Tests have
// less.
var iterations = 600_000

// Forms of wrapped data keys, by their first byte.
const (
	wrappedByFile       = 1
	wrappedByPassphrase = 2 // and a salt behind it
)

// Key is a local [seal.Key]. It makes no connection.
type Key struct {
	id   string
	form byte
	file *[keySize]byte // of wrappedByFile

	passphrase []byte

	mu   sync.Mutex
	salt []byte                         // that new data keys are wrapped with
	keys map[[saltSize]byte]cipher.AEAD // of wrappedByPassphrase
}

var _ seal.Key = (*Key)(nil)

// File makes a key of what a file holds: 32 random bytes in base64, as `openssl
// rand -base64 32` prints them. It takes the text over.
func File(text []byte) (*Key, error) {
	defer clear(text)
	text = bytes.TrimSpace(text)
	key := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(key, text)
	if err != nil || n != keySize {
		clear(key)
		return nil, fmt.Errorf("want %d random bytes in base64, as openssl rand -base64 %[1]d prints them", keySize) // nothing of what it is
	}
	id, err := fingerprint(key[:keySize])
	if err != nil {
		return nil, err
	}
	return &Key{id: "file:" + id, form: wrappedByFile, file: (*[keySize]byte)(key)}, nil
}

// Passphrase makes a key from a passphrase (PBKDF2, RFC 8018 section 5.2). It
// takes the text over. It takes a part of a second, as the first use does.
func Passphrase(text []byte) (*Key, error) {
	if len(text) < MinPassphrase {
		return nil, fmt.Errorf("shorter than %d bytes", MinPassphrase)
	}
	// Not what opens anything, and as dear to guess by.
	named, err := pbkdf2.Key(sha256.New, string(text), []byte("suitegate passphrase fingerprint"), iterations, keySize)
	if err != nil {
		return nil, err
	}
	id, err := fingerprint(named)
	if err != nil {
		return nil, err
	}
	return &Key{id: "passphrase:" + id, form: wrappedByPassphrase, passphrase: text, keys: make(map[[saltSize]byte]cipher.AEAD)}, nil
}

// fingerprint names a key without saying anything of it.
func fingerprint(key []byte) (string, error) {
	id, err := hkdf.Key(sha256.New, key, nil, "suitegate key fingerprint", 8)
	return hex.EncodeToString(id), err
}

// ID implements [seal.Key]: "file:" or "passphrase:", and a fingerprint.
func (k *Key) ID() string { return k.id }

// GenerateDataKey implements [seal.Key].
func (k *Key) GenerateDataKey(_ context.Context, ec seal.Context) (plain, wrapped []byte, err error) {
	aead, head, err := k.newest()
	if err != nil {
		return nil, nil, err
	}
	additional, err := json.Marshal(ec)
	if err != nil {
		return nil, nil, err
	}
	plain = make([]byte, seal.DataKeySize)
	rand.Read(plain) // never fails
	return plain, append(head, aead.Seal(nil, nil, plain, additional)...), nil
}

// Decrypt implements [seal.Key].
func (k *Key) Decrypt(_ context.Context, wrapped []byte, ec seal.Context) ([]byte, error) {
	aead, sealed, err := k.of(wrapped)
	if err != nil {
		return nil, k.invalid(err)
	}
	additional, err := json.Marshal(ec) // the names in their order
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed, additional)
	if err != nil {
		return nil, k.invalid(errors.New("the wrapped data key is not this key's, or damaged, or of another encryption context"))
	}
	return plain, nil
}

func (k *Key) invalid(err error) error {
	return &seal.KeyError{Cause: seal.KeyInvalidValue, Key: k.id, Err: err}
}

// newest is what wraps new data keys, and what they begin with.
func (k *Key) newest() (aead cipher.AEAD, head []byte, err error) {
	if k.form == wrappedByFile {
		aead, err = newAEAD(k.file[:])
		return aead, []byte{wrappedByFile}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.salt == nil { // nothing has been opened that has one
		k.salt = make([]byte, saltSize)
		rand.Read(k.salt)
	}
	aead, err = k.derived(k.salt)
	return aead, append([]byte{wrappedByPassphrase}, k.salt...), err
}

// of is what opens a wrapped data key, and the part of it to open.
func (k *Key) of(wrapped []byte) (cipher.AEAD, []byte, error) {
	if len(wrapped) == 0 || wrapped[0] != k.form {
		return nil, nil, errors.New("the wrapped data key is of another form")
	}
	wrapped = wrapped[1:]
	if k.form == wrappedByFile {
		aead, err := newAEAD(k.file[:])
		return aead, wrapped, err
	}
	if len(wrapped) < saltSize {
		return nil, nil, errors.New("the wrapped data key is cut short")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	salt, sealed := wrapped[:saltSize], wrapped[saltSize:]
	aead, err := k.derived(salt)
	return aead, sealed, err
}

// maxSalts bounds the keys that are derived at whoever's pleasure can write to
// the storage: a storage has one.
const maxSalts = 8

// derived is the key of a salt. The first of them, which is that of the storage's
// mark, goes on being used. The caller holds mu.
func (k *Key) derived(salt []byte) (cipher.AEAD, error) {
	if aead := k.keys[[saltSize]byte(salt)]; aead != nil {
		return aead, nil
	}
	if len(k.keys) >= maxSalts {
		return nil, errors.New("too many salts in one storage")
	}
	key, err := pbkdf2.Key(sha256.New, string(k.passphrase), salt, iterations, keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	k.keys[[saltSize]byte(salt)] = aead
	if k.salt == nil {
		k.salt = bytes.Clone(salt)
	}
	return aead, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
