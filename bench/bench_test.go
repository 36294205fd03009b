package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy"
	"github.com/suitegate/suitegate/proxy/metrics"
)

// keyPair is a certificate in both of the forms that are needed here.
type keyPair struct {
	certificate       tls.Certificate
	certFile, keyFile string
}

// newKeyPair issues a certificate for "localhost" that is its own root.
func newKeyPair(tb testing.TB, dir, name string) keyPair {
	tb.Helper()
	var key, public any
	if name == "rsa" {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			tb.Fatal(err)
		}
		key, public = k, &k.PublicKey
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		key, public = k, &k.PublicKey
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		tb.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	pair := keyPair{certFile: filepath.Join(dir, name+".crt"), keyFile: filepath.Join(dir, name+".key")}
	for file, block := range map[string]*pem.Block{
		pair.certFile: {Type: "CERTIFICATE", Bytes: der}, pair.keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	if pair.certificate, err = tls.LoadX509KeyPair(pair.certFile, pair.keyFile); err != nil {
		tb.Fatal(err)
	}
	return pair
}

// world is what every benchmark needs: both kinds of certificates, a broker,
// and a client that trusts them.
type world struct {
	rsa, ecdsa keyPair
	broker     string
	roots      *x509.CertPool
}

func newWorld(tb testing.TB, serve func(net.Conn)) *world {
	tb.Helper()
	dir := tb.TempDir()
	w := &world{rsa: newKeyPair(tb, dir, "rsa"), ecdsa: newKeyPair(tb, dir, "ecdsa"), roots: x509.NewCertPool()}
	w.roots.AddCert(w.rsa.certificate.Leaf)
	w.roots.AddCert(w.ecdsa.certificate.Leaf)
	w.broker = listen(tb, serve)
	return w
}

// listen serves every connection of a loopback listener until tb ends.
func listen(tb testing.TB, serve func(net.Conn)) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				serve(conn)
			})
		}
	})
	tb.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// gateway starts suitegate with the given certificates and returns its address.
func (w *world) gateway(tb testing.TB, policy string, pairs ...keyPair) string {
	tb.Helper()
	yaml := fmt.Sprintf("storage: %s\nupstreams: {broker: {nodes: [%q]}}\ncertificates:\n", tb.TempDir(), w.broker)
	for i, p := range pairs {
		yaml += fmt.Sprintf("  - {name: c%d, files: {certificate: %q, key: %q}}\n", i, p.certFile, p.keyFile)
	}
	yaml += "listeners:\n  - {name: bench, address: \"127.0.0.1:0\", protocol: tcp, policy: " + policy + ", upstream: broker}\n"
	config, err := configs.Parse(filepath.Join(tb.TempDir(), "bench.yml"), []byte(yaml))
	if err != nil {
		tb.Fatal(err)
	}
	// The log is written, to nowhere: its line is part of what a connection costs.
	server := &proxy.Server{Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Metrics: metrics.New()}
	if err := server.Apply(config); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { server.Close() })
	return server.Address("bench").String()
}

// peer starts the smallest proxy that crypto/tls allows.
func (w *world) peer(tb testing.TB, pairs ...keyPair) string {
	tb.Helper()
	config := &tls.Config{CipherSuites: []uint16{ // as the policy activemq, as far as crypto/tls has it
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	}}
	for _, p := range pairs {
		config.Certificates = append(config.Certificates, p.certificate)
	}
	return listen(tb, func(conn net.Conn) {
		client := tls.Server(conn, config)
		if client.Handshake() != nil {
			return // the benchmark's own client tells
		}
		backend, err := net.Dial("tcp", w.broker)
		if err != nil {
			return // likewise
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(backend, client)
			_ = backend.(*net.TCPConn).CloseWrite()
		})
		_, _ = io.Copy(client, backend)
		_ = client.CloseWrite()
		wg.Wait()
		_ = backend.Close()
		_ = client.Close()
	})
}

func (w *world) client(version, suite uint16) *tls.Config {
	config := &tls.Config{RootCAs: w.roots, ServerName: "localhost", MinVersion: version, MaxVersion: version}
	if version == tls.VersionTLS12 {
		config.CipherSuites = []uint16{suite}
	}
	return config
}

