package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/suitegate/suitegate/proxy/tlsconn/ffdhe"
)

// Kinds of certificates.
const (
	rsaKey  = "rsa"
	p256Key = "p256"
)

// A fixture is a certificate as the gateways want it: in two files, and in one
// with the parameters of ffdhe2048.
type fixture struct {
	certificate, key, bundle string // paths
	leaf                     *x509.Certificate
}

// fixtures are what all gateways share.
type fixtures struct {
	byKey  map[string]fixture
	params string // the file of ffdhe2048's parameters
	roots  *x509.CertPool
}

func newFixtures(dir string) (*fixtures, error) {
	params, err := dhParameters()
	if err != nil {
		return nil, err
	}
	f := &fixtures{byKey: make(map[string]fixture), params: filepath.Join(dir, "ffdhe2048.pem"), roots: x509.NewCertPool()}
	if err := os.WriteFile(f.params, params, 0o600); err != nil {
		return nil, err
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	for name, key := range map[string]crypto.Signer{rsaKey: rsa2048, p256Key: p256} {
		if f.byKey[name], err = newFixture(dir, name, key, params); err != nil {
			return nil, err
		}
		f.roots.AddCert(f.byKey[name].leaf)
	}
	return f, nil
}

// newFixture issues a certificate for loopback that is its own root.
func newFixture(dir, name string, key crypto.Signer, params []byte) (fixture, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fixture{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fixture{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fixture{}, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	path := func(kind string) string { return filepath.Join(dir, name+kind) }
	f := fixture{certificate: path(".crt"), key: path(".key"), bundle: path(".pem"), leaf: leaf}
	for file, content := range map[string][]byte{
		f.certificate: certificate, f.key: private, f.bundle: bytes.Join([][]byte{certificate, private, params}, nil),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return fixture{}, err
		}
	}
	return f, nil
}

// dhParameters are those of ffdhe2048 (RFC 7919 appendix A.1), in the form of
// PKCS #3, so that all gateways exchange keys in the same group.
func dhParameters() ([]byte, error) {
	key, err := ffdhe.GenerateKey(ffdhe.FFDHE2048)
	if err != nil {
		return nil, err
	}
	p, g := key.Parameters()
	der, err := asn1.Marshal(struct{ P, G *big.Int }{new(big.Int).SetBytes(p), new(big.Int).SetBytes(g)})
	if err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: der}), nil
}
