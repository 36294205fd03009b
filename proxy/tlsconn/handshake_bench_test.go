package tlsconn

import (
	"crypto/tls"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkHandshake measures the server's part of handshakes, with an RSA-2048
// certificate: server-µs/op. The client's work, which is in ns/op too, is of no
// interest.
func BenchmarkHandshake(b *testing.B) {
	config := testConfig()
	config.Certificates = []tls.Certificate{*testPKI().server}
	for _, resumed := range []bool{false, true} {
		for _, id := range []uint16{0x009F, 0x006B, 0xC028, 0x003D} {
			b.Run(fmt.Sprintf("%s resumed=%v", names[id].openssl, resumed), func(b *testing.B) {
				var kept *clientSession
				if resumed {
					c := newClient(b, config)
					c.hello.suites = []uint16{id}
					c.mustHandshake()
					kept = c.kept()
				}
				var spent time.Duration
				for b.Loop() {
					c := newClient(b, config)
					c.hello.suites, c.session = []uint16{id}, kept
					c.spent = &spent
					c.mustHandshake()
				}
				b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "server-µs/op")
			})
		}
	}
}

// BenchmarkHandshake13 is BenchmarkHandshake for TLS 1.3, with a P-256 certificate.
func BenchmarkHandshake13(b *testing.B) {
	config := testConfig13()
	config.CurvePreferences = []tls.CurveID{tls.X25519}
	for _, resumed := range []bool{false, true} {
		for _, suite := range suites13[:2] {
			b.Run(fmt.Sprintf("%04X resumed=%v", suite.id, resumed), func(b *testing.B) {
				var kept *session13
				if resumed {
					c := newClient13(b, config)
					c.hello.suites = []uint16{suite.id}
					c.mustHandshake()
					kept = c.ticket
				}
				var spent time.Duration
				for b.Loop() {
					c := newClient13(b, config)
					c.hello.suites, c.session = []uint16{suite.id}, kept
					c.spent = &spent
					c.mustHandshake()
					if c.resumed != resumed {
						b.Fatal("resumed: ", c.resumed)
					}
				}
				b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(b.N), "server-µs/op")
			})
		}
	}
}

// BenchmarkIdle measures what a connection holds while it idles: B/conn.
func BenchmarkIdle(b *testing.B) {
	for _, id := range []uint16{0x009F, 0x006B, 0xC028} {
		b.Run(names[id].openssl, func(b *testing.B) {
			config := testConfig()
			var servers []*Conn
			before := heap()
			for b.Loop() {
				c := newClient(b, config)
				c.hello.suites = []uint16{id}
				c.mustHandshake()
				c.exchange()
				c.server.below = nil // the client's side
				servers = append(servers, c.server)
			}
			b.ReportMetric(float64(heap()-before)/float64(len(servers)), "B/conn")
		})
	}
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools still held after the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
