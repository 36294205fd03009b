package tlsconn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"fmt"
	"hash"
	"testing"
	"time"
)

// bareCipher does the least that a record's protection can: one call of the
// standard library's AES-CBC and HMAC each, or of its AES-GCM, over as many
// bytes. It is what the record layer is measured against.
type bareCipher struct {
	mac     hash.Hash
	mode    cipher.BlockMode
	aead    cipher.AEAD
	sum     []byte
	nonce   []byte
	scratch []byte
}

func newBareCipher(b *testing.B, scheme recordScheme, write bool) *bareCipher {
	block, err := aes.NewCipher(scheme.key)
	if err != nil {
		b.Fatal(err)
	}
	bare := &bareCipher{sum: make([]byte, 0, maxMACLen), nonce: make([]byte, 12), scratch: make([]byte, maxCiphertext)}
	iv := make([]byte, aes.BlockSize)
	switch {
	case !scheme.suite.isCBC():
		if bare.aead, err = cipher.NewGCM(block); err != nil {
			b.Fatal(err)
		}
		return bare
	case write:
		bare.mode = cipher.NewCBCEncrypter(block, iv)
	default:
		bare.mode = cipher.NewCBCDecrypter(block, iv)
	}
	bare.mac = hmac.New(scheme.suite.mac.New, scheme.mac)
	return bare
}

// run takes the payload's length and what CBC encrypts of a record. sealed is
// what AES-GCM opens, none to seal.
func (c *bareCipher) run(payload []byte, encrypted int, sealed []byte) {
	switch {
	case c.aead != nil && sealed != nil:
		if _, err := c.aead.Open(sealed[:0], c.nonce, sealed, nil); err != nil {
			panic(err)
		}
	case c.aead != nil:
		c.aead.Seal(c.scratch[:0], c.nonce, payload, nil)
	default:
		c.mac.Reset()
		c.mac.Write(payload)
		c.sum = c.mac.Sum(c.sum[:0])
		c.mode.CryptBlocks(c.scratch[:encrypted], c.scratch[:encrypted])
	}
}

var recordBenchSizes = []int{64, 1024, maxPlaintext}

// BenchmarkSeal and BenchmarkOpen report beside each time its ratio to that of
// the bare cipher, x-bare. Both run in turns, and the fastest turn of each
// counts: what else the machine does can only slow them.
func BenchmarkSeal(b *testing.B) {
	benchmarkRecords(b, func(b *testing.B, scheme recordScheme, payload []byte) (ours, bare func()) {
		sealer, bareSealer := scheme.sealer(), newBareCipher(b, scheme, true)
		buffer := make([]byte, 0, sealer.maxSealed(len(payload)))
		encrypted := encryptedLen(sealer.seal(buffer, typeData, payload), scheme)
		return func() { sealer.seal(buffer, typeData, payload) },
			func() { bareSealer.run(payload, encrypted, nil) }
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmarkRecords(b, func(b *testing.B, scheme recordScheme, payload []byte) (ours, bare func()) {
		opener, bareOpener := scheme.opener(), newBareCipher(b, scheme, false)
		record := scheme.sealer().seal(nil, typeData, payload)
		encrypted := encryptedLen(record, scheme)
		fragment := make([]byte, len(record)-recordHeaderLen)
		var sealed, opened []byte
		if bareOpener.aead != nil {
			sealed = bareOpener.aead.Seal(nil, bareOpener.nonce, payload, nil)
			opened = make([]byte, len(sealed))
		}
		return func() {
				copy(fragment, record[recordHeaderLen:])
				opener.seq = 0
				if _, err := opener.open(typeData, 0x0303, fragment); err != nil {
					b.Fatal(err)
				}
			}, func() {
				// As many bytes to copy, for both open in place.
				if bareOpener.aead != nil {
					copy(opened, sealed)
				} else {
					copy(bareOpener.scratch, record[recordHeaderLen:])
				}
				bareOpener.run(payload, encrypted, opened)
			}
	})
}

// encryptedLen returns how much of a CBC record is encrypted.
func encryptedLen(record []byte, scheme recordScheme) int {
	n := len(record) - recordHeaderLen - aes.BlockSize
	if scheme.encryptThenMAC {
		n -= scheme.suite.macLen
	}
	return n
}

func benchmarkRecords(b *testing.B, prepare func(*testing.B, recordScheme, []byte) (ours, bare func())) {
	for _, scheme := range recordSchemes() {
		for _, size := range recordBenchSizes {
			b.Run(fmt.Sprintf("%v/%d", scheme, size), func(b *testing.B) {
				ours, bare := prepare(b, scheme, make([]byte, size))
				batch := maxPlaintext / size // so that reading clocks costs little
				clock := func(f func()) time.Duration {
					start := time.Now()
					for range batch {
						f()
					}
					return time.Since(start)
				}
				b.ReportAllocs()
				oursTime, bareTime := time.Hour, time.Hour
				for b.Loop() {
					oursTime = min(oursTime, clock(ours))
					bareTime = min(bareTime, clock(bare))
				}
				b.ReportMetric(float64(oursTime.Nanoseconds())/float64(batch), "ns/op")
				b.ReportMetric(float64(size*batch)/1e6/oursTime.Seconds(), "MB/s")
				b.ReportMetric(oursTime.Seconds()/bareTime.Seconds(), "x-bare")
			})
		}
	}
}
