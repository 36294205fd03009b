package tlsconn

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	recordHeaderLen = 5
	// maxPlaintext is the most that one record carries (RFC 5246 §6.2.1), and
	// maxCiphertext the longest that a protected fragment may be (§6.2.3), in
	// bytes.
	maxPlaintext  = 1 << 14
	maxCiphertext = maxPlaintext + 2048

	recordVersion = 0x0303
)

// A halfConn protects the records of one direction of a connection. Its zero
// value passes records through unprotected, as they are until
// ChangeCipherSpec. It is not safe for concurrent use.
type halfConn struct {
	protected bool         // since ChangeCipherSpec, or TLS 1.3's keys
	typed     bool         // the content type is protected, too: TLS 1.3
	opener    recordOpener // where protected and reading
	sealer    recordSealer // where protected and writing
	seq       uint64
	header    macHeader // here, for arguments of interface methods escape
}

// macHeader is what a record's MAC covers besides its content, and AES-GCM's
// additional data: sequence number, type, version and a length (RFC 5246
// §6.2.3.1, §6.2.3.3).
type macHeader [13]byte

func (h *macHeader) setLength(n int) {
	h[11], h[12] = byte(n>>8), byte(n)
}

// maskNonce sets a nonce to the IV and the sequence number (RFC 7905 §2, RFC 8446
// §5.3).
func (h *macHeader) maskNonce(nonce, iv *[nonceLen13]byte) {
	const at = nonceLen13 - 8
	*nonce = *iv
	for i, b := range h[:8] {
		nonce[at+i] ^= b
	}
}

func (h *macHeader) contentType() uint8       { return h[8] }
func (h *macHeader) setContentType(typ uint8) { h[8] = typ }

// recordOpener decrypts and authenticates the fragments of one direction.
type recordOpener interface {
	// open returns the plaintext. It is in dst, where the cipher does not need to
	// work in place and dst is as long as the fragment, or a part of the fragment.
	// The header lacks its length. Errors are alerts.
	open(dst []byte, header *macHeader, fragment []byte) ([]byte, error)
}

// recordSealer protects the fragments of one direction.
type recordSealer interface {
	// seal appends the protected payload to dst. The header lacks its length.
	seal(dst []byte, header *macHeader, payload []byte) []byte
	// overhead is by how many bytes, at most, that is longer than the payload.
	overhead() int
}

// setCipher protects all further records with the suite and one direction's
// keys, as ChangeCipherSpec demands, and restarts the sequence numbers. write
// says that the direction seals; the other one opens. encryptThenMAC matters
// to CBC suites only. The key lengths must be those of the suite.
func (hc *halfConn) setCipher(suite *cipherSuite, encryptThenMAC bool, macKey, key, iv []byte, write bool) {
	if suite.chacha {
		*hc = halfConn{protected: true}
		if write {
			hc.sealer = newChaCha(key, iv)
		} else {
			hc.opener = newChaCha(key, iv)
		}
		return
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("tlsconn: " + err.Error()) // the suite gives the length
	}
	*hc = halfConn{protected: true}
	switch {
	case !suite.isCBC() && write:
		hc.sealer = newGCM(block, iv)
	case !suite.isCBC():
		hc.opener = newGCM(block, iv)
	case write:
		hc.sealer = newCBCSealer(block, suite.mac, macKey, encryptThenMAC)
	case encryptThenMAC:
		hc.opener = newCBCOpener(block, suite.mac, macKey)
	default:
		hc.opener = newCBCPaddedOpener(block, suite.mac, macKey)
	}
}

// setTraffic13 protects all further records under a traffic secret of TLS 1.3,
// and restarts the sequence numbers (RFC 8446 §5.3). write says that the direction
// seals.
func (hc *halfConn) setTraffic13(a *aead13, write bool) {
	*hc = halfConn{protected: true, typed: true}
	if write {
		hc.sealer = a
	} else {
		hc.opener = a
	}
}

// open decrypts and authenticates the fragment of a record in place. The
// plaintext shares the fragment's memory and may be empty; it is for the
// caller to bound the number of empty records. After an error, an alert, the
// connection must end.
func (hc *halfConn) open(typ uint8, version uint16, fragment []byte) (plaintext []byte, err error) {
	return hc.openInto(nil, typ, version, fragment)
}

// openInto is open, but that the plaintext is at the beginning of dst, if it was
// protected, dst is long enough for the fragment, and the cipher can do that. The
// two must not overlap.
func (hc *halfConn) openInto(dst []byte, typ uint8, version uint16, fragment []byte) (plaintext []byte, err error) {
	if !hc.protected {
		if len(fragment) > maxPlaintext {
			return nil, alertRecordOverflow
		}
		return fragment, nil
	}
	if len(fragment) > maxCiphertext {
		return nil, alertRecordOverflow
	}
	if hc.seq == math.MaxUint64 {
		return nil, alertInternalError
	}
	plaintext, err = hc.opener.open(dst, hc.nextHeader(typ, version), fragment)
	if err != nil {
		return nil, err
	}
	if len(plaintext) > maxPlaintext {
		return nil, alertRecordOverflow
	}
	return plaintext, nil
}

// place is where a fragment is opened that needs no place of its own: dst, or else
// where it is.
func place(dst, fragment []byte) []byte {
	if len(dst) < len(fragment) {
		return fragment[:0]
	}
	return dst[:0:len(dst)]
}

