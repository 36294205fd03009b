package relay

import (
	"crypto/tls"
	"fmt"
	"io"
	"testing"
)

// BenchmarkThroughput sends 1 MiB an operation through the relay, from the
// backend to the client and the other way.
func BenchmarkThroughput(b *testing.B) {
	config := tlsConfig(b)
	for _, secure := range []bool{false, true} {
		for _, direction := range []string{"to client", "to backend"} {
			for way, r := range relays(b) {
				b.Run(fmt.Sprintf("tls=%t/%s/%s", secure, direction, way), func(b *testing.B) {
					benchmarkThroughput(b, r, secure, direction == "to client", config)
				})
			}
		}
	}
}

func benchmarkThroughput(b *testing.B, r *Relay, secure, toClient bool, config *tls.Config) {
	var client, user Conn
	if secure {
		client, user, _ = tlsPairConns(b, config)
	} else {
		client, user = tcpPair(b)
	}
	backend, broker := tcpPair(b)
	ended := hand(r, client, backend)

	var from, to Conn = user, broker
	if toClient {
		from, to = broker, user
	}
	received := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, to)
		received <- n
	}()
	chunk := pattern(1 << 20)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := from.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	from.CloseWrite()
	if n := <-received; n != int64(b.N)<<20 {
		b.Fatalf("%d bytes arrived of %d", n, b.N<<20)
	}
	b.StopTimer()
	user.Close()
	broker.Close()
	await(b, ended)
}

// BenchmarkRoundTrip sends 256 bytes there and back: the latency that the
// relay adds to a small message, and what it allocates for one.
func BenchmarkRoundTrip(b *testing.B) {
	for way, r := range relays(b) {
		b.Run(way, func(b *testing.B) { benchmarkRoundTrip(b, r) })
	}
}

func benchmarkRoundTrip(b *testing.B, r *Relay) {
	config := tlsConfig(b)
	client, user, _ := tlsPairConns(b, config)
	backend, broker := tcpPair(b)
	ended := hand(r, client, backend)
	go func() {
		io.Copy(broker, broker)
		broker.Close()
	}()
	message, answer := pattern(256), make([]byte, 256)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := user.Write(message); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(user, answer); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	user.Close()
	await(b, ended)
}

// BenchmarkConnection hands over a connection and ends it.
func BenchmarkConnection(b *testing.B) {
	r := &Relay{}
	b.ReportAllocs()
	for range b.N {
		client, user := duplexPair()
		backend, broker := duplexPair()
		ended := hand(r, client, backend)
		user.Close()
		broker.Close()
		await(b, ended)
	}
}
