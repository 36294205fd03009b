package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// warmStorage is a storage directory in which a root and the leaves for the
// default names have been made. Tests work on copies of it, since an RSA key
// of 3072 bits takes its time.
var warmStorage = sync.OnceValue(func() error {
	s, err := Open(context.Background(), Config{Storage: warmDir, Sources: []Source{{Name: "self", SelfSigned: &SelfSigned{}}}})
	if err != nil {
		return err
	}
	return s.Close()
})

var warmDir string // made by TestMain

func TestMain(m *testing.M) {
	var err error
	if warmDir, err = os.MkdirTemp("", "certs"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// A client of Redis that could not connect looks once a second whether it
		// was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.Cleanup(func(code int) {
			os.RemoveAll(warmDir)
			os.Exit(code)
		}))
}

// copyStorage returns a fresh copy of warmStorage.
func copyStorage(t testing.TB) string {
	t.Helper()
	if err := warmStorage(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "storage")
	if err := os.CopyFS(dir, os.DirFS(warmDir)); err != nil {
		t.Fatal(err)
	}
	for _, secret := range secretDirs { // CopyFS takes no modes over
		if err := os.Chmod(filepath.Join(dir, secret), 0o700); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return dir
}

// open opens a store for the length of a test.
func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var rsa2048 = sync.OnceValue(func() *rsa.PrivateKey { return newRSA(2048) })

func newRSA(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func newECDSA(curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// certOptions change the certificate that issue makes.
type certOptions func(*x509.Certificate)

// issue returns a certificate signed by itself, as DER.
func issue(t testing.TB, key crypto.Signer, names []string, options ...certOptions) []byte {
	t.Helper()
	return issueBy(t, nil, key, key, names, options...)
}

// issueBy returns a certificate signed by an issuer, as DER: by itself if that
// is nil.
func issueBy(t testing.TB, issuer []byte, issuerKey, key crypto.Signer, names []string, options ...certOptions) []byte {
	t.Helper()
	template := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(100 * time.Hour),
		Subject:   pkix.Name{Organization: []string{"test"}},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	for _, option := range options {
		option(template)
	}
	parent := template
	if issuer != nil {
		var err error
		if parent, err = x509.ParseCertificate(issuer); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func certPEM(ders ...[]byte) string {
	var b strings.Builder
	for _, der := range ders {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.String()
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// write puts a file into a directory of the test and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fileSource returns a source of files for a key and names.
func sourceOfFiles(t testing.TB, source string, key crypto.Signer, names ...string) Source {
	t.Helper()
	return Source{Name: source, Files: &Files{
		Certificate: write(t, "tls.crt", certPEM(issue(t, key, names))),
		Key:         write(t, "tls.key", keyPEM(t, key)),
	}}
}

// logBuffer collects log lines of every level without their times.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// take returns what was logged, and forgets it.
func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func (l *logBuffer) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// sourceErrors takes a joined error apart, as callers do.
func sourceErrors(t testing.TB, err error) []*SourceError {
	t.Helper()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*SourceError
		for _, err := range joined.Unwrap() {
			se, ok := err.(*SourceError)
			if !ok {
				t.Fatalf("%v is a %T, not a *SourceError", err, err)
			}
			all = append(all, se)
		}
		return all
	}
	t.Fatalf("%v is a %T, not a joined error", err, err)
	return nil
}
