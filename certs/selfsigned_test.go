package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/policy"
)

// serve answers TLS handshakes on loopback with what Select finds for a key
// type, and "ok\n" after them, for the length of a test.
func serve(t *testing.T, s *Store, key policy.KeyType) (address string) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := s.Select([]string{"self"}, hello.ServerName, key)
			return cert.Certificate, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "ok\n") // handshake first; a client that refuses has its own say
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return ln.Addr().String()
}

// timeout bounds each program that a test runs.
const timeout = time.Minute

var leafTypes = []policy.KeyType{policy.RSA, policy.ECDSAP256}

func TestGoClientsTrustTheRoot(t *testing.T) {
	s := open(t, Config{Storage: copyStorage(t), Sources: []Source{{Name: "self", SelfSigned: &SelfSigned{}}}})
	rootPEM, err := os.ReadFile(s.Root())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(rootPEM) {
		t.Fatal("no certificate in root.pem")
	}
	for _, key := range leafTypes {
		address := serve(t, s, key)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for name, ok := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "elsewhere.test": false} {
				conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: name, MinVersion: version, MaxVersion: version})
				if err == nil {
					conn.Close()
				}
				if (err == nil) != ok {
					t.Errorf("%v, %s, %s: %v", key, tls.VersionName(version), name, err)
				}
			}
			if conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "localhost", MaxVersion: version}); err == nil {
				conn.Close()
				t.Errorf("%v: trusted without the root", key)
			}
		}
	}
}

func TestCertificatesAsIssued(t *testing.T) {
	s := open(t, Config{Storage: copyStorage(t), Sources: []Source{{Name: "self", SelfSigned: &SelfSigned{}}}})
	for _, key := range leafTypes {
		cert, err := s.Select([]string{"self"}, "", key)
		if err != nil {
			t.Fatal(err)
		}
		usage := x509.KeyUsageDigitalSignature
		if key == policy.RSA {
			usage |= x509.KeyUsageKeyEncipherment
		}
		leaf := cert.Leaf
		switch {
		case leaf.KeyUsage != usage:
			t.Errorf("%v: key usage %b", key, leaf.KeyUsage)
		case len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth:
			t.Errorf("%v: extended key usage %v", key, leaf.ExtKeyUsage)
		case leaf.IsCA || !leaf.BasicConstraintsValid:
			t.Errorf("%v: an authority", key)
		case len(leaf.SubjectKeyId) != 20 || len(leaf.AuthorityKeyId) != 20:
			t.Errorf("%v: key identifiers %x and %x", key, leaf.SubjectKeyId, leaf.AuthorityKeyId)
		case leaf.NotAfter.Sub(leaf.NotBefore) != leafLifetime+backdating:
			t.Errorf("%v: valid for %v", key, leaf.NotAfter.Sub(leaf.NotBefore))
		case leaf.Subject.String() != "CN=localhost,O=suitegate":
			t.Errorf("%v: subject %v", key, leaf.Subject)
		case leaf.SignatureAlgorithm != x509.SHA256WithRSA:
			t.Errorf("%v: signed with %v", key, leaf.SignatureAlgorithm)
		case len(cert.Certificate.Certificate) != 1:
			t.Errorf("%v: %d certificates sent, the client has the root", key, len(cert.Certificate.Certificate))
		}
	}
}

// command runs a program that CI installs, and fails the test without it.
func command(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is needed for this test (.ci/install): %v", name, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return string(out), err
}

func TestOpenSSLVerifiesTheChain(t *testing.T) {
	s := open(t, Config{Storage: copyStorage(t), Sources: []Source{{Name: "self", SelfSigned: &SelfSigned{}}}})
	for _, key := range leafTypes {
		cert, err := s.Select([]string{"self"}, "", key)
		if err != nil {
			t.Fatal(err)
		}
		leaf := write(t, "leaf.pem", certPEM(cert.Leaf.Raw))
		for _, check := range [][]string{{"-verify_hostname", "localhost"}, {"-verify_ip", "127.0.0.1"}, {"-verify_ip", "::1"}} {
			args := append([]string{"verify", "-x509_strict", "-purpose", "sslserver", "-auth_level", "2", "-CAfile", s.Root()}, append(check, leaf)...)
			if out, err := command(t, "openssl", args...); err != nil {
				t.Errorf("%v %q: %v\n%s", key, check, err, out)
			}
		}
		if out, err := command(t, "openssl", "verify", "-CAfile", s.Root(), "-verify_hostname", "elsewhere.test", leaf); err == nil {
			t.Errorf("%v: verified for another name\n%s", key, out)
		}

		address := serve(t, s, key)
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			for _, check := range [][]string{
				{"-servername", "localhost", "-verify_hostname", "localhost"},
				{"-noservername", "-verify_ip", "127.0.0.1"},
			} {
				args := append([]string{"s_client", "-connect", address, version, "-CAfile", s.Root(), "-verify_return_error", "-brief"}, check...)
				if out, err := command(t, "openssl", args...); err != nil || !strings.Contains(out, "Verification: OK") {
					t.Errorf("%v %s %q: %v\n%s", key, version, check, err, out)
				}
			}
		}
	}
}

func TestJavaVerifiesTheChain(t *testing.T) {
	if _, err := exec.LookPath("java"); errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip("NOT TESTED: no java here; apt-get install default-jdk-headless")
	}
	s := open(t, Config{Storage: copyStorage(t), Sources: []Source{{Name: "self", SelfSigned: &SelfSigned{}}}})
	args := []string{"-XX:TieredStopAtLevel=1", filepath.Join("testdata", "Connect.java"), s.Root()}
	for _, key := range leafTypes {
		_, port, err := net.SplitHostPort(serve(t, s, key))
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, port)
	}
	out, err := command(t, "java", args...)
	const want = `localhost TLSv1.2 ok
localhost TLSv1.3 ok
127.0.0.1 TLSv1.2 ok
127.0.0.1 TLSv1.3 ok
127.0.0.2 TLSv1.2 refused
127.0.0.2 TLSv1.3 refused
`
	if err != nil || out != want+want {
		t.Errorf("%v\n%s", err, out)
	}
}
