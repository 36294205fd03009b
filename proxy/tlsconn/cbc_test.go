package tlsconn

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"crypto/subtle"
	"fmt"
	"slices"
	"testing"
)

// fitting returns a payload with which MAC and padding fill whole blocks.
func (s recordScheme) fitting(blocks, last int) []byte {
	taken := last + 1
	if !s.encryptThenMAC {
		taken += s.suite.macLen
	}
	return payloadOf(blocks*aes.BlockSize + (aes.BlockSize-taken%aes.BlockSize)%aes.BlockSize)
}

// cbcSchemes returns each hash with and without encrypt-then-MAC.
func cbcSchemes() []recordScheme {
	var schemes []recordScheme
	for _, scheme := range paddedSchemes() {
		schemes = append(schemes, scheme)
		scheme.encryptThenMAC = true
		schemes = append(schemes, scheme)
	}
	return schemes
}

// TestPaddingEveryLength has padding of every length, and each of its bytes
// wrong, in records whose MAC is right.
func TestPaddingEveryLength(t *testing.T) {
	for _, scheme := range cbcSchemes() {
		t.Run(scheme.String(), func(t *testing.T) {
			opener := scheme.opener()
			open := func(f forgery) ([]byte, error) {
				opener.seq = 0
				return opener.open(typeData, 0x0303, scheme.forge(f))
			}
			for last := range 256 {
				payload := scheme.fitting(last%3, last)
				got, err := open(forgery{payload: payload, padding: paddingOf(last)})
				if err != nil || !bytes.Equal(got, payload) {
					t.Fatalf("padding length %d: got %x, error %v", last, got, err)
				}
				for at := range last {
					padding := paddingOf(last)
					padding[at] ^= 1 << (at % 8)
					got, err := open(forgery{payload: payload, padding: padding})
					if err != alertBadRecordMAC || got != nil {
						t.Fatalf("padding length %d, byte %d wrong: got %x, error %v, want %v", last, at, got, err, alertBadRecordMAC)
					}
				}
			}
		})
	}
}

// TestPaddingOfOneWrongByte has the MAC right where it would be without
// padding, and then one byte that claims more: what accepts it can be read by
// the last byte of a block at a time, as SSL 3.0 could (POODLE).
func TestPaddingOfOneWrongByte(t *testing.T) {
	for _, scheme := range cbcSchemes() {
		opener := scheme.opener()
		for last := 1; last < 256; last++ {
			for blocks := range 20 {
				opener.seq = 0
				got, err := opener.open(typeData, 0x0303, scheme.forge(forgery{
					payload: scheme.fitting(blocks, 0),
					padding: []byte{byte(last)},
				}))
				if err != alertBadRecordMAC || got != nil {
					t.Fatalf("%v, padding length %d: got %x, error %v, want %v", scheme, last, got, err, alertBadRecordMAC)
				}
			}
		}
	}
}

// TestEncryptThenMACOfNoBlocks has right MACs over what is too short for an IV
// and padding, or not of whole blocks.
func TestEncryptThenMACOfNoBlocks(t *testing.T) {
	for _, scheme := range recordSchemes() {
		if !scheme.encryptThenMAC {
			continue
		}
		mac := hmac.New(scheme.suite.mac.New, scheme.mac)
		opener := scheme.opener()
		for size := range 100 {
			if size >= 2*aes.BlockSize && size%aes.BlockSize == 0 {
				continue
			}
			header := macHeader{8: typeData, 9: 3, 10: 3, 12: byte(size)}
			ciphertext := payloadOf(size)
			opener.seq = 0
			got, err := opener.open(typeData, 0x0303, appendMAC(ciphertext, mac, &header, ciphertext))
			if err != alertBadRecordMAC || got != nil {
				t.Fatalf("%v, %d bytes: got %x, error %v, want %v", scheme, size, got, err, alertBadRecordMAC)
			}
		}
	}
}

// TestPaddingBeyondRecord has padding that claims to be longer than what there
// is for it.
func TestPaddingBeyondRecord(t *testing.T) {
	for _, scheme := range cbcSchemes() {
		t.Run(scheme.String(), func(t *testing.T) {
			opener := scheme.opener()
			for blocks := range 16 {
				padding := scheme.fitting(blocks, 0)
				room := len(padding) + 1
				for last := room; last < 256; last++ {
					opener.seq = 0
					got, err := opener.open(typeData, 0x0303, scheme.forge(forgery{
						padding: bytes.Repeat([]byte{byte(last)}, room),
					}))
					if err != alertBadRecordMAC || got != nil {
						t.Fatalf("padding length %d in %d bytes: got %x, error %v, want %v", last, room, got, err, alertBadRecordMAC)
					}
				}
			}
		})
	}
}

