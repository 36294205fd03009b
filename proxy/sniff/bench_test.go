package sniff

import (
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
)

func BenchmarkRead(b *testing.B) {
	for _, bench := range []struct{ name, sent string }{
		{"mqtt", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"},
		{"websocket", upgrade("Sec-WebSocket-Protocol: mqtt")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Read(strings.NewReader(bench.sent), Any); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	// The most that a client can make of the cap: each byte is judged anew.
	b.Run("largest header byte by byte", func(b *testing.B) {
		sent := []byte("GET / HTTP/1.1\r\n" + strings.Repeat("a:b\r\n", maxHeader))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Read(iotest.OneByteReader(bytes.NewReader(sent)), Any); err == nil {
				b.Fatal("let in")
			}
		}
	})
}
