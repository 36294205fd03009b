package tlsconn

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"

	"golang.org/x/crypto/chacha20poly1305"
)

// A suite13 says what a cipher suite of TLS 1.3 stands for (RFC 8446 appendix
// B.4): the cipher of records, and the hash of everything else.
type suite13 struct {
	id     uint16
	hash   crypto.Hash
	keyLen int // in bytes
}

// suites13 are the suites of TLS 1.3, in the order of [CipherSuites13].
var suites13 = [...]suite13{
	{tls.TLS_AES_256_GCM_SHA384, crypto.SHA384, 32},
	{tls.TLS_AES_128_GCM_SHA256, crypto.SHA256, 16},
	{tls.TLS_CHACHA20_POLY1305_SHA256, crypto.SHA256, chacha20poly1305.KeySize},
}

// suite13ByID returns the suite of that identifier, nil if there is none.
func suite13ByID(id uint16) *suite13 {
	for i := range suites13 {
		if suites13[i].id == id {
			return &suites13[i]
		}
	}
	return nil
}

// CipherSuites13 returns the identifiers of the TLS 1.3 suites that this package
// serves, in its own order of preference.
func CipherSuites13() []uint16 {
	var ids []uint16
	for _, s := range suites13 {
		ids = append(ids, s.id)
	}
	return ids
}

const (
	nonceLen13 = 12
	tagLen13   = 16 // of each of the suites

	// maxCiphertext13 is the longest that a protected fragment may be (RFC 8446
	// §5.2), in bytes.
	maxCiphertext13 = maxPlaintext + 256

	// maxRecords13 is how many records are sealed with one key, of the 2^24.5 of
	// full size after which AES-GCM is no longer known to be safe (RFC 8446
	// §5.5).
	maxRecords13 = 1 << 24
)

// An aead13 protects the records of one direction in TLS 1.3 (RFC 8446 §5.2),
// under one traffic secret.
type aead13 struct {
	suite  *suite13
	secret []byte // of which the next one comes (§7.2)
	aead   cipher.AEAD
	iv     [nonceLen13]byte
	nonce  [nonceLen13]byte // here, for arguments of interface methods escape
}

// newAEAD13 returns the protection under a traffic secret (RFC 8446 §7.3).
func newAEAD13(d *deriver, suite *suite13, secret []byte) *aead13 {
	a := &aead13{suite: suite, secret: secret}
	key := d.expand(secret, "key", nil, suite.keyLen)
	copy(a.iv[:], d.expand(secret, "iv", nil, nonceLen13))
	var err error
	if suite.id == tls.TLS_CHACHA20_POLY1305_SHA256 {
		a.aead, err = chacha20poly1305.New(key)
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			a.aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		panic("tlsconn: " + err.Error()) // the suite gives the lengths
	}
	clear(key)
	return a
}

// next returns the protection after a KeyUpdate (RFC 8446 §7.2).
func (a *aead13) next() *aead13 {
	d := newDeriver(a.suite.hash)
	return newAEAD13(d, a.suite, d.derive(a.secret, "traffic upd", nil))
}

// overhead is a content type and a tag: nothing is padded.
func (a *aead13) overhead() int { return 1 + tagLen13 }

// prepare sets the nonce (RFC 8446 §5.3), and returns the additional data of a
// fragment of n bytes, which is the record's header (§5.2).
func (a *aead13) prepare(header *macHeader, n int) (additional []byte) {
	header.maskNonce(&a.nonce, &a.iv)
	header.setLength(n)
	return header[8:]
}

// open implements recordOpener. It leaves the content type, which stands behind
// the content and before the padding, where the header has its own.
func (a *aead13) open(dst []byte, header *macHeader, fragment []byte) ([]byte, error) {
	additional := a.prepare(header, len(fragment))
	inner, err := a.aead.Open(place(dst, fragment), a.nonce[:], fragment, additional)
	if err != nil {
		return nil, alertBadRecordMAC
	}
	if len(inner) > maxPlaintext+1 {
		return nil, alertRecordOverflow
	}
	n := len(inner) - 1
	for n >= 0 && inner[n] == 0 {
		n--
	}
	if n < 0 {
		return nil, alertUnexpectedMessage // RFC 8446 §5.4
	}
	header.setContentType(inner[n])
	return inner[:n], nil
}

// seal implements recordSealer. The header's content type goes behind the
// content.
func (a *aead13) seal(dst []byte, header *macHeader, payload []byte) []byte {
	start := len(dst)
	dst = append(dst, payload...)
	dst = append(dst, header.contentType())
	header.setContentType(recordApplicationData)
	additional := a.prepare(header, len(payload)+a.overhead())
	return a.aead.Seal(dst[:start], a.nonce[:], dst[start:], additional)
}
