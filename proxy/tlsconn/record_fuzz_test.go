package tlsconn

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"slices"
	"testing"
)

// The fuzz targets give fragments to open, as they are or made to be decrypted
// to what the fuzzer chose, and expect the verdict of a plain implementation.

// plainOpen opens a CBC record as the RFCs say it, without a care for time.
func (s recordScheme) plainOpen(typ uint8, version uint16, fragment []byte) ([]byte, error) {
	verified := func(length int, content, mac []byte) bool {
		h := hmac.New(s.suite.mac.New, s.mac)
		h.Write([]byte{0, 0, 0, 0, 0, 0, 0, 0, typ, byte(version >> 8), byte(version), byte(length >> 8), byte(length)})
		h.Write(content)
		return bytes.Equal(h.Sum(nil), mac)
	}
	macLen := s.suite.macLen
	if len(fragment) > maxCiphertext {
		return nil, alertRecordOverflow
	}
	if s.encryptThenMAC {
		if len(fragment) < macLen {
			return nil, alertBadRecordMAC
		}
		var mac []byte
		fragment, mac = fragment[:len(fragment)-macLen], fragment[len(fragment)-macLen:]
		if !verified(len(fragment), fragment, mac) {
			return nil, alertBadRecordMAC
		}
		macLen = 0
	}
	if len(fragment) < 2*aes.BlockSize || len(fragment)%aes.BlockSize != 0 {
		return nil, alertBadRecordMAC
	}
	block, err := aes.NewCipher(s.key)
	if err != nil {
		return nil, err
	}
	content := make([]byte, len(fragment)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, fragment[:aes.BlockSize]).CryptBlocks(content, fragment[aes.BlockSize:])
	last := int(content[len(content)-1])
	if last+1+macLen > len(content) || !bytes.HasSuffix(content, paddingOf(last)) {
		return nil, alertBadRecordMAC
	}
	content = content[:len(content)-last-1]
	payload, mac := content[:len(content)-macLen], content[len(content)-macLen:]
	if macLen > 0 && !verified(len(payload), payload, mac) {
		return nil, alertBadRecordMAC
	}
	if len(payload) > maxPlaintext {
		return nil, alertRecordOverflow
	}
	return payload, nil
}

// roundTrip seals and opens a payload.
func roundTrip(t *testing.T, scheme recordScheme, typ uint8, payload []byte) {
	payload = payload[:min(len(payload), maxPlaintext)]
	record := scheme.sealer().seal(nil, typ, payload)
	got, err := scheme.opener().open(typ, recordVersion, record[recordHeaderLen:])
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("%v: round trip of %x: got %x, error %v", scheme, payload, got, err)
	}
}

func fuzzOpenCBC(f *testing.F, encryptThenMAC bool) {
	schemes := slices.DeleteFunc(cbcSchemes(), func(s recordScheme) bool { return s.encryptThenMAC != encryptThenMAC })
	for i, scheme := range schemes {
		record := scheme.sealer().seal(nil, typeData, []byte("payload"))
		f.Add(uint8(i), uint8(typeData), uint16(recordVersion), record[recordHeaderLen:], []byte("payload"), paddingOf(3))
		f.Add(uint8(i), uint8(22), uint16(0x0301), []byte{}, []byte{}, paddingOf(255))
		f.Add(uint8(i), uint8(typeData), uint16(recordVersion), make([]byte, 96), make([]byte, maxPlaintext+1), paddingOf(0))
	}
	f.Fuzz(func(t *testing.T, which, typ uint8, version uint16, fragment, content, padding []byte) {
		scheme := schemes[int(which)%len(schemes)]
		if len(content) > maxCiphertext || len(padding) > maxPadding {
			return
		}
		roundTrip(t, scheme, typ, content)

		// Content and padding with a right MAC, filled up to whole blocks with
		// more of the padding's last byte.
		taken := len(content) + len(padding)
		if !encryptThenMAC {
			taken += scheme.suite.macLen
		}
		fill := byte(0)
		if len(padding) > 0 {
			fill = padding[len(padding)-1]
		}
		padding = append(slices.Clone(padding), bytes.Repeat([]byte{fill}, aes.BlockSize-taken%aes.BlockSize)...)
		forged := scheme.forge(forgery{payload: content, padding: padding})
		// The same with the fuzzer's bytes where the MAC was.
		altered := scheme.forge(forgery{payload: content, padding: padding, mac: func(mac []byte) { copy(mac, fragment) }})

		judge := func(typ uint8, version uint16, fragment []byte) {
			want, wantErr := scheme.plainOpen(typ, version, fragment)
			got, err := scheme.opener().open(typ, version, slices.Clone(fragment))
			if err != wantErr || !bytes.Equal(got, want) {
				t.Fatalf("%v: open(%d, %04x, %x) = %x, error %v, want %x, error %v", scheme, typ, version, fragment, got, err, want, wantErr)
			}
		}
		judge(typ, version, fragment)
		judge(typeData, recordVersion, forged)
		judge(typeData, recordVersion, altered)
	})
}

func FuzzOpenMACThenEncrypt(f *testing.F) { fuzzOpenCBC(f, false) }
func FuzzOpenEncryptThenMAC(f *testing.F) { fuzzOpenCBC(f, true) }

func FuzzOpenGCM(f *testing.F) {
	schemes := slices.DeleteFunc(recordSchemes(), func(s recordScheme) bool { return s.suite.isCBC() || s.suite.chacha })
	for i, scheme := range schemes {
		record := scheme.sealer().seal(nil, typeData, []byte("payload"))
		f.Add(uint8(i), uint8(typeData), uint16(recordVersion), record[recordHeaderLen:])
	}
	f.Add(uint8(0), uint8(22), uint16(0x0301), []byte{})
	f.Fuzz(func(t *testing.T, which, typ uint8, version uint16, fragment []byte) {
		scheme := schemes[int(which)%len(schemes)]
		roundTrip(t, scheme, typ, fragment)

		var want []byte
		wantErr := error(alertBadRecordMAC)
		if len(fragment) > maxCiphertext {
			wantErr = alertRecordOverflow
		} else if sealed := len(fragment) - 8; sealed >= 16 {
			block, err := aes.NewCipher(scheme.key)
			if err != nil {
				t.Fatal(err)
			}
			aead, err := cipher.NewGCM(block)
			if err != nil {
				t.Fatal(err)
			}
			nonce := slices.Concat(scheme.iv, fragment[:8])
			n := sealed - 16
			header := []byte{0, 0, 0, 0, 0, 0, 0, 0, typ, byte(version >> 8), byte(version), byte(n >> 8), byte(n)}
			if payload, err := aead.Open(nil, nonce, fragment[8:], header); err == nil {
				want, wantErr = payload, nil
			}
			if len(want) > maxPlaintext {
				want, wantErr = nil, alertRecordOverflow
			}
		}
		got, err := scheme.opener().open(typ, version, slices.Clone(fragment))
		if err != wantErr || !bytes.Equal(got, want) {
			t.Fatalf("%v: open(%d, %04x, %x) = %x, error %v, want %x, error %v", scheme, typ, version, fragment, got, err, want, wantErr)
		}
	})
}
