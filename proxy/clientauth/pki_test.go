package clientauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// today is when every test takes place.
var today = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

// An entity is a certificate with its key and those that issued it.
type entity struct {
	*x509.Certificate
	key    *ecdsa.PrivateKey
	issuer *entity // nil for a root
}

// serials are unique in the process.
var serials int64 = 0x1000

// newEntity issues a certificate; nil issues itself one.
func newEntity(t testing.TB, issuer *entity, subject pkix.Name, change func(*x509.Certificate)) *entity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serials++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials), Subject: subject,
		NotBefore: today.AddDate(0, -1, 0), NotAfter: today.AddDate(0, 1, 0),
	}
	change(template)
	by := &entity{Certificate: template, key: key}
	if issuer != nil {
		by = issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.Certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &entity{certificate, key, issuer}
}

func newAuthority(t testing.TB, issuer *entity, name string, changes ...func(*x509.Certificate)) *entity {
	t.Helper()
	return newEntity(t, issuer, pkix.Name{CommonName: name, Organization: []string{"Example"}}, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		for _, change := range changes {
			change(c)
		}
	})
}

// client issues a certificate that has every kind of name.
func (e *entity) client(t testing.TB, name string, changes ...func(*x509.Certificate)) *entity {
	t.Helper()
	return newEntity(t, e, pkix.Name{CommonName: name, OrganizationalUnit: []string{"sensors"}, Organization: []string{"Example"}}, func(c *x509.Certificate) {
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		c.DNSNames, c.EmailAddresses = []string{name + ".example"}, []string{name + "@example.com"}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example", Path: "/sensor/" + name}}
		for _, change := range changes {
			change(c)
		}
	})
}

// chain is what a client sends: all but the root.
func (e *entity) chain() []*x509.Certificate {
	var chain []*x509.Certificate
	for ; e.issuer != nil; e = e.issuer {
		chain = append(chain, e.Certificate)
	}
	return chain
}

// crl signs a CRL that was current for a week.
func (e *entity) crl(t testing.TB, change func(*x509.RevocationList), revoked ...*entity) []byte {
	t.Helper()
	serials++
	template := &x509.RevocationList{Number: big.NewInt(serials), ThisUpdate: today.AddDate(0, 0, -1), NextUpdate: today.AddDate(0, 0, 6)}
	for _, r := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: today.AddDate(0, 0, -2), ReasonCode: 1})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, e.Certificate, e.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemOf(kind string, ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return out
}

// writeFile writes a file in a way that Refresh sees: with another time than
// any before, whatever the clock's resolution.
func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	serials++
	stamp := today.Add(time.Duration(serials) * time.Second)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	return path
}

func bundleFile(t testing.TB, authorities ...*entity) string {
	t.Helper()
	var ders [][]byte
	for _, a := range authorities {
		ders = append(ders, a.Raw)
	}
	return writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), pemOf("CERTIFICATE", ders...))
}

func crlFile(t testing.TB, ders ...[]byte) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "ca.crl"), pemOf("X509 CRL", ders...))
}

// open opens settings as they would be on that day.
func open(t testing.TB, s Settings) *Verifier {
	t.Helper()
	if s.Time == nil {
		s.Time = func() time.Time { return today }
	}
	v, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// crossSign issues an authority a second certificate.
func crossSign(t testing.TB, authority, issuer *entity) *x509.Certificate {
	t.Helper()
	serials++
	template := *authority.Certificate
	template.SerialNumber = big.NewInt(serials)
	template.AuthorityKeyId = nil
	der, err := x509.CreateCertificate(rand.Reader, &template, issuer.Certificate, &authority.key.PublicKey, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
