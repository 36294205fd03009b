package tlsconn

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"
	"math/bits"
)

// cbcMode is what the standard library's CBC modes are, and crypto/tls relies
// on too.
type cbcMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// ivsPerRead is how many records' IVs are read from the random source at once.
const ivsPerRead = 16

// cbcSealer seals records with AES-CBC and HMAC: MAC-then-encrypt (RFC 5246
// §6.2.3.2) or encrypt-then-MAC (RFC 7366 §3).
type cbcSealer struct {
	mode           cbcMode
	mac            hash.Hash
	encryptThenMAC bool

	// ivs are random bytes for the next records' IVs, those from used on.
	// They are read in batches because a system call for each record costs as
	// much as sealing a short one. An IV must be unpredictable until its
	// record is composed, and these never leave this memory before.
	ivs  [ivsPerRead * aes.BlockSize]byte
	used int
}

func newCBCSealer(block cipher.Block, mac crypto.Hash, macKey []byte, encryptThenMAC bool) *cbcSealer {
	s := &cbcSealer{
		mac:            hmac.New(mac.New, macKey),
		encryptThenMAC: encryptThenMAC,
	}
	s.mode = cipher.NewCBCEncrypter(block, s.ivs[:aes.BlockSize]).(cbcMode)
	s.used = len(s.ivs)
	return s
}

func (s *cbcSealer) overhead() int {
	return aes.BlockSize + s.mac.Size() + aes.BlockSize
}

func (s *cbcSealer) seal(dst []byte, header *macHeader, payload []byte) []byte {
	iv := s.nextIV()
	dst = append(dst, iv...)
	ivStart, start := len(dst)-len(iv), len(dst)

	dst = append(dst, payload...)
	if !s.encryptThenMAC {
		header.setLength(len(payload))
		dst = appendMAC(dst, s.mac, header, payload)
	}
	// The least padding: its last byte counts those before it.
	last := (aes.BlockSize - 1) - (len(dst)-start)%aes.BlockSize
	for range last + 1 {
		dst = append(dst, byte(last))
	}
	s.mode.SetIV(iv)
	s.mode.CryptBlocks(dst[start:], dst[start:])
	if s.encryptThenMAC {
		header.setLength(len(dst) - ivStart)
		dst = appendMAC(dst, s.mac, header, dst[ivStart:])
	}
	return dst
}

// nextIV returns an IV that was never used before.
func (s *cbcSealer) nextIV() []byte {
	if s.used == len(s.ivs) {
		rand.Read(s.ivs[:]) // never fails
		s.used = 0
	}
	iv := s.ivs[s.used : s.used+aes.BlockSize]
	s.used += aes.BlockSize
	return iv
}

// appendMAC appends the MAC of header and content to dst.
func appendMAC(dst []byte, mac hash.Hash, header *macHeader, content []byte) []byte {
	mac.Reset()
	mac.Write(header[:])
	mac.Write(content)
	return mac.Sum(dst)
}

// cbcOpener opens records that are encrypted first and then authenticated
// (RFC 7366 §3).
type cbcOpener struct {
	mode cbcMode
	mac  hash.Hash
	sum  []byte // here, for what is handed to mac.Sum escapes
}

func newCBCOpener(block cipher.Block, mac crypto.Hash, macKey []byte) *cbcOpener {
	return &cbcOpener{
		mode: newCBCDecrypter(block),
		mac:  hmac.New(mac.New, macKey),
		sum:  make([]byte, 0, mac.Size()),
	}
}

func newCBCDecrypter(block cipher.Block) cbcMode {
	var iv [aes.BlockSize]byte // replaced for each record
	return cipher.NewCBCDecrypter(block, iv[:]).(cbcMode)
}

