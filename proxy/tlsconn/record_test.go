package tlsconn

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"
)

const typeData = 23 // application_data

// recordKeys are one direction's keys.
type recordKeys struct{ mac, key, iv []byte }

// A recordScheme is a suite with or without encrypt-then-MAC, and keys.
type recordScheme struct {
	suite          *cipherSuite
	encryptThenMAC bool
	recordKeys
}

func (s recordScheme) String() string {
	return fmt.Sprintf("%04X etm=%v", s.suite.id, s.encryptThenMAC)
}

// protection is what suites may have in common.
func (s recordScheme) protection() string {
	return fmt.Sprintf("key of %d bytes, MAC %v, etm=%v", s.suite.keyLen, s.suite.mac, s.encryptThenMAC)
}

// recordSchemes returns all that can be negotiated.
func recordSchemes() []recordScheme {
	var schemes []recordScheme
	for _, id := range CipherSuites() {
		suite := suiteByID(id)
		keys := recordKeys{
			mac: bytes.Repeat([]byte{0xA1}, suite.macLen),
			key: bytes.Repeat([]byte{0xB2}, suite.keyLen),
			iv:  bytes.Repeat([]byte{0xC3}, suite.ivLen),
		}
		schemes = append(schemes, recordScheme{suite, false, keys})
		if suite.isCBC() {
			schemes = append(schemes, recordScheme{suite, true, keys})
		}
	}
	return schemes
}

// paddedSchemes returns MAC-then-encrypt with each hash.
func paddedSchemes() []recordScheme {
	var schemes []recordScheme
	for _, scheme := range recordSchemes() {
		seen := slices.ContainsFunc(schemes, func(s recordScheme) bool { return s.suite.mac == scheme.suite.mac })
		if scheme.suite.isCBC() && !scheme.encryptThenMAC && !seen {
			schemes = append(schemes, scheme)
		}
	}
	return schemes
}

func (s recordScheme) sealer() *halfConn { return s.halfConn(true) }
func (s recordScheme) opener() *halfConn { return s.halfConn(false) }

func (s recordScheme) halfConn(write bool) *halfConn {
	hc := new(halfConn)
	hc.setCipher(s.suite, s.encryptThenMAC, s.mac, s.key, s.iv, write)
	return hc
}

// A forgery says how the fragment of a CBC record is to be made, right or
// wrong.
type forgery struct {
	seq     uint64
	payload []byte
	padding []byte // with the length byte
	mac     func(mac []byte)
}

// padding returns right padding with that length byte.
func paddingOf(last int) []byte {
	return bytes.Repeat([]byte{byte(last)}, last+1)
}

// forge composes a fragment from the standard library's primitives, without
// any of the code under test.
func (s recordScheme) forge(f forgery) []byte {
	macOf := func(length int, content []byte) []byte {
		h := hmac.New(s.suite.mac.New, s.mac)
		h.Write(binary.BigEndian.AppendUint64(nil, f.seq))
		h.Write([]byte{typeData, 3, 3, byte(length >> 8), byte(length)})
		h.Write(content)
		mac := h.Sum(nil)
		if f.mac != nil {
			f.mac(mac)
		}
		return mac
	}
	content := slices.Clone(f.payload)
	if !s.encryptThenMAC {
		content = append(content, macOf(len(f.payload), f.payload)...)
	}
	content = append(content, f.padding...)
	block, err := aes.NewCipher(s.key)
	if err != nil {
		panic(err)
	}
	iv := bytes.Repeat([]byte{0x5A}, aes.BlockSize)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(content, content)
	fragment := append(iv, content...)
	if s.encryptThenMAC {
		fragment = append(fragment, macOf(len(fragment), fragment)...)
	}
	return fragment
}

// payloadOf returns n bytes that differ from their neighbours.
func payloadOf(n int) []byte {
	payload := make([]byte, n)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	return payload
}

func recordSizes() []int {
	var sizes []int
	for n := range 65 {
		sizes = append(sizes, n)
	}
	return append(sizes, 255, 256, 257, 1000, maxPlaintext-1, maxPlaintext)
}