// eachProxy runs a benchmark against the gateway and against the peer.
func (w *world) eachProxy(b *testing.B, pairs []keyPair, run func(b *testing.B, address string)) {
	b.Run("proxy=suitegate", func(b *testing.B) { run(b, w.gateway(b, "activemq", pairs...)) })
	b.Run("proxy=crypto-tls", func(b *testing.B) { run(b, w.peer(b, pairs...)) })
}

// BenchmarkHandshake is connect, handshake, backend dial, one byte there and
// back, close.
func BenchmarkHandshake(b *testing.B) {
	w := newWorld(b, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	for _, bb := range []struct {
		name    string
		version uint16
		suite   uint16
		pairs   []keyPair
		resumed bool
	}{
		{"TLS12-ECDHE-RSA-AES256-GCM", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, []keyPair{w.rsa}, false},
		{"TLS12-ECDHE-RSA-AES256-CBC", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, []keyPair{w.rsa}, false},
		{"TLS12-resumed", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, []keyPair{w.rsa}, true},
		{"TLS13-RSA", tls.VersionTLS13, 0, []keyPair{w.rsa}, false},
		{"TLS13-ECDSA", tls.VersionTLS13, 0, []keyPair{w.ecdsa, w.rsa}, false},
		{"TLS13-resumed", tls.VersionTLS13, 0, []keyPair{w.ecdsa, w.rsa}, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w.eachProxy(b, bb.pairs, func(b *testing.B, address string) {
				config := w.client(bb.version, bb.suite)
				if bb.resumed {
					config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
					touch(b, address, config)
				}
				b.ReportAllocs()
				for b.Loop() {
					if state := touch(b, address, config); state.DidResume != bb.resumed {
						b.Fatalf("resumed: %v", state.DidResume)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
			})
		})
	}
}

// touch is one whole connection that carries a byte each way.
func touch(b *testing.B, address string, config *tls.Config) tls.ConnectionState {
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{1}); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	return conn.ConnectionState()
}

// BenchmarkRelay is bytes a second in one direction of one connection.
func BenchmarkRelay(b *testing.B) {
	const chunk = 64 << 10
	payload := make([]byte, chunk)
	source := newWorld(b, func(conn net.Conn) {
		for {
			if _, err := conn.Write(payload); err != nil {
				return // the client has enough
			}
		}
	})
	sink := newWorld(b, func(conn net.Conn) {
		n, _ := io.Copy(io.Discard, conn)
		_, _ = fmt.Fprintln(conn, n)
	})
	for _, bb := range []struct {
		name    string
		version uint16
		suite   uint16
	}{
		{"TLS13-AES256-GCM", tls.VersionTLS13, 0},
		{"TLS12-ECDHE-RSA-AES256-CBC-SHA", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA},
	} {
		b.Run("to-client/"+bb.name, func(b *testing.B) {
			source.eachProxy(b, []keyPair{source.rsa}, func(b *testing.B, address string) {
				conn := dial(b, address, source.client(bb.version, bb.suite))
				buffer := make([]byte, chunk)
				b.SetBytes(chunk)
				for b.Loop() {
					if _, err := io.ReadFull(conn, buffer); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
		b.Run("to-broker/"+bb.name, func(b *testing.B) {
			sink.eachProxy(b, []keyPair{sink.rsa}, func(b *testing.B, address string) {
				conn := dial(b, address, sink.client(bb.version, bb.suite))
				b.SetBytes(chunk)
				sent := 0
				for b.Loop() {
					n, err := conn.Write(payload)
					if err != nil {
						b.Fatal(err)
					}
					sent += n
				}
				// The broker's count closes the measurement: all has arrived.
				_ = conn.CloseWrite()
				var arrived int
				if _, err := fmt.Fscan(conn, &arrived); err != nil || arrived != sent {
					b.Fatalf("%d bytes of %d arrived, %v", arrived, sent, err)
				}
			})
		})
	}
}

func dial(b *testing.B, address string, config *tls.Config) *tls.Conn {
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return conn
}