// TestMACEveryByte has each byte of the MAC wrong behind padding of every
// length.
func TestMACEveryByte(t *testing.T) {
	for _, scheme := range cbcSchemes() {
		t.Run(scheme.String(), func(t *testing.T) {
			opener := scheme.opener()
			for last := range 256 {
				for at := range scheme.suite.macLen {
					opener.seq = 0
					got, err := opener.open(typeData, 0x0303, scheme.forge(forgery{
						payload: scheme.fitting(last%2, last),
						padding: paddingOf(last),
						mac:     func(mac []byte) { mac[at] ^= 1 << (last % 8) },
					}))
					if err != alertBadRecordMAC || got != nil {
						t.Fatalf("padding length %d, MAC byte %d wrong: got %x, error %v, want %v", last, at, got, err, alertBadRecordMAC)
					}
				}
			}
		})
	}
}

// countingMode counts the decryptions.
type countingMode struct {
	cbcMode
	calls int
}

func (m *countingMode) CryptBlocks(dst, src []byte) {
	m.calls++
	m.cbcMode.CryptBlocks(dst, src)
}

// TestEncryptThenMACVerifiesFirst shows that nothing is decrypted before its
// MAC was found right, and that all of a record that can be is decrypted in
// one call.
func TestEncryptThenMACVerifiesFirst(t *testing.T) {
	for _, scheme := range recordSchemes() {
		if !scheme.encryptThenMAC {
			continue
		}
		hc := scheme.opener()
		opener := hc.opener.(*cbcOpener)
		mode := &countingMode{cbcMode: opener.mode}
		opener.mode = mode

		fragment := scheme.sealer().seal(nil, typeData, payloadOf(100))[recordHeaderLen:]
		for at := range fragment {
			altered := slices.Clone(fragment)
			altered[at] ^= 0x80
			before := slices.Clone(altered)
			hc.seq = 0
			if _, err := hc.open(typeData, 0x0303, altered); err != alertBadRecordMAC {
				t.Fatalf("%v: byte %d wrong: error %v", scheme, at, err)
			}
			if mode.calls != 0 || !bytes.Equal(altered, before) {
				t.Fatalf("%v: byte %d wrong: decrypted before the MAC was verified", scheme, at)
			}
		}
		hc.seq = 0
		if _, err := hc.open(typeData, 0x0303, fragment); err != nil || mode.calls != 1 {
			t.Errorf("%v: error %v, %d calls to decrypt", scheme, err, mode.calls)
		}
	}
}

// TestIVsDiffer seals more records than IVs are read at once.
func TestIVsDiffer(t *testing.T) {
	for _, scheme := range cbcSchemes() {
		sealer := scheme.sealer()
		seen := make(map[string]int)
		for i := range 10*ivsPerRead + 1 {
			record := sealer.seal(nil, typeData, []byte("the same"))
			iv := string(record[recordHeaderLen:][:aes.BlockSize])
			if before, ok := seen[iv]; ok {
				t.Fatalf("%v: records %d and %d have the IV %x", scheme, before, i, iv)
			}
			seen[iv] = i
		}
		other := scheme.sealer().seal(nil, typeData, []byte("the same"))
		if _, ok := seen[string(other[recordHeaderLen:][:aes.BlockSize])]; ok {
			t.Errorf("%v: IVs repeat in another connection", scheme)
		}
	}
}

// TestCheckPadding compares with the plain way to say it, for payloads of
// every length around the most that padding takes.
func TestCheckPadding(t *testing.T) {
	plain := func(payload []byte, macLen int) (int, int) {
		last := payload[len(payload)-1]
		length := int(last) + 1
		if length+macLen > len(payload) {
			return 1, 0
		}
		for _, b := range payload[len(payload)-length:] {
			if b != last {
				return 1, 0
			}
		}
		return length, 1
	}
	for _, macLen := range []int{0, 20, 32, 48} {
		for size := (macLen/aes.BlockSize + 1) * aes.BlockSize; size < 320; size += aes.BlockSize {
			for last := range 256 {
				payload := bytes.Repeat([]byte{byte(last)}, size)
				for _, at := range []int{size, 0, size - 1 - last, size - 2 - last, size - 2} {
					payload := slices.Clone(payload)
					if at >= 0 && at < size-1 {
						payload[at] ^= 0x40
					}
					length, good := checkPadding(payload, macLen)
					wantLength, wantGood := plain(payload, macLen)
					if length != wantLength || good != wantGood {
						t.Fatalf("MAC %d, size %d, last %d, wrong at %d: got %d, %d, want %d, %d", macLen, size, last, at, length, good, wantLength, wantGood)
					}
				}
			}
		}
	}
}

