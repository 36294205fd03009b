package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clientPKI is an authority for clients. Its CRLs are OpenSSL's.
type clientPKI struct {
	dir   string
	names []string // of what it issued, by serial number from 1
}

// visitors are clients by their certificates, and what becomes of them.
var visitors = []struct {
	name   string
	change func(*x509.Certificate)
	alert  string // the RFC's name of it, "" for none
	number int
	reason string
}{
	{"sensor", func(*x509.Certificate) {}, "", 0, ""},
	{"revoked", func(*x509.Certificate) {}, "certificate_revoked", 44, "client_certificate_revoked"},
	{"server", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"unsupported_certificate", 43, "client_certificate_usage"},
	{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"certificate_expired", 45, "client_certificate_expired"},
	{"early", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
		"certificate_expired", 45, "client_certificate_not_yet_valid"},
	{"stranger", nil, "unknown_ca", 48, "client_certificate_unknown_ca"}, // of an authority of its own
	{"visitor", func(c *x509.Certificate) { c.DNSNames = []string{"visitor.example"} }, "access_denied", 49, "client_certificate_not_allowed"},
}

// newClientPKI issues the visitors' certificates.
func newClientPKI(t *testing.T) *clientPKI {
	t.Helper()
	p := &clientPKI{dir: t.TempDir()}
	ca := p.issue(t, "ca", nil, nil, authorityOf)
	other := p.issue(t, "other", nil, nil, authorityOf)
	for _, v := range visitors {
		by, key, change := ca, p.key(t, "ca"), v.change
		if change == nil {
			by, key, change = other, p.key(t, "other"), func(*x509.Certificate) {}
		}
		p.issue(t, v.name, by, key, func(c *x509.Certificate) {
			c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			c.DNSNames = []string{v.name + ".sensors.example"}
			change(c)
		})
	}
	return p
}

func authorityOf(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
}

func (p *clientPKI) file(name string) string { return filepath.Join(p.dir, name) }

