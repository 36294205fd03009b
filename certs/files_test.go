package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

func pemBlock(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestFilesOfEveryKind(t *testing.T) {
	p256, p384 := newECDSA(elliptic.P256()), newECDSA(elliptic.P384())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1 := func(key *ecdsa.PrivateKey) string {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		// As `openssl ecparam -genkey` writes it.
		return pemBlock("EC PARAMETERS", []byte{0x06, 0x01, 0x00}) + pemBlock("EC PRIVATE KEY", der)
	}
	for _, tt := range []struct {
		name string
		key  crypto.Signer
		pem  string
		want policy.KeyType
	}{
		{"RSA PKCS8", rsa2048(), keyPEM(t, rsa2048()), policy.RSA},
		{"RSA PKCS1", rsa2048(), pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048())), policy.RSA},
		{"P-256 PKCS8", p256, keyPEM(t, p256), policy.ECDSAP256},
		{"P-256 SEC1", p256, sec1(p256), policy.ECDSAP256},
		{"P-384 SEC1", p384, sec1(p384), policy.ECDSAP384},
		{"Ed25519", ed, keyPEM(t, ed), policy.Ed25519},
		{"wrong label", p256, strings.ReplaceAll(keyPEM(t, p256), "PRIVATE KEY", "EC PRIVATE KEY"), policy.ECDSAP256},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The certificate stands in the key's file too.
			files := Files{Key: write(t, "tls.pem", certPEM(issue(t, tt.key, []string{"a.example"}))+tt.pem)}
			files.Certificate = files.Key
			var log logBuffer
			s := open(t, Config{Sources: []Source{{Name: "x", Files: &files}}, Logger: log.logger(slog.LevelInfo)})
			got, err := s.Select([]string{"x"}, "a.example", tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if got.Source != "x" || got.Key != tt.want || got.Leaf.DNSNames[0] != "a.example" {
				t.Errorf("got %q, %v, %q", got.Source, got.Key, got.Leaf.DNSNames)
			}
			if !tt.key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got.PrivateKey.(crypto.Signer).Public()) {
				t.Error("another key")
			}
			if s.Root() != "" {
				t.Errorf("Root() = %q without self-signed sources", s.Root())
			}
			if log.String() != "" {
				t.Errorf("logged:\n%s", log.String())
			}
		})
	}
}

