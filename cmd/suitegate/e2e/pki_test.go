package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// authority is a certificate authority of the tests' own, with what it issued
// for the gateway: "rsa" and "ecdsa" for localhost, and "other" for
// other.example and "wild" for *.wild.example, of RSA.
type authority struct {
	dir   string
	root  string // PEM file that clients trust
	pool  *x509.CertPool
	store func() (string, error) // the same for Java, made on first need

	cert *x509.Certificate
	key  crypto.Signer
}

const storePassword = "changeit"

// pki returns the authority of this run.
func pki(t *testing.T) *authority {
	t.Helper()
	a, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var newAuthority = sync.OnceValues(func() (*authority, error) {
	a := &authority{dir: filepath.Join(run.dir, "pki"), pool: x509.NewCertPool()}
	if err := os.Mkdir(a.dir, 0o700); err != nil {
		return nil, err
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "suitegate e2e root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if err := a.issue("root", root, rootKey, root, rootKey); err != nil {
		return nil, err
	}
	a.root = filepath.Join(a.dir, "root.crt")
	a.pool.AddCert(root)
	a.cert, a.key = root, rootKey

	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	for serial, certificate := range []struct {
		name, host string
		key        crypto.Signer
	}{{"rsa", "localhost", rsaKey}, {"ecdsa", "localhost", ecdsaKey}, {"other", "other.example", rsaKey}, {"wild", "*.wild.example", rsaKey}} {
		if err := a.leaf(certificate.name, certificate.host, int64(serial)+2, certificate.key); err != nil {
			return nil, err
		}
	}
	a.store = sync.OnceValues(a.javaStore)
	return a, nil
})

// files is an entry of the gateway's configuration.
func (a *authority) files(certificate, key string) certificateConfig {
	return certificateConfig{Name: certificate, Files: map[string]string{
		"certificate": filepath.Join(a.dir, certificate+".crt"),
		"key":         filepath.Join(a.dir, key+".key"),
	}}
}

// leaf writes NAME.crt and NAME.key for a host.
func (a *authority) leaf(name, host string, serial int64, key crypto.Signer) error {
	return a.issue(name, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, key, a.cert, a.key)
}

// issue signs template and writes name.crt and name.key. A template that is
// its own parent becomes a certificate that can be trusted.
func (a *authority) issue(name string, template *x509.Certificate, key crypto.Signer, parent *x509.Certificate, parentKey crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return err
	}
	if template == parent {
		signed, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		*template = *signed
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	file := filepath.Join(a.dir, name)
	return writeFiles(map[string]string{
		file + ".crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		file + ".key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	})
}

// javaStore makes a trust store for Java of the root.
func (a *authority) javaStore() (string, error) {
	store := filepath.Join(a.dir, "trust.p12")
	cmd := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "root", "-file", a.root,
		"-keystore", store, "-storetype", "PKCS12", "-storepass", storePassword)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("keytool: %w\n%s", err, out)
	}
	return store, nil
}

// javaProperties make a Java program trust the root.
func (a *authority) javaProperties(t *testing.T) []string {
	t.Helper()
	requireProgram(t, "java")
	requireProgram(t, "keytool")
	store, err := a.store()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=" + storePassword}
}

// client is a configuration of crypto/tls that speaks one version only.
func (a *authority) client(version uint16) *tls.Config {
	return &tls.Config{RootCAs: a.pool, ServerName: "localhost", MinVersion: version, MaxVersion: version}
}