func (o *cbcOpener) open(_ []byte, header *macHeader, fragment []byte) ([]byte, error) {
	encrypted := len(fragment) - o.mac.Size()
	if encrypted < 2*aes.BlockSize || encrypted%aes.BlockSize != 0 {
		return nil, alertBadRecordMAC
	}
	ciphertext, mac := fragment[:encrypted], fragment[encrypted:]
	header.setLength(encrypted)
	o.sum = appendMAC(o.sum[:0], o.mac, header, ciphertext)
	if !hmac.Equal(o.sum, mac) {
		return nil, alertBadRecordMAC
	}
	payload := decryptCBC(o.mode, ciphertext)
	padding, good := checkPadding(payload, 0)
	if good == 0 {
		return nil, alertBadRecordMAC
	}
	return payload[:len(payload)-padding], nil
}

// decryptCBC decrypts in place what follows the explicit IV, in one call.
func decryptCBC(mode cbcMode, ciphertext []byte) []byte {
	iv, payload := ciphertext[:aes.BlockSize], ciphertext[aes.BlockSize:]
	mode.SetIV(iv)
	mode.CryptBlocks(payload, payload)
	return payload
}

// maxPadding is the most that padding takes together with its length byte.
const maxPadding = 256

// checkPadding returns the length of the padding at the end of the payload,
// its length byte counted, and 1 when every byte of it is right and macLen
// bytes fit before it (RFC 5246 §6.2.3.2). Else it returns 1, the length of an
// empty padding, and 0. The payload is of whole AES blocks; the same words of
// it are read whatever they are.
func checkPadding(payload []byte, macLen int) (length, good int) {
	last := payload[len(payload)-1]
	var wrong uint64
	for n := 8; n <= min(maxPadding, len(payload)); n += 8 {
		word := binary.LittleEndian.Uint64(payload[len(payload)-n:])
		before := prefixMask(n - 1 - int(last)) // the bytes that aren't padding
		wrong |= (word ^ everyByte*uint64(last)) &^ before
	}
	good = int(isZero(wrong)) & subtle.ConstantTimeLessOrEq(int(last)+1+macLen, len(payload))
	return 1 + -good&int(last), good
}

// everyByte is the word whose eight bytes are 1.
const everyByte = 0x0101010101010101

// prefixMask returns the word that is 0xff in its first n bytes, in
// little-endian order, and 0 in the others: in none where n is 0 or less, in
// all where it is 8 or more. n may be secret: shifts compile to no branches.
func prefixMask(n int) uint64 {
	n &^= n >> (bits.UintSize - 1)
	return 1<<(8*uint(n)) - 1
}

// isZero returns 1 when the word is 0, else 0.
func isZero(word uint64) uint64 {
	return 1 ^ (word|-word)>>63
}

// cbcPaddedOpener opens records that are authenticated first and then
// encrypted (RFC 5246 §6.2.3.2), in a time that depends on nothing but the
// fragment's length.
//
// Whoever can tell by the time whether the padding or the MAC of an altered
// record was wrong, or how much was hashed, learns plaintext (Vaudenay 2002;
// AlFardan and Paterson, "Lucky Thirteen", 2013). The alert is the same for
// both. To make the time the same, the MAC must be computed over a number of
// bytes, and found at an offset, that do not show. There are these ways:
//
//   - Hash what is left of the record after the MAC was computed, as crypto/tls
//     does. The number of compressions is then about the same, not quite, and
//     the last blocks need a constant-time Sum that the standard library has
//     for SHA-1 alone.
//   - Compute the MAC of every length that the content may have: up to 256.
//   - Feed the last blocks of the hash one by one, padded by arithmetic as if
//     the message ended where it does, and keep the chaining value of the block
//     that was the last, as OpenSSL and BoringSSL do. That needs the
//     compression function, which the standard library does not export; but
//     its hashes export their state, and at the end of a block that is the
//     chaining value, in a form that cannot change while states saved by older
//     versions of Go are to be restored.
//
// The third way is taken here, with at most six compressions more than the
// content needs. Constant are the number of calls to the hash, the lengths
// given to it, the addresses read and written, and, for amd64 and arm64, the
// sequence of instructions: secrets go into masks and shifts, never into
// branches, divisions or indexes. TestHashingDependsOnLengthOnly proves the
// first two.
//
// BenchmarkTimingPadding measures the rest, by the method of dudect: Welch's
// t-test on the times of two classes of records, drawn at random, with the slow
// tail cut at several percentiles. Figures of Go 1.26.8 on a Xeon with AES,
// SHA and AVX-512 instructions, shared with other work, for a million records
// in each of 60 comparisons: HMAC with SHA-1, SHA-256 and SHA-384, fragments of
// 112 and 384 bytes, good or bad MAC, in its first or last byte, good or bad
// padding, in its first or last byte, of the shortest, longest and any length.
// The largest |t| was 3.3, and 0.8 when five million records were measured
// again; below 4.5 no difference is found. The difference of the means was at
// most 3.5 ns, as much as between a class and itself (2.1 ns). An
// implementation that hashes as much as the padding says has |t| from 18 to
// 192 and differs by up to 152 ns in the same run.
//
// What remains: without AES instructions Go's AES looks up tables, and its time
// depends on key and data in every mode. A record that was found good is as
// long as it is, and what the caller does with it takes its time. And a
// compiler may learn to branch on masks: measure again with a new one.
type cbcPaddedOpener struct {
	mode cbcMode
	mac  *secretLengthMAC
}