func TestFileErrors(t *testing.T) {
	p256, other := newECDSA(elliptic.P256()), newECDSA(elliptic.P256())
	p521, rsa1024 := newECDSA(elliptic.P521()), newRSA(1024)
	good, goodKey := certPEM(issue(t, p256, []string{"a.example"})), keyPEM(t, p256)
	const missing = "\x00" // no file at all
	for _, tt := range []struct {
		name      string
		cert, key string
		want      []string // Field: Err, with DIR for the directory
	}{
		{"both missing", missing, missing, []string{
			"files.certificate: open DIR/tls.crt: no such file or directory",
			"files.key: open DIR/tls.key: no such file or directory",
		}},
		{"empty", "", "", []string{"files.certificate: DIR/tls.crt: empty", "files.key: DIR/tls.key: empty"}},
		{"not PEM", "hello\n", "hello\n", []string{"files.certificate: DIR/tls.crt: not PEM", "files.key: DIR/tls.key: not PEM"}},
		{"DER", "\x30\x82\x01\x00", goodKey, []string{"files.certificate: DIR/tls.crt: not PEM but binary (DER or PKCS #12?)"}},
		{"too long", strings.Repeat("x", maxFile+1), goodKey, []string{"files.certificate: DIR/tls.crt: longer than 1048576 bytes"}},
		{"swapped", goodKey, good, []string{
			`files.certificate: DIR/tls.crt: no certificate in it, only "PRIVATE KEY"`,
			`files.key: DIR/tls.key: no private key in it, only "CERTIFICATE"`,
		}},
		{"malformed certificate", good + pemBlock("CERTIFICATE", []byte("junk")), goodKey, []string{
			"files.certificate: DIR/tls.crt: certificate 2: x509: malformed certificate",
		}},
		{"malformed key", good, pemBlock("PRIVATE KEY", []byte("junk")), []string{
			`files.key: DIR/tls.key: malformed key, or a type of key that is not supported, in "PRIVATE KEY"`,
		}},
		{"OpenSSH key", good, pemBlock("OPENSSH PRIVATE KEY", []byte("junk")), []string{
			`files.key: DIR/tls.key: "OPENSSH PRIVATE KEY" is not supported (PKCS #8, PKCS #1 and SEC 1 are)`,
		}},
		{"encrypted PKCS8", good, pemBlock("ENCRYPTED PRIVATE KEY", []byte("junk")), []string{
			"files.key: DIR/tls.key: the key is encrypted, and the configuration has neither password_file nor password_env",
		}},
		{"encrypted PKCS1", good, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nanVuaw==\n-----END RSA PRIVATE KEY-----\n", []string{
			"files.key: DIR/tls.key: the key is encrypted, and the configuration has neither password_file nor password_env",
		}},
		{"key of another certificate", good, keyPEM(t, other), []string{
			"files.key: DIR/tls.key: the key does not match the certificate: it is ECDSA P-256 " + fingerprint(other.Public()) +
				", the certificate's is ECDSA P-256 " + fingerprint(p256.Public()),
		}},
		{"key of another type", good, keyPEM(t, rsa2048()), []string{
			"files.key: DIR/tls.key: the key does not match the certificate: it is RSA 2048 " + fingerprint(rsa2048().Public()) +
				", the certificate's is ECDSA P-256 " + fingerprint(p256.Public()),
		}},
		{"leaf not first", certPEM(issue(t, other, []string{"ca"}), issue(t, p256, []string{"a.example"})), goodKey, []string{
			"files.key: DIR/tls.key: the key is that of certificate 2 in the chain: the server's certificate must come first",
		}},
		{"short RSA key", certPEM(issue(t, rsa1024, []string{"a.example"})), keyPEM(t, rsa1024), []string{
			"files.certificate: DIR/tls.crt: the RSA key has 1024 bits, and clients refuse less than 2048",
		}},
		{"P-521", certPEM(issue(t, p521, []string{"a.example"})), keyPEM(t, p521), []string{
			"files.certificate: DIR/tls.crt: ECDSA P-521 key is not supported (RSA, ECDSA P-256, ECDSA P-384 and Ed25519 are)",
		}},
		{"no name", certPEM(issue(t, p256, nil)), goodKey, []string{
			"files.certificate: DIR/tls.crt: the certificate has no name, neither alternative nor common",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			files := Files{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
			for path, content := range map[string]string{files.Certificate: tt.cert, files.Key: tt.key} {
				if content == missing {
					continue
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(t.Context(), Config{Sources: []Source{{Name: "x", Files: &files}}})
			if err == nil {
				s.Close()
				t.Fatal("no error")
			}
			var got []string
			for _, se := range sourceErrors(t, err) {
				if se.Source != "x" {
					t.Errorf("source %q", se.Source)
				}
				got = append(got, strings.ReplaceAll(se.Field+": "+se.Err.Error(), dir, "DIR"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// All sources are judged, whatever the first has.
func TestSourceErrors(t *testing.T) {
	storage := filepath.Join(t.TempDir(), "storage")
	cfg := Config{Storage: storage, Sources: []Source{
		{Name: "empty"},
		{Name: "both", Files: &Files{}, SelfSigned: &SelfSigned{}},
		{Name: "empty", SelfSigned: &SelfSigned{}},
		{Name: "files", Files: &Files{Certificate: "nowhere.crt", Key: "nowhere.key"}},
		{Name: "names", SelfSigned: &SelfSigned{Names: []string{"ok.example", "not ok", "10.0.0.256"}}},
	}}
	want := strings.Join([]string{
		`certs: certificate "empty": has 0 of files, self_signed and acme: one of them is needed`,
		`certs: certificate "both": has 2 of files, self_signed and acme: one of them is needed`,
		`certs: certificate "empty": name: another certificate has this name`,
		`certs: certificate "files": files.certificate: open nowhere.crt: no such file or directory`,
		`certs: certificate "files": files.key: open nowhere.key: no such file or directory`,
		`certs: certificate "names": self_signed.names: "not ok" is neither a DNS name nor an IP address: a character that host names do not have`,
		`certs: certificate "names": self_signed.names: "10.0.0.256" is neither a DNS name nor an IP address: the last label is a number`,
	}, "\n")
	s, err := Open(t.Context(), cfg)
	if err == nil {
		s.Close()
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause of a missing file is lost")
	}
	if _, err := os.Stat(storage); err == nil {
		t.Error("a bad configuration touched the storage")
	}
	if _, err := Check(cfg); err == nil || err.Error() != want {
		t.Errorf("Check: %v", err)
	}
}

// What can be served is, with a warning. That a certificate expires is the
// business of those who go on serving it.
func TestFileWarnings(t *testing.T) {
	key := newECDSA(elliptic.P256())
	ca := newECDSA(elliptic.P256())
	for _, tt := range []struct {
		name    string
		options certOptions
		chain   []byte
		mode    fs.FileMode
		want    string // in the log; "" for silence
	}{
		{"fine", func(*x509.Certificate) {}, nil, 0o640, ""},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, nil, 0o600, ""},
		{"not yet valid", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, nil, 0o600, ""},
		{"about to expire", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }, nil, 0o600, ""},
		{"for clients", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil, 0o600,
			`level=WARN msg="certificate is not meant for servers: its extended key usage lacks serverAuth" certificate=x`},
		{"for servers", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, nil, 0o600, ""},
		{"out of order", func(*x509.Certificate) {}, issue(t, ca, nil, func(c *x509.Certificate) { c.Subject.CommonName = "ca" }), 0o600,
			`level=WARN msg="certificate chain is out of order" certificate=x position=1 issuer="O=test" next="CN=ca,O=test"`},
		{"open to all", func(*x509.Certificate) {}, nil, 0o644,
			`level=WARN msg="private key is accessible to every user of this machine" certificate=x file=DIR/tls.key mode=-rw-r--r--`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := sourceOfFiles(t, "x", key)
			chain := certPEM(issue(t, key, []string{"a.example"}, tt.options))
			if tt.chain != nil {
				chain += certPEM(tt.chain)
			}
			src.Files.Certificate = write(t, "tls.crt", chain)
			if err := os.Chmod(src.Files.Key, tt.mode); err != nil {
				t.Fatal(err)
			}
			var log logBuffer
			s := open(t, Config{Sources: []Source{src}, Logger: log.logger(slog.LevelInfo)})
			if _, err := s.Select([]string{"x"}, "", policy.ECDSAP256); err != nil {
				t.Errorf("not served: %v", err)
			}
			want := strings.ReplaceAll(tt.want, "DIR", filepath.Dir(src.Files.Key))
			if got := log.String(); !strings.HasPrefix(got, want) || (want == "") != (got == "") || strings.Count(got, "\n") > 1 {
				t.Errorf("logged %q, want %q", got, want)
			}
		})
	}
}

// A certificate that names an OCSP responder is served without asking it, if
// that is wanted.
func TestOpenStaysOffTheNetwork(t *testing.T) {
	var asked atomic.Int32
	responder := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer responder.Close()
	key := newECDSA(elliptic.P256())
	src := sourceOfFiles(t, "x", key)
	der := issue(t, key, []string{"a.example"}, func(c *x509.Certificate) {
		c.OCSPServer = []string{responder.URL}
		c.IssuingCertificateURL = []string{responder.URL}
	})
	src.Files.Certificate = write(t, "tls.crt", certPEM(der, der)) // the issuer, too, as an OCSP request needs it
	src.NoStapling = true
	s := open(t, Config{Sources: []Source{src}})
	if _, err := s.Select([]string{"x"}, "a.example", policy.ECDSAP256); err != nil {
		t.Error(err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the responder was asked %d times", n)
	}
}
