package clienthello

import (
	"bytes"
	"testing"
)

func BenchmarkRead(b *testing.B) {
	for _, name := range []string{"openssl-tls12", "java-default", "go-default", "chromium-default"} {
		wire := recording(b, name)
		b.Run(name, func(b *testing.B) {
			benchmarkRead(b, wire)
		})
	}
	msg := messageOf(b, recording(b, "chromium-default"))
	b.Run("chromium-in-records-of-100", func(b *testing.B) {
		benchmarkRead(b, records(msg, 100))
	})
	b.Run("64KiB", func(b *testing.B) {
		benchmarkRead(b, records(sized(MaxSize), maxPlaintext))
	})
}

func benchmarkRead(b *testing.B, wire []byte) {
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	r := new(bytes.Reader)
	for b.Loop() {
		r.Reset(wire)
		if _, err := Read(r, MaxSize); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNotTLS(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(bytes.NewReader([]byte("AMQP\x00\x00\x09\x01")), MaxSize); err == nil {
			b.Fatal("accepted")
		}
	}
}