func newCBCPaddedOpener(block cipher.Block, mac crypto.Hash, macKey []byte) *cbcPaddedOpener {
	return &cbcPaddedOpener{
		mode: newCBCDecrypter(block),
		mac:  newSecretLengthMAC(mac, macKey),
	}
}

func (o *cbcPaddedOpener) open(_ []byte, header *macHeader, fragment []byte) ([]byte, error) {
	macLen := o.mac.size
	if len(fragment)%aes.BlockSize != 0 || len(fragment) < aes.BlockSize+macLen+1 {
		return nil, alertBadRecordMAC
	}
	payload := decryptCBC(o.mode, fragment)
	padding, good := checkPadding(payload, macLen)

	// From here to the verdict, n is secret; its bounds are not.
	n := len(payload) - macLen - padding
	bounds := secretBounds{
		min: max(0, len(payload)-macLen-maxPadding),
		max: len(payload) - macLen - 1,
	}
	header.setLength(n)
	expected := o.mac.sum(header, payload, n, bounds)
	var found [maxMACLen]byte
	copySecretPart(found[:macLen], payload, n, bounds)
	good &= subtle.ConstantTimeCompare(expected, found[:macLen])
	if good == 0 {
		return nil, alertBadRecordMAC
	}
	return payload[:n], nil
}

// secretBounds are what anybody may know of a secret number.
type secretBounds struct{ min, max int } // both included

// copySecretPart copies the part of src that starts at the secret offset to
// dst, which is no longer than a MAC. The bounds are at most maxPadding apart.
// A barrel shifter: for each bit of the offset, everything moves by as much as
// that bit is worth, or not. It reads and writes the same words whatever the
// offset.
func copySecretPart(dst, src []byte, offset int, bounds secretBounds) {
	var window [maxPadding + maxMACLen + 16]byte
	copy(window[:], src[bounds.min:bounds.max+len(dst)])
	distance := uint64(offset - bounds.min)
	for step := maxPadding / 2; step > 0; step /= 2 {
		move := -isZero(distance&uint64(step) ^ uint64(step))
		for i := 0; i < step-1+len(dst); i += 8 {
			stay, come := window[i:i+8], window[i+step:i+step+8]
			word := binary.LittleEndian.Uint64(stay)
			word ^= (word ^ binary.LittleEndian.Uint64(come)) & move
			binary.LittleEndian.PutUint64(stay, word)
		}
	}
	copy(dst, window[:])
}

const (
	maxMACLen    = 48  // HMAC-SHA384
	maxHashBlock = 128 // SHA-384
	// maxHashState is the most that an encoded hash state takes: magic,
	// chaining value, one block, length.
	maxHashState = 4 + 64 + maxHashBlock + 8
	// hashStateOffset is where the chaining value starts in it.
	hashStateOffset = 4
)