func TestRecordRoundTrip(t *testing.T) {
	for _, scheme := range recordSchemes() {
		t.Run(scheme.String(), func(t *testing.T) {
			sealer, opener := scheme.sealer(), scheme.opener()
			before := []byte("what was there before")
			for _, size := range recordSizes() {
				payload := payloadOf(size)
				out := sealer.seal(slices.Clone(before), typeData, payload)
				if !bytes.HasPrefix(out, before) {
					t.Fatalf("%d bytes: seal changed what it appends to", size)
				}
				if !bytes.Equal(payload, payloadOf(size)) {
					t.Fatalf("%d bytes: seal changed the payload", size)
				}
				record := out[len(before):]
				if bytes.Contains(record, payload) && size > 8 {
					t.Fatalf("%d bytes: payload in the clear", size)
				}
				if len(record) > sealer.maxSealed(size) || len(record) <= sealer.maxSealed(size)-aes.BlockSize {
					t.Fatalf("%d bytes: record of %d bytes where maxSealed says %d", size, len(record), sealer.maxSealed(size))
				}
				header, fragment := record[:recordHeaderLen], record[recordHeaderLen:]
				if want := []byte{typeData, 3, 3, byte(len(fragment) >> 8), byte(len(fragment))}; !bytes.Equal(header, want) {
					t.Fatalf("%d bytes: header %x, want %x", size, header, want)
				}
				got, err := opener.open(typeData, 0x0303, fragment)
				if err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if !bytes.Equal(got, payload) {
					t.Fatalf("%d bytes: got %x, want %x", size, got, payload)
				}
				if size > 0 && !bytes.Contains(fragment, payload) {
					t.Fatalf("%d bytes: not decrypted in place", size)
				}
			}
		})
	}
}

func TestRecordUnprotected(t *testing.T) {
	var hc halfConn
	for _, size := range recordSizes() {
		payload := payloadOf(size)
		record := hc.seal(nil, 22, payload)
		if want := append([]byte{22, 3, 3, byte(size >> 8), byte(size)}, payload...); !bytes.Equal(record, want) {
			t.Fatalf("%d bytes: sealed %x, want %x", size, record, want)
		}
		got, err := hc.open(22, 0x0301, record[recordHeaderLen:])
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%d bytes: opened %x, error %v", size, got, err)
		}
	}
	if _, err := hc.open(22, 0x0301, make([]byte, maxPlaintext+1)); err != alertRecordOverflow {
		t.Errorf("too long: error %v, want %v", err, alertRecordOverflow)
	}
}

func TestMaxSealed(t *testing.T) {
	for _, scheme := range recordSchemes() {
		sealer := scheme.sealer()
		for _, size := range []int{0, 1, maxPlaintext, maxPlaintext + 1, 2 * maxPlaintext, 4*maxPlaintext + 1} {
			var out []byte
			for rest := payloadOf(size); ; {
				n := min(len(rest), maxPlaintext)
				out = sealer.seal(out, typeData, rest[:n])
				if rest = rest[n:]; len(rest) == 0 {
					break
				}
			}
			if limit := sealer.maxSealed(size); len(out) > limit {
				t.Errorf("%v: %d bytes took %d, more than maxSealed's %d", scheme, size, len(out), limit)
			}
		}
	}
}