// issue writes NAME.crt and NAME.key.
func (p *clientPKI) issue(t *testing.T, name string, by *x509.Certificate, byKey *ecdsa.PrivateKey, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.names = append(p.names, name)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(p.names))), Subject: pkix.Name{CommonName: name, Organization: []string{"Example, Inc."}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	change(template)
	if by == nil {
		by, byKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFiles(map[string]string{
		p.file(name + ".crt"): string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		p.file(name + ".key"): string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	}); err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func (p *clientPKI) key(t *testing.T, name string) *ecdsa.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(p.file(name + ".key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// openssl runs a command of OpenSSL's in the directory.
func (p *clientPKI) openssl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(requireProgram(t, "openssl"), args...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// revoke puts a CRL in the place of the one before.
func (p *clientPKI) revoke(t *testing.T, names ...string) (file string) {
	t.Helper()
	const stamp = "060102150405Z"
	var index bytes.Buffer
	for i, name := range p.names {
		for _, revoked := range names {
			if name == revoked {
				fmt.Fprintf(&index, "R\t%s\t%s\t%02X\tunknown\t/CN=%s\n", time.Now().Add(time.Hour).UTC().Format(stamp), time.Now().UTC().Format(stamp), i+1, name)
			}
		}
	}
	if err := writeFiles(map[string]string{
		p.file("index.txt"): index.String(), p.file("index.txt.attr"): "unique_subject = no\n",
		p.file("ca.cnf"): "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n",
	}); err != nil {
		t.Fatal(err)
	}
	p.openssl(t, "ca", "-gencrl", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key", "-crldays", "7", "-out", "ca.crl.new")
	file = p.file("ca.crl")
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

// startClientsGateway requires certificates.
func startClientsGateway(t *testing.T, p *clientPKI) *gateway {
	t.Helper()
	var all policyConfig
	for _, way := range clientWays {
		if way.version == "TLSv1.3" {
			all.TLS13 = append(all.TLS13, way.suite.iana)
		} else {
			all.TLS12 = append(all.TLS12, way.suite.iana)
		}
	}
	return startGateway(t, config{
		Policies:  map[string]policyConfig{"all": all},
		Upstreams: map[string]upstreamConfig{"echo": {Nodes: []string{stubBroker(t, echoLine)}}},
		Listeners: []listenerConfig{{Name: "clients", Protocol: "tcp", Policy: "all", Upstream: "echo", ClientCertificates: map[string]any{
			"mode": "require", "ca": p.file("ca.crt"), "crl": []string{p.revoke(t, "revoked")}, "allow": map[string][]string{"dns": {"*.sensors.example"}},
		}}},
	})
}

// clientWays are the versions, each with its kinds of suites.
var clientWays = []struct {
	version string // as the log has it
	suite   suite
	args    []string // for OpenSSL
}{
	{"TLSv1.2", suite{"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", "DHE-RSA-AES256-SHA256", own12}, []string{"-tls1_2", "-cipher", "DHE-RSA-AES256-SHA256"}},
	{"TLSv1.2", rabbitmqSuites[0], []string{"-tls1_2", "-cipher", rabbitmqSuites[0].openssl}},
	{"TLSv1.3", tls13[0], []string{"-tls1_3", "-ciphersuites", tls13[0].openssl}},
	{"TLSv1.3", tls13[1], []string{"-tls1_3", "-ciphersuites", tls13[1].openssl}},
	{"TLSv1.3", chacha20, []string{"-tls1_3", "-ciphersuites", chacha20.openssl}},
}

var chacha20 = suite{"TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", own13}

// wantVisit holds the log line of a client against what should become of it.
func wantVisit(t *testing.T, line record, s suite, name, alert, reason string) {
	t.Helper()
	want := record{"listener": "clients", "suite": s.iana, "engine": s.engine}
	if reason == "" {
		want["client_subject"], want["upstream"] = "CN="+name+`,O=Example\, Inc.`, "echo"
	} else {
		want["reason"], want["alert"], want["client_subject"], want["upstream"] = reason, alert, nil, nil
	}
	line.want(t, want)
	if sans, _ := line["client_sans"].([]any); reason == "" && (len(sans) != 1 || sans[0] != "DNS:"+name+".sensors.example") {
		t.Errorf("alternative names %v", line["client_sans"])
	}
}

// TestClientCertificatesOpenSSL shows that OpenSSL's client is told the same by
// with each suite and in each version, and why.
func TestClientCertificatesOpenSSL(t *testing.T) {
	p := newClientPKI(t)
	g := startClientsGateway(t, p)
	for _, way := range clientWays {
		for _, v := range visitors {
			t.Run(way.suite.openssl+" "+v.name, func(t *testing.T) {
				out := sClient(t, g, "clients", append(way.args, "-cert", p.file(v.name+".crt"), "-key", p.file(v.name+".key"))...)
				wantOutput(t, out, "O = \"Example, Inc.\", CN = ca\n") // in the request
				if v.reason == "" {
					wantOutput(t, out, greeting)
				} else {
					wantOutput(t, out, fmt.Sprintf("SSL alert number %d\n", v.number))
				}
				if got := strings.Contains(out, greeting); got != (v.reason == "") {
					t.Errorf("got through to the broker: %t", got)
				}
				wantVisit(t, g.connection(t), way.suite, v.name, v.alert, v.reason)
			})
		}
		t.Run(way.suite.openssl+" none", func(t *testing.T) {
			number, alert := 40, "handshake_failure"
			if way.version == "TLSv1.3" {
				number, alert = 116, "certificate_required"
			}
			wantOutput(t, sClient(t, g, "clients", way.args...), fmt.Sprintf("SSL alert number %d\n", number))
			wantVisit(t, g.connection(t), way.suite, "", alert, "client_certificate_missing")
		})
	}
}

// TestClientCertificatesRevokedInUse shows that a session ends with its
// client's certificate: a CRL that takes another's place is enough.
func TestClientCertificatesRevokedInUse(t *testing.T) {
	p := newClientPKI(t)
	g := startClientsGateway(t, p)
	visit := func(n int, args ...string) string {
		t.Helper()
		return sClient(t, g, "clients", append(append(args, clientWays[n].args...), "-cert", p.file("sensor.crt"), "-key", p.file("sensor.key"))...)
	}
	session := func(n int) string { return p.file(fmt.Sprintf("session-%d.pem", n)) }
	for n, way := range clientWays {
		wantOutput(t, visit(n, "-sess_out", session(n)), greeting)
		wantVisit(t, g.connection(t), way.suite, "sensor", "", "")
		wantOutput(t, visit(n, "-sess_in", session(n)), "Reused, ", greeting)
		line := g.connection(t)
		line.want(t, record{"resumed": true})
		wantVisit(t, line, way.suite, "sensor", "", "")
	}
	p.revoke(t, "revoked", "sensor")
	g.log.await(t, "files about clients have changed", nil)
	for n, way := range clientWays {
		wantOutput(t, visit(n, "-sess_in", session(n)), "SSL alert number 44\n")
		wantVisit(t, g.connection(t), way.suite, "sensor", "certificate_revoked", "client_certificate_revoked")
	}
}

// TestClientCertificatesJava shows the same with Java's own TLS.
func TestClientCertificatesJava(t *testing.T) {
	p := newClientPKI(t)
	g := startClientsGateway(t, p)
	port, properties := javaPort(t, g, "clients")
	cmd := exec.Command("java", append(properties, filepath.Join("testdata", "ClientCertificate.java"), port, storePassword)...)
	var want strings.Builder
	for _, v := range visitors {
		p.openssl(t, "pkcs12", "-export", "-in", v.name+".crt", "-inkey", v.name+".key", "-out", v.name+".p12", "-passout", "pass:"+storePassword)
	}
	for _, way := range clientWays {
		for _, v := range visitors {
			cmd.Args = append(cmd.Args, way.version, way.suite.iana, p.file(v.name+".p12"))
			if v.reason == "" {
				want.WriteString("hello\n")
			} else {
				fmt.Fprintf(&want, "Received fatal alert: %s\n", v.alert)
			}
		}
	}
	out, complaints, err := runSplit(t, cmd)
	if err != nil || out != want.String() {
		t.Errorf("java: %v\n%s\nit reports\n%swant\n%s", err, complaints, out, want.String())
	}
	lines := g.connectionsInOrder(t, len(clientWays)*len(visitors))
	for i, way := range clientWays {
		for j, v := range visitors {
			wantVisit(t, lines[i*len(visitors)+j], way.suite, v.name, v.alert, v.reason)
		}
	}
}
