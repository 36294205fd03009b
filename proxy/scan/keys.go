package scan

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
)

// keyShare is our part of a key exchange (RFC 8446 §4.2.8). It serves for all
// handshakes of a scan: nothing that they protect is a secret.
type keyShare struct {
	group  policy.Group
	public []byte
	agree  func(peer []byte) (secret []byte, err error)
}

// unprotected does what FIPS 140-3 does not approve, where Go's module is told to
// do nothing else: who asks a server has to offer what it may refuse, and to read
// an answer that is no secret.
func unprotected[T any](f func() (T, error)) (result T, err error) {
	fips140.WithoutEnforcement(func() { result, err = f() })
	return result, err
}

// newShares makes one for each group that can be calculated here.
func newShares() ([]*keyShare, error) { return unprotected(makeShares) }

func makeShares() ([]*keyShare, error) {
	var shares []*keyShare
	for _, c := range []struct {
		group policy.Group
		curve ecdh.Curve
	}{{policy.X25519, ecdh.X25519()}, {policy.P256, ecdh.P256()}, {policy.P384, ecdh.P384()}, {policy.P521, ecdh.P521()}} {
		key, err := c.curve.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		agree := func(peer []byte) ([]byte, error) {
			public, err := unprotected(func() (*ecdh.PublicKey, error) { return c.curve.NewPublicKey(peer) })
			if err != nil {
				return nil, malformed("share in %s: %v", groupName(c.group), err)
			}
			secret, err := unprotected(func() ([]byte, error) { return key.ECDH(public) })
			if err != nil {
				return nil, malformed("share in %s: %v", groupName(c.group), err)
			}
			return secret, nil
		}
		shares = append(shares, &keyShare{c.group, key.PublicKey().Bytes(), agree})
	}
	hybrid, err := newHybrid(shares[0])
	if err != nil {
		return nil, err
	}
	return append(shares, hybrid), nil
}

// newHybrid makes that of X25519MLKEM768, where ML-KEM comes first
// (draft-ietf-tls-ecdhe-mlkem §4).
func newHybrid(x25519 *keyShare) (*keyShare, error) {
	key, err := mlkem.GenerateKey768()
	if err != nil {
		return nil, err
	}
	agree := func(peer []byte) ([]byte, error) {
		if len(peer) < mlkem.CiphertextSize768 {
			return nil, malformed("share in X25519MLKEM768 of %d bytes", len(peer))
		}
		first, err := key.Decapsulate(peer[:mlkem.CiphertextSize768])
		if err != nil {
			return nil, malformed("share in X25519MLKEM768: %v", err)
		}
		second, err := x25519.agree(peer[mlkem.CiphertextSize768:])
		return slices.Concat(first, second), err
	}
	return &keyShare{policy.X25519MLKEM768, slices.Concat(key.EncapsulationKey().Bytes(), x25519.public), agree}, nil
}

// cipher13 is what a TLS 1.3 suite stands for (RFC 8446 §B.4).
type cipher13 struct {
	hash   func() hash.Hash
	keyLen int
	aead   func(key []byte) (cipher.AEAD, error)
}

// ciphers13 are those that handshakes can be read with. AES-CCM is not among
// them, which no library of Go has.
var ciphers13 = map[uint16]cipher13{
	0x1301: {sha256.New, 16, newGCM},
	0x1302: {sha512.New384, 32, newGCM},
	0x1303: {sha256.New, chacha20poly1305.KeySize, chacha20poly1305.New},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// opener returns what opens the server's records between its hello and its
// Finished. transcript is everything up to that hello (RFC 8446 §7.1, §7.3).
func (c cipher13) opener(secret, transcript []byte) (func(header, sealed []byte) ([]byte, error), error) {
	size := c.hash().Size()
	early, err := hkdf.Extract(c.hash, make([]byte, size), nil)
	if err != nil {
		return nil, err
	}
	derived, err := c.expand(early, "derived", c.sum(nil), size)
	if err != nil {
		return nil, err
	}
	handshake, err := hkdf.Extract(c.hash, secret, derived)
	if err != nil {
		return nil, err
	}
	traffic, err := c.expand(handshake, "s hs traffic", c.sum(transcript), size)
	if err != nil {
		return nil, err
	}
	key, err := c.expand(traffic, "key", nil, c.keyLen)
	if err != nil {
		return nil, err
	}
	aead, err := unprotected(func() (cipher.AEAD, error) { return c.aead(key) })
	if err != nil {
		return nil, err
	}
	iv, err := c.expand(traffic, "iv", nil, aead.NonceSize())
	if err != nil {
		return nil, err
	}
	var sequence uint64
	return func(header, sealed []byte) ([]byte, error) {
		nonce := slices.Clone(iv) // RFC 8446 §5.3
		last := nonce[len(nonce)-8:]
		binary.BigEndian.PutUint64(last, binary.BigEndian.Uint64(last)^sequence)
		sequence++
		inner, err := aead.Open(nil, nonce, sealed, header)
		if err != nil {
			return nil, malformed("record that does not decrypt")
		}
		return inner, nil
	}, nil
}

func (c cipher13) sum(data []byte) []byte {
	h := c.hash()
	h.Write(data)
	return h.Sum(nil)
}

// expand is HKDF-Expand-Label (RFC 8446 §7.1).
func (c cipher13) expand(secret []byte, label string, context []byte, length int) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint16(uint16(length))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("tls13 " + label)) })
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(context) })
	info, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("label %s: %w", label, err)
	}
	return hkdf.Expand(c.hash, secret, string(info), length)
}