// TestRecordAltered flips each bit of records, and of all else that their MACs
// cover.
func TestRecordAltered(t *testing.T) {
	for _, scheme := range recordSchemes() {
		t.Run(scheme.String(), func(t *testing.T) {
			for _, size := range []int{0, 1, 40} {
				record := scheme.sealer().seal(nil, typeData, payloadOf(size))
				fragment := record[recordHeaderLen:]
				opener := scheme.opener()
				refused := func(what string, typ uint8, version uint16, fragment []byte) {
					t.Helper()
					opener.seq = 0
					got, err := opener.open(typ, version, slices.Clone(fragment))
					if err != alertBadRecordMAC || got != nil {
						t.Fatalf("%d bytes, %s: got %x, error %v, want %v", size, what, got, err, alertBadRecordMAC)
					}
				}
				for bit := range 8 * len(fragment) {
					altered := slices.Clone(fragment)
					altered[bit/8] ^= 1 << (bit % 8)
					refused(fmt.Sprintf("bit %d", bit), typeData, 0x0303, altered)
				}
				for n := range fragment {
					refused(fmt.Sprintf("cut to %d", n), typeData, 0x0303, fragment[:n])
					refused(fmt.Sprintf("first %d gone", n+1), typeData, 0x0303, fragment[n+1:])
				}
				for n := range 64 {
					refused(fmt.Sprintf("%d more", n+1), typeData, 0x0303, append(slices.Clone(fragment), make([]byte, n+1)...))
				}
				refused("type", 22, 0x0303, fragment)
				refused("version", typeData, 0x0302, fragment)

				opener.seq = 0
				if _, err := opener.open(typeData, 0x0303, slices.Clone(fragment)); err != nil {
					t.Fatalf("%d bytes, unaltered: %v", size, err)
				}
				if _, err := opener.open(typeData, 0x0303, slices.Clone(fragment)); err != alertBadRecordMAC {
					t.Fatalf("%d bytes, repeated: error %v, want %v", size, err, alertBadRecordMAC)
				}
			}
		})
	}
}

// TestRecordLengths tries fragments of every length around the limits.
func TestRecordLengths(t *testing.T) {
	for _, scheme := range recordSchemes() {
		t.Run(scheme.String(), func(t *testing.T) {
			opener := scheme.opener()
			var lengths []int
			for n := range 600 {
				lengths = append(lengths, n)
			}
			for n := maxCiphertext - 300; n < maxCiphertext+40; n++ {
				lengths = append(lengths, n)
			}
			for _, n := range append(lengths, math.MaxUint16) {
				want := alertBadRecordMAC
				if n > maxCiphertext {
					want = alertRecordOverflow
				}
				got, err := opener.open(typeData, 0x0303, make([]byte, n))
				if err != want || got != nil {
					t.Fatalf("%d bytes: got %x, error %v, want %v", n, got, err, want)
				}
			}
			// A right MAC does not excuse too long a plaintext.
			sealer := scheme.sealer()
			for _, n := range []int{maxPlaintext + 1, maxPlaintext + 1000} {
				record := sealer.seal(nil, typeData, make([]byte, n))
				opener.seq = sealer.seq - 1
				if _, err := opener.open(typeData, 0x0303, record[recordHeaderLen:]); err != alertRecordOverflow {
					t.Errorf("%d bytes of plaintext: error %v, want %v", n, err, alertRecordOverflow)
				}
			}
		})
	}
}

func TestRecordSequenceEnds(t *testing.T) {
	for _, scheme := range recordSchemes() {
		sealer, opener := scheme.sealer(), scheme.opener()
		sealer.seq, opener.seq = math.MaxUint64-1, math.MaxUint64-1
		record := sealer.seal(nil, typeData, []byte("the last"))
		if _, err := opener.open(typeData, 0x0303, record[recordHeaderLen:]); err != nil {
			t.Fatalf("%v: last record: %v", scheme, err)
		}
		if _, err := opener.open(typeData, 0x0303, record[recordHeaderLen:]); err != alertInternalError {
			t.Errorf("%v: open beyond the last record: error %v, want %v", scheme, err, alertInternalError)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v: sealed beyond the last record", scheme)
				}
			}()
			sealer.seal(nil, typeData, nil)
		}()
	}
}

// TestSetCipherRestarts shows that new keys start from sequence number zero.
func TestSetCipherRestarts(t *testing.T) {
	for _, scheme := range recordSchemes() {
		sealer, opener := scheme.sealer(), scheme.opener()
		sealer.seal(nil, typeData, nil)
		sealer.setCipher(scheme.suite, scheme.encryptThenMAC, scheme.mac, scheme.key, scheme.iv, true)
		record := sealer.seal(nil, typeData, []byte("x"))
		if _, err := opener.open(typeData, 0x0303, record[recordHeaderLen:]); err != nil {
			t.Errorf("%v: %v", scheme, err)
		}
	}
}