func TestCopySecretPart(t *testing.T) {
	for _, size := range []int{20, 32, 48} {
		src := payloadOf(255 + size)
		for _, bounds := range []secretBounds{{0, 0}, {0, 9}, {100, 100}, {3, 255}} {
			for offset := bounds.min; offset <= bounds.max; offset++ {
				got := bytes.Repeat([]byte{0xEE}, size)
				copySecretPart(got, src, offset, bounds)
				if want := src[offset : offset+size]; !bytes.Equal(got, want) {
					t.Fatalf("offset %d in %v: got %x, want %x", offset, bounds, got, want)
				}
			}
		}
	}
}

// boundsFor returns what is known of the length of the content of a payload.
func boundsFor(payloadLen, macLen int) secretBounds {
	return secretBounds{max(0, payloadLen-macLen-maxPadding), payloadLen - macLen - 1}
}

// TestSecretLengthMAC compares with crypto/hmac for every length of content in
// payloads of many lengths, so that every position of the end in the hash's
// blocks occurs.
func TestSecretLengthMAC(t *testing.T) {
	for _, scheme := range paddedSchemes() {
		t.Run(scheme.suite.mac.String(), func(t *testing.T) {
			mac := newSecretLengthMAC(scheme.suite.mac, scheme.mac)
			reference := hmac.New(scheme.suite.mac.New, scheme.mac)
			header := macHeader(payloadOf(13))
			for size := scheme.suite.macLen + 1; size < 560; size += 7 {
				payload := payloadOf(size)
				bounds := boundsFor(size, scheme.suite.macLen)
				for n := bounds.min; n <= bounds.max; n++ {
					want := appendMAC(nil, reference, &header, payload[:n])
					if got := mac.sum(&header, payload, n, bounds); !bytes.Equal(got, want) {
						t.Fatalf("first %d of %d bytes: got %x, want %x", n, size, got, want)
					}
				}
			}
		})
	}
}

// tracedHash notes what is asked of a hash, and the lengths.
type tracedHash struct {
	hashState
	trace []string
}

func (h *tracedHash) note(format string, args ...any) {
	h.trace = append(h.trace, fmt.Sprintf(format, args...))
}

func (h *tracedHash) Write(p []byte) (int, error) {
	h.note("write %d", len(p))
	return h.hashState.Write(p)
}

func (h *tracedHash) AppendBinary(b []byte) ([]byte, error) {
	h.note("save")
	return h.hashState.AppendBinary(b)
}

func (h *tracedHash) UnmarshalBinary(b []byte) error {
	h.note("restore")
	return h.hashState.UnmarshalBinary(b)
}

func (h *tracedHash) Sum(b []byte) []byte {
	h.note("sum")
	return h.hashState.Sum(b)
}

// TestHashingDependsOnLengthOnly shows that the hash is called in the same way,
// with blocks of the same lengths, whatever a record's padding and MAC are:
// the timing test measures what this proves.
func TestHashingDependsOnLengthOnly(t *testing.T) {
	for _, scheme := range paddedSchemes() {
		hc := scheme.opener()
		opener := hc.opener.(*cbcPaddedOpener)
		traced := &tracedHash{hashState: opener.mac.hash}
		opener.mac.hash = traced
		for _, total := range []int{64, 256, 320, 512, 1024} {
			var want []string
			for last := range 256 {
				size := total - scheme.suite.macLen - last - 1
				if size < 0 {
					break
				}
				for _, f := range []forgery{
					{payload: payloadOf(size), padding: paddingOf(last)},
					{payload: payloadOf(size), padding: paddingOf(last), mac: func(mac []byte) { mac[0]++ }},
					{payload: payloadOf(size), padding: append(make([]byte, last), byte(last))},
				} {
					traced.trace = nil
					hc.seq = 0
					hc.open(typeData, 0x0303, scheme.forge(f)) // whatever the verdict
					if want == nil {
						want = traced.trace
					}
					if !slices.Equal(traced.trace, want) {
						t.Fatalf("%v, %d bytes, padding length %d: %q, want %q", scheme, total, last, traced.trace, want)
					}
				}
			}
			if len(want) == 0 {
				t.Fatalf("%v, %d bytes: nothing was hashed", scheme, total)
			}
		}
	}
}

// TestSecretLengthIsCompared shows that a sum over the wrong number of bytes
// is no match, so that the tests above can fail.
func TestSecretLengthIsCompared(t *testing.T) {
	for _, scheme := range paddedSchemes() {
		mac := newSecretLengthMAC(scheme.suite.mac, scheme.mac)
		payload, bounds := make([]byte, 400), boundsFor(400, scheme.suite.macLen)
		var header macHeader
		first := slices.Clone(mac.sum(&header, payload, bounds.min, bounds))
		for n := bounds.min + 1; n <= bounds.max; n++ {
			if subtle.ConstantTimeCompare(first, mac.sum(&header, payload, n, bounds)) == 1 {
				t.Fatalf("%v: the MACs of %d and %d zeros are the same", scheme, bounds.min, n)
			}
		}
	}
}
