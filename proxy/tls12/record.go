package tls12

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math"
	"slices"
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
	protected bool         // since ChangeCipherSpec
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

// recordOpener decrypts and authenticates the fragments of one direction.
type recordOpener interface {
	// open works in place and returns the part of the fragment that is the
	// plaintext. The header lacks its length. Errors are alerts.
	open(header *macHeader, fragment []byte) ([]byte, error)
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
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("tls12: " + err.Error()) // the suite gives the length
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

// open decrypts and authenticates the fragment of a record in place. The
// plaintext shares the fragment's memory and may be empty; it is for the
// caller to bound the number of empty records. After an error, an alert, the
// connection must end.
func (hc *halfConn) open(typ uint8, version uint16, fragment []byte) (plaintext []byte, err error) {
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
	plaintext, err = hc.opener.open(hc.nextHeader(typ, version), fragment)
	if err != nil {
		return nil, err
	}
	if len(plaintext) > maxPlaintext {
		return nil, alertRecordOverflow
	}
	return plaintext, nil
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
			panic("tls12: record sequence number exhausted")
		}
		dst = hc.sealer.seal(dst, hc.nextHeader(typ, recordVersion), payload)
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
		panic("tls12: " + err.Error()) // AES has the block size that GCM wants
	}
	g := &gcm{aead: aead}
	copy(g.nonce[:gcmFixedIVLen], iv)
	return g
}

func (g *gcm) overhead() int { return gcmExplicitNonceLen + gcmTagLen }

func (g *gcm) open(header *macHeader, fragment []byte) ([]byte, error) {
	if len(fragment) < g.overhead() {
		return nil, alertBadRecordMAC
	}
	copy(g.nonce[gcmFixedIVLen:], fragment)
	sealed := fragment[gcmExplicitNonceLen:]
	header.setLength(len(sealed) - gcmTagLen)
	plaintext, err := g.aead.Open(sealed[:0], g.nonce[:], sealed, header[:])
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