// hashState is a hash whose state can be saved and restored, as all of the
// standard library's can.
type hashState interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// secretLengthMAC is HMAC (RFC 2104) of a message whose length is secret, with
// SHA-1, SHA-256 or SHA-384.
type secretLengthMAC struct {
	hash hashState
	size int
	// ipad and opad are the states of the inner and outer hash behind the key.
	ipad, opad []byte
	// lengthLen is how many bytes the hash's own padding takes for the
	// message's length.
	lengthLen int
	// blockShift is the binary logarithm of the hash's block length: the time
	// of a division by it would depend on the dividend.
	blockShift uint

	// Here, for arguments of interface methods escape.
	block [maxHashBlock]byte
	state [maxHashState]byte
	out   [maxMACLen]byte
}

func newSecretLengthMAC(h crypto.Hash, key []byte) *secretLengthMAC {
	m := &secretLengthMAC{hash: h.New().(hashState), size: h.Size()}
	m.lengthLen = m.hash.BlockSize() / 8
	m.blockShift = uint(bits.TrailingZeros(uint(m.hash.BlockSize())))
	m.ipad = m.keyed(key, 0x36)
	m.opad = m.keyed(key, 0x5c)
	return m
}

// keyed returns the state of the hash after one block of the key, which is no
// longer than that, xored with the pad.
func (m *secretLengthMAC) keyed(key []byte, pad byte) []byte {
	block := make([]byte, m.hash.BlockSize())
	copy(block, key)
	for i := range block {
		block[i] ^= pad
	}
	m.hash.Reset()
	m.hash.Write(block)
	state, err := m.hash.AppendBinary(nil)
	if err != nil {
		panic("tlsconn: " + err.Error()) // the standard library's hashes never fail
	}
	return state
}

func (m *secretLengthMAC) restore(state []byte) {
	if err := m.hash.UnmarshalBinary(state); err != nil {
		panic("tlsconn: " + err.Error()) // it is a state of the same hash
	}
}

// sum returns the MAC of the header and the first n bytes of the payload.
func (m *secretLengthMAC) sum(header *macHeader, payload []byte, n int, bounds secretBounds) []byte {
	m.restore(m.ipad)

	// Blocks that are full of message for every n go to the hash at once.
	start := (len(header) + bounds.min) >> m.blockShift
	if public := start << m.blockShift; public > 0 {
		m.hash.Write(header[:])
		m.hash.Write(payload[:public-len(header)])
	}

	// Any of the other blocks may be the last, and holds then the padding of
	// the hash (FIPS 180-4 §5.1). All are hashed, one at a time, and the
	// chaining value behind the real last one is kept.
	digest := m.out[:m.size]
	length := len(header) + n
	last := (length + m.lengthLen) >> m.blockShift
	end := (len(header) + bounds.max + m.lengthLen) >> m.blockShift
	for i := start; i <= end; i++ {
		isLast := subtle.ConstantTimeEq(int32(i), int32(last))
		m.hash.Write(m.paddedBlock(i, header, payload, length, isLast))
		state, _ := m.hash.AppendBinary(m.state[:0]) // never fails
		subtle.ConstantTimeCopy(isLast, digest, state[hashStateOffset:][:m.size])
	}

	m.restore(m.opad)
	m.hash.Write(digest)
	return m.hash.Sum(digest[:0])
}

// paddedBlock returns the i-th block that the inner hash gets behind the key
// for a message of that length. isLast is 1 when it is the last one, else 0.
func (m *secretLengthMAC) paddedBlock(i int, header *macHeader, payload []byte, length, isLast int) []byte {
	blockLen := 1 << m.blockShift
	start := i << m.blockShift
	block := m.block[:blockLen]
	rest := block
	if start < len(header) { // the first block only: headers are shorter
		rest = rest[copy(rest, header[start:]):]
	}
	if from := max(0, start-len(header)); from < len(payload) {
		copy(rest, payload[from:]) // what is not overwritten is masked below
	}
	for j := 0; j < blockLen; j += 8 {
		word := block[j : j+8]
		left := length - (start + j)
		message, end := prefixMask(left), prefixMask(left+1)
		binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)&message|0x80*everyByte&(end^message))
	}
	tail := block[blockLen-8:]
	bitLen := uint64(blockLen+length) * 8
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)|bitLen&-uint64(isLast))
	return block
}
