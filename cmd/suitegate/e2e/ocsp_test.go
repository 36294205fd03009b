package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// ocspAuthority issues certificates that name its OCSP responder.
type ocspAuthority struct {
	*authority
	root *x509.Certificate
	key  crypto.Signer
	down atomic.Bool
	url  string
}

func newOCSPAuthority(t *testing.T) *ocspAuthority {
	t.Helper()
	a := &ocspAuthority{authority: &authority{dir: t.TempDir()}}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.root = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "suitegate e2e OCSP root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if err := a.issue("root", a.root, key, a.root, key); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *ocspAuthority) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil || a.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	question, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := ocsp.CreateResponse(a.root, a.root, ocsp.Response{Status: ocsp.Good, SerialNumber: question.SerialNumber,
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}, a.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(answer)
}

// leaf issues a certificate for localhost, and returns its configuration.
func (a *ocspAuthority) leaf(t *testing.T, name string, serial int64, key crypto.Signer, mustStaple bool) certificateConfig {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: a.root.NotBefore, NotAfter: a.root.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, OCSPServer: []string{a.url}, IssuingCertificateURL: []string{a.url},
	}
	if mustStaple { // RFC 7633
		template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
	}
	if err := a.issue(name, template, key, a.root, a.key); err != nil {
		t.Fatal(err)
	}
	appendFile(t, filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, "root.crt"))
	return a.files(name, name)
}

// TestOCSP shows that OpenSSL gets a good OCSP response in each version, and
// that a certificate which must have one is not served without.
func TestOCSP(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := newOCSPAuthority(t)
	c := echoConfig(t)
	c.Upstreams["echo"] = upstreamConfig{Nodes: []string{stubBroker(t, echoLine)}}
	c.Certificates = []certificateConfig{a.leaf(t, "rsa", 2, key, false), a.leaf(t, "ecdsa", 3, ecKey, true)}
	g := startGateway(t, c)
	status := []string{"-status", "-CAfile", filepath.Join(a.dir, "root.crt"), "-servername", "localhost"}
	for name, options := range map[string][]string{
		"TLS 1.3":            {"-tls1_3"},
		"TLS 1.2 with ECDHE": {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"},
		"TLS 1.2 with CBC":   {"-tls1_2", "-cipher", "DHE-RSA-AES128-SHA256"},
	} {
		t.Run(name, func(t *testing.T) {
			wantOutput(t, sClient(t, g, "first", append(options, status...)...), "OCSP Response Status: successful", "Cert Status: good", greeting)
			g.connection(t)
		})
	}

	a.down.Store(true)
	c.Certificates = c.Certificates[1:]
	c.Policies = map[string]policyConfig{"modern": {TLS13: []string{"TLS_AES_128_GCM_SHA256"}}}
	c.Listeners = []listenerConfig{{Name: "first", Protocol: "tcp", Policy: "modern", Upstream: "echo"}}
	g = startGateway(t, c)
	wantOutput(t, sClient(t, g, "first", append(status, "-tls1_3")...), "SSL alert number 80")
	g.connection(t).want(t, record{"reason": "staple_missing", "alert": "internal_error"})
}

// appendFile puts the content of another file behind that of file.
func appendFile(t *testing.T, file, other string) {
	t.Helper()
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(first, second...), 0o600); err != nil {
		t.Fatal(err)
	}
}