// seal appends one record with its header to dst, without allocating where
// dst has maxSealed(len(payload)) bytes of spare capacity. The payload is at
// most maxPlaintext bytes long and must not overlap what is appended.
//
// It panics when the sequence number would wrap, which RFC 5246 §6.1 forbids
// and which takes longer than half a million years at a record per
// microsecond.
func (hc *halfConn) seal(dst []byte, typ uint8, payload []byte) []byte {
	dst = slices.Grow(dst, hc.maxSealed(len(payload)))
	start := len(dst)
	dst = append(dst, typ, recordVersion>>8, recordVersion&0xff, 0, 0)
	if !hc.protected {
		dst = append(dst, payload...)
	} else {
		if hc.seq == math.MaxUint64 {
			panic("tlsconn: record sequence number exhausted")
		}
		dst = hc.sealer.seal(dst, hc.nextHeader(typ, recordVersion), payload)
		if hc.typed {
			dst[start] = recordApplicationData // RFC 8446 §5.2
		}
	}
	binary.BigEndian.PutUint16(dst[start+3:], uint16(len(dst)-start-recordHeaderLen))
	return dst
}

// nextHeader returns the header of the next sequence number.
func (hc *halfConn) nextHeader(typ uint8, version uint16) *macHeader {
	binary.BigEndian.PutUint64(hc.header[:8], hc.seq)
	hc.header[8] = typ
	binary.BigEndian.PutUint16(hc.header[9:], version)
	hc.seq++
	return &hc.header
}

// overhead returns by how many bytes, at most, a sealed record is longer than
// its payload.
func (hc *halfConn) overhead() int {
	if !hc.protected {
		return recordHeaderLen
	}
	return recordHeaderLen + hc.sealer.overhead()
}

// maxSealed returns how many bytes, at most, n bytes of payload take when they
// are sealed in as few records as can be; no payload takes one record.
func (hc *halfConn) maxSealed(n int) int {
	records := max(1, (n+maxPlaintext-1)/maxPlaintext)
	return n + records*hc.overhead()
}

const (
	gcmFixedIVLen       = 4 // RFC 5288 §3: the salt
	gcmExplicitNonceLen = 8
	gcmTagLen           = 16
)

// gcm is AES-GCM (RFC 5288).
type gcm struct {
	aead cipher.AEAD
	// nonce is the fixed IV and, behind it, the record's explicit part. It
	// and the header live on the heap, for arguments of interface methods
	// escape and would be allocated for each record.
	nonce [gcmFixedIVLen + gcmExplicitNonceLen]byte
}

func newGCM(block cipher.Block, iv []byte) *gcm {
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("tlsconn: " + err.Error()) // AES has the block size that GCM wants
	}
	g := &gcm{aead: aead}
	copy(g.nonce[:gcmFixedIVLen], iv)
	return g
}

func (g *gcm) overhead() int { return gcmExplicitNonceLen + gcmTagLen }

func (g *gcm) open(dst []byte, header *macHeader, fragment []byte) ([]byte, error) {
	if len(fragment) < g.overhead() {
		return nil, alertBadRecordMAC
	}
	copy(g.nonce[gcmFixedIVLen:], fragment)
	sealed := fragment[gcmExplicitNonceLen:]
	header.setLength(len(sealed) - gcmTagLen)
	plaintext, err := g.aead.Open(place(dst, sealed), g.nonce[:], sealed, header[:])
	if err != nil {
		return nil, alertBadRecordMAC
	}
	return plaintext, nil
}

// seal takes the sequence number as the explicit part of the nonce, as RFC
// 5288 §3 suggests: it never repeats, which eight random bytes would not
// promise.
func (g *gcm) seal(dst []byte, header *macHeader, payload []byte) []byte {
	header.setLength(len(payload))
	explicit := header[:gcmExplicitNonceLen]
	copy(g.nonce[gcmFixedIVLen:], explicit)
	dst = append(dst, explicit...)
	return g.aead.Seal(dst, g.nonce[:], payload, header[:])
}

// chaCha is ChaCha20-Poly1305 (RFC 7905), whose nonce nothing on the wire tells.
type chaCha struct {
	aead  cipher.AEAD
	iv    [nonceLen13]byte
	nonce [nonceLen13]byte // on the heap, as in gcm
}

func newChaCha(key, iv []byte) *chaCha {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic("tlsconn: " + err.Error()) // the suite gives the length
	}
	return &chaCha{aead: aead, iv: [nonceLen13]byte(iv)}
}

func (c *chaCha) overhead() int { return c.aead.Overhead() }

func (c *chaCha) open(dst []byte, header *macHeader, fragment []byte) ([]byte, error) {
	if len(fragment) < c.overhead() {
		return nil, alertBadRecordMAC
	}
	header.setLength(len(fragment) - c.overhead())
	header.maskNonce(&c.nonce, &c.iv)
	plaintext, err := c.aead.Open(place(dst, fragment), c.nonce[:], fragment, header[:])
	if err != nil {
		return nil, alertBadRecordMAC
	}
	return plaintext, nil
}

func (c *chaCha) seal(dst []byte, header *macHeader, payload []byte) []byte {
	header.setLength(len(payload))
	header.maskNonce(&c.nonce, &c.iv)
	return c.aead.Seal(dst, c.nonce[:], payload, header[:])
}
