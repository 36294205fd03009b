package load

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/suitegate/suitegate/policy"
)

func TestMain(m *testing.M) {
	stompBroker()
	testPKI() // now, and not when it is the time of some synctest bubble
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

type pki struct {
	roots  *x509.CertPool
	server tls.Certificate // RSA, for "localhost"
	client tls.Certificate // ECDSA
}

var testPKI = sync.OnceValue(func() *pki {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	clientKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	p := &pki{roots: x509.NewCertPool()}
	p.server = selfSigned(&key.PublicKey, key)
	p.client = selfSigned(&clientKey.PublicKey, clientKey)
	p.roots.AddCert(p.server.Leaf)
	p.roots.AddCert(p.client.Leaf)
	return p
})

func selfSigned(public, private any) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-100 * 365 * 24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour), // and in synctest's year 2000
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}
}

// listen serves every connection of a loopback listener until t ends.
func listen(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
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
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// standardServer is crypto/tls's server with what a test changes.
func standardServer(change func(*tls.Config)) *tls.Config {
	config := &tls.Config{Certificates: []tls.Certificate{testPKI().server}}
	if change != nil {
		change(config)
	}
	return config
}

// listenTLS is a TLS server in front of a backend.
func listenTLS(t testing.TB, config *tls.Config) (address string) {
	t.Helper()
	return listen(t, func(below net.Conn) {
		conn := tls.Server(below, config)
		if conn.Handshake() != nil {
			return // the test's client tells
		}
		serveBackend(conn)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
}

func target(address string) Target {
	return Target{Address: address, ServerName: "localhost", RootCAs: testPKI().roots}
}

func suite(t testing.TB, name string) policy.Suite {
	t.Helper()
	s, err := policy.ParseSuite(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// noErrors fails a test whose connections did.
func noErrors(t testing.TB, errors []ErrorCount) {
	t.Helper()
	for _, e := range errors {
		t.Errorf("%d connections failed: %s: %s", e.Count, e.Cause, e.Example)
	}
}
