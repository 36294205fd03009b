package proxy

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
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
)

// newKey makes a private key.
func newKey(t testing.TB, kind policy.KeyType) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	if kind == policy.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fileCertificate writes a certificate that signs itself, and returns its entry
// of the configuration.
func fileCertificate(t testing.TB, name string, key crypto.Signer, template x509.Certificate, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{Organization: []string{"suitegate"}}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der},
		"tls.key": {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("{name: %s, files: {certificate: %q, key: %q}}", name, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
}

// parseWith is parse with certificates of the test's own.
func parseWith(t testing.TB, certificates []string, yaml string) *configs.Config {
	t.Helper()
	text := "certificates: [" + strings.Join(certificates, ", ") + "]\n" + yaml
	config, err := configs.Parse(filepath.Join(t.TempDir(), "gateway.yml"), []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return config
}

// A name is served with its own certificate by whatever of the policy its key
// can do, and never with another name's.
func TestNameDecidesKey(t *testing.T) {
	node := broker(t, echo)
	g := startWith(t, parseWith(t, []string{
		fileCertificate(t, "rsa", newKey(t, policy.RSA), x509.Certificate{}, "a.example", "*.wild.example"),
		fileCertificate(t, "ec", newKey(t, policy.ECDSAP256), x509.Certificate{}, "b.example"),
	}, `
upstreams: {broker: {nodes: ["`+node+`"]}}
policies: {both: {tls12: [ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA-AES256-GCM-SHA384, DHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES256-SHA384]}}
listeners:
  - {name: rabbitmq, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker}
  - {name: activemq, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker}
  - {name: both, address: "127.0.0.1:0", protocol: tcp, policy: both, upstream: broker}
  - {name: only-b, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, default_certificate: ec}
`))
	const tls12, tls13 = tls.VersionTLS12, tls.VersionTLS13
	for _, tt := range []struct {
		listener, serverName string
		version              uint16
		certificate, key     string // "" for a refusal
		told                 string
	}{
		{"rabbitmq", "a.example", tls13, "rsa", "RSA", ""},
		{"rabbitmq", "b.example", tls13, "ec", "ECDSA-P256", ""},
		{"rabbitmq", "a.example", tls12, "rsa", "RSA", ""},
		{"rabbitmq", "b.example", tls12, "", "", "protocol version not supported"},
		{"rabbitmq", "x.wild.example", tls13, "rsa", "RSA", ""},
		{"rabbitmq", "x.wild.example", tls12, "rsa", "RSA", ""},
		{"rabbitmq", "elsewhere.example", tls13, "ec", "ECDSA-P256", ""}, // no name to be right about
		{"rabbitmq", "elsewhere.example", tls12, "rsa", "RSA", ""},
		{"rabbitmq", "", tls13, "ec", "ECDSA-P256", ""},
		{"rabbitmq", "", tls12, "rsa", "RSA", ""},
		{"activemq", "a.example", tls13, "rsa", "RSA", ""},
		{"activemq", "b.example", tls13, "ec", "ECDSA-P256", ""},
		{"activemq", "a.example", tls12, "rsa", "RSA", ""},
		{"activemq", "b.example", tls12, "", "", "protocol version not supported"},
		{"both", "a.example", tls12, "rsa", "RSA", ""}, // though ECDSA is preferred
		{"both", "b.example", tls12, "ec", "ECDSA-P256", ""},
		{"both", "", tls12, "ec", "ECDSA-P256", ""},
		{"only-b", "a.example", tls12, "rsa", "RSA", ""},
		{"only-b", "", tls13, "ec", "ECDSA-P256", ""},
		{"only-b", "", tls12, "", "", "protocol version not supported"}, // the default certificate and no other
		{"only-b", "elsewhere.example", tls12, "", "", "protocol version not supported"},
	} {
		t.Run(fmt.Sprintf("%s %q %s", tt.listener, tt.serverName, tls.VersionName(tt.version)), func(t *testing.T) {
			config := &tls.Config{ServerName: tt.serverName, MinVersion: tt.version, MaxVersion: tt.version, InsecureSkipVerify: true}
			conn, err := g.connect(tt.listener, config)
			conn.Close()
			line := g.lineOf(tt.listener, conn.LocalAddr())
			if tt.certificate == "" {
				if err == nil || !strings.Contains(err.Error(), tt.told) || line["reason"] != "unsupported_version" ||
					!strings.Contains(line["error"].(string), "have keys ECDSA-P256 alone: policy: unsupported_version: ") {
					t.Errorf("told %v, log line %v", err, line)
				}
				return
			}
			if err != nil || line["certificate"] != tt.certificate || line["key"] != tt.key {
				t.Errorf("%v, log line %v", err, line)
			}
		})
	}
}

// What each choice of server_name does with each kind of name.
func TestServerName(t *testing.T) {
	node := broker(t, echo)
	g := startWith(t, parseWith(t, []string{
		fileCertificate(t, "rsa", newKey(t, policy.RSA), x509.Certificate{}, "a.example", "*.wild.example", "192.0.2.1"),
		fileCertificate(t, "default", newKey(t, policy.RSA), x509.Certificate{}, "default.example"),
	}, `
log: {refusals_per_minute: 0}
upstreams: {broker: {nodes: ["`+node+`"]}}
listeners:
  - {name: any, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker, default_certificate: default}
  - {name: known, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker, server_name: known, default_certificate: default}
  - {name: required, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker, server_name: required}
`))
	const unrecognized, missing = "\x15\x03\x03\x00\x02\x02\x70", "\x15\x03\x03\x00\x02\x02\x6d"
	const told, untold = "unrecognized_name", "no_server_name"
	for _, tt := range []struct {
		serverName           string
		any, known, required string // certificate, or reason
	}{
		{"a.example", "rsa", "rsa", "rsa"},
		{"A.EXAMPLE", "rsa", "rsa", "rsa"},
		{"x.wild.example", "rsa", "rsa", "rsa"},
		{"y.x.wild.example", "default", told, told}, // a wildcard is for one label
		{"wild.example", "default", told, told},
		{"b.example", "default", told, told},
		{"", "default", "default", untold},
		{"192.0.2.1", "rsa", "rsa", "rsa"},        // an address that a certificate has
		{"192.0.2.2", "default", "default", told}, // and one that none has: no name
		{"2001:db8::1", "default", "default", told},
	} {
		for listener, want := range map[string]string{"any": tt.any, "known": tt.known, "required": tt.required} {
			for _, version := range []struct {
				name   string
				hello  []byte
				engine string
			}{
				{"TLS 1.3", helloBytes(t, tt.serverName, tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256), "tls13"},
				{"TLS 1.2 with GCM", helloBytes(t, tt.serverName, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), "tls12"},
				{"TLS 1.2 with CBC", helloBytes(t, tt.serverName, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256), "tls12"},
			} {
				conn := g.dial(listener)
				if _, err := conn.Write(version.hello); err != nil {
					t.Fatal(err)
				}
				answer := make([]byte, 7)
				_, _ = conn.Read(answer) // shows below
				conn.Close()
				line := g.lineOf(listener, conn.LocalAddr())
				alert := unrecognized
				if want == untold && strings.HasSuffix(version.name, "1.3") {
					alert = missing
				}
				refused := want == told || want == untold
				switch {
				case refused && (string(answer) != alert || line["reason"] != want || line["engine"] != nil || line["level"] != "WARN"):
					t.Errorf("%q on %s, %s: answer %x, log line %v", tt.serverName, listener, version.name, answer, line)
				case !refused && (answer[0] != 22 || line["certificate"] != want || line["engine"] != version.engine):
					t.Errorf("%q on %s, %s: answer %x, log line %v", tt.serverName, listener, version.name, answer, line)
				}
			}
		}
	}
}

// helloBytes is a ClientHello of crypto/tls with any server name, for one
// version and suite.
func helloBytes(t *testing.T, serverName string, version, suite uint16) []byte {
	t.Helper()
	// crypto/tls sends no addresses, so a name of the same length goes first.
	stand := strings.Repeat("a", len(serverName))
	config := &tls.Config{ServerName: stand, InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
	if version == tls.VersionTLS12 {
		config.CipherSuites = []uint16{suite}
	}
	ours, theirs := net.Pipe()
	go func() {
		_ = tls.Client(ours, config).Handshake() // fails when the pipe is closed
	}()
	record := make([]byte, 64<<10)
	n, err := theirs.Read(record)
	theirs.Close()
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	if stand == "" {
		return record[:n]
	}
	return []byte(strings.Replace(string(record[:n]), stand, serverName, 1))
}

// Choosing by name costs a handshake no memory.
func TestDecideDoesNotAllocate(t *testing.T) {
	g := start(t, one("tcp", "activemq", "127.0.0.1:1", ""))
	r := g.listeners["front 127.0.0.1:0"].route.Load()
	for _, name := range []string{"localhost", "elsewhere.example", "", "127.0.0.1"} {
		offer := &policy.Offer{ServerName: name, LegacyVersion: policy.TLS12}
		if n := testing.AllocsPerRun(100, func() {
			if _, bound, err := r.candidatesFor(r.store, offer); err != nil || bound == nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations", name, n)
		}
	}
}
