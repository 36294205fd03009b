package tlsconn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testPKI() // now, and not when it is the time of some synctest bubble
	goleak.VerifyTestMain(m)
}

// pki is an authority, which clients and servers trust, and what it has signed.
type pki struct {
	roots  *x509.CertPool
	ca     *x509.Certificate
	key    crypto.Signer
	server *tls.Certificate // RSA-2048, for gate.test
	small  *tls.Certificate // RSA-1024, likewise: for tests with thousands of handshakes

	serverECDSA, serverEd25519 *tls.Certificate // for TLS 1.3

	clientRSA, clientECDSA, clientEd25519 *tls.Certificate
}

var testPKI = sync.OnceValue(func() *pki {
	p := newAuthority()
	p.server = p.issue(mustRSA(2048), "gate.test", x509.ExtKeyUsageServerAuth)
	p.small = p.issue(mustRSA(1024), "gate.test", x509.ExtKeyUsageServerAuth)
	p.clientRSA = p.issue(mustRSA(2048), "rsa client", x509.ExtKeyUsageClientAuth)
	p.clientECDSA = p.issue(mustECDSA(), "ecdsa client", x509.ExtKeyUsageClientAuth)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	p.serverECDSA = p.issue(mustECDSA(), "gate.test", x509.ExtKeyUsageServerAuth)
	p.serverEd25519 = p.issue(ed, "gate.test", x509.ExtKeyUsageServerAuth)
	p.clientEd25519 = p.issue(ed, "ed25519 client", x509.ExtKeyUsageClientAuth)
	return p
})

// newAuthority returns an authority that nobody trusts yet.
func newAuthority() *pki {
	p := &pki{roots: x509.NewCertPool(), key: mustECDSA()}
	template := certificateTemplate("authority")
	template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	must(err)
	p.ca, err = x509.ParseCertificate(der)
	must(err)
	p.roots.AddCert(p.ca)
	return p
}

func certificateTemplate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, BasicConstraintsValid: true,
	}
}

func (p *pki) issue(key crypto.Signer, name string, usage x509.ExtKeyUsage, changes ...func(*x509.Certificate)) *tls.Certificate {
	template := certificateTemplate(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	for _, change := range changes {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, key.Public(), p.key)
	must(err)
	leaf, err := x509.ParseCertificate(der)
	must(err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func mustRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	must(err)
	return key
}

func mustECDSA() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// clientScheme is what a client's key signs CertificateVerify with.
func clientScheme(key crypto.PrivateKey) tls.SignatureScheme {
	switch key.(type) {
	case *rsa.PrivateKey:
		return tls.PSSWithSHA256
	case *ecdsa.PrivateKey:
		return tls.ECDSAWithP256AndSHA256
	}
	return tls.Ed25519
}

// testConfig is a server's configuration with tickets, and with a short key.
func testConfig() *Config {
	return &Config{Certificates: []tls.Certificate{*testPKI().small}, Tickets: testTickets(1)}
}

func testTickets(keys ...byte) *TicketKeys {
	t := new(TicketKeys)
	var list [][32]byte
	for _, key := range keys {
		list = append(list, [32]byte{key})
	}
	t.Set(list)
	return t
}
