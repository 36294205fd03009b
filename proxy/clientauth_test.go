package proxy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
)

// An issuer is an authority for clients, in a directory with its files.
type issuer struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	above       []*x509.Certificate // but the root
	serial      int64
}

func (i *issuer) issue(change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.serial++
	template := &x509.Certificate{SerialNumber: big.NewInt(i.serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	change(template)
	parent, signer := i.certificate, i.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		i.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return certificate, key
}

// authority issues another one; the zero issuer issues a root.
func (i *issuer) authority(name string) *issuer {
	i.t.Helper()
	certificate, key := i.issue(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name}
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
	below := &issuer{t: i.t, certificate: certificate, key: key, serial: i.serial * 100}
	if i.certificate != nil {
		below.above = append([]*x509.Certificate{certificate}, i.above...)
	}
	return below
}

func (i *issuer) client(name string, changes ...func(*x509.Certificate)) *tls.Certificate {
	i.t.Helper()
	certificate, key := i.issue(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name, Organization: []string{"Example"}}
		c.DNSNames, c.ExtKeyUsage = []string{name + ".example"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		for _, change := range changes {
			change(c)
		}
	})
	chain := &tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key, Leaf: certificate}
	for _, above := range i.above {
		chain.Certificate = append(chain.Certificate, above.Raw)
	}
	return chain
}

// crl is a CRL in PEM, current for d.
func (i *issuer) crl(d time.Duration, revoked ...*big.Int) []byte {
	i.t.Helper()
	i.serial++
	template := &x509.RevocationList{Number: big.NewInt(i.serial), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(d)}
	for _, serial := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now().Add(-2 * time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, i.certificate, i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func (i *issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw})
}

// replace replaces a file as a whole.
func replace(t *testing.T, path string, data ...[]byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", bytes.Join(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// clientWays are three ways in which TLS is terminated: the versions differ, and in
// TLS 1.2 how records are protected.
var clientWays = []struct {
	name    string
	version uint16
	suite   uint16
	engine  string
}{
	{"TLS 1.2 with GCM", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "tls12"},
	{"TLS 1.2 with CBC", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "tls12"},
	{"TLS 1.3", tls.VersionTLS13, 0, "tls13"},
}

// withClients is a configuration of one listener that asks for certificates.
func withClients(node, settings string) string {
	return one("tcp", "activemq", node, ", client_certificates: {"+settings+"}")
}

// visit connects with a certificate, or none, and says something. The error is
// what the client was told; line is the log's.
func (g *gateway) visit(config *tls.Config, certificate *tls.Certificate) (line map[string]any, err error) {
	g.t.Helper()
	config = config.Clone()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if certificate == nil {
			return new(tls.Certificate), nil
		}
		return certificate, nil
	}
	conn := g.dial("front")
	client := tls.Client(conn, config)
	if _, err = client.Write([]byte("ping")); err == nil {
		_, err = io.ReadFull(client, make([]byte, 4))
	}
	_ = client.CloseWrite() // an orderly end, if there is not another one already
	conn.Close()
	return g.lineOf("front", conn.LocalAddr()), err
}

func (g *gateway) clientOf(version, suite uint16) *tls.Config {
	config := g.client()
	config.MaxVersion, config.CipherSuites = version, []uint16{suite}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	return config
}

// Every client certificate is judged the same by whoever terminates TLS, and a
// refusal has one reason, one alert, one line and one count.
func TestClientCertificates(t *testing.T) {
	root := (&issuer{t: t}).authority("root")
	middle, revoked, low := root.authority("middle"), root.authority("revoked"), root.authority("low").authority("lower")
	elsewhere := (&issuer{t: t}).authority("elsewhere")
	gone := root.client("gone")
	dir := t.TempDir()
	ca, crls := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "clients.crl")
	replace(t, ca, root.pem())
	replace(t, crls, root.crl(time.Hour, gone.Leaf.SerialNumber, revoked.certificate.SerialNumber), middle.crl(time.Hour))
	stale := filepath.Join(dir, "stale.crl")
	replace(t, stale, root.crl(-time.Hour))

	type settings = string
	base := fmt.Sprintf("ca: %q, crl: [%q], max_depth: 1", ca, crls)
	require, request := settings("mode: require, "+base), settings("mode: request, "+base)
	allow := func(rules string) settings { return require + ", allow: {" + rules + "}" }
	outdated := func(choice string) settings {
		return fmt.Sprintf("mode: require, ca: %q, crl: [%q], stale_crl: %s", ca, stale, choice)
	}
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	early := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }
	server := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	const ok, missing = 0, 116 // which is 40 in TLS 1.2
	for _, tt := range []struct {
		name        string
		settings    settings
		certificate *tls.Certificate
		alert       uint8
		reason      string
	}{
		{"off", fmt.Sprintf("mode: off, ca: %q", ca), root.client("a"), ok, ""},
		{"request", request, root.client("a"), ok, ""},
		{"request, none", request, nil, ok, ""},
		{"request, wrong CA", request, elsewhere.client("a"), 48, "client_certificate_unknown_ca"},
		{"require", require, root.client("a"), ok, ""},
		{"require, by an intermediate", require, middle.client("a"), ok, ""},
		{"require, none", require, nil, missing, "client_certificate_missing"},
		{"wrong CA", require, elsewhere.client("a"), 48, "client_certificate_unknown_ca"},
		{"expired", require, root.client("a", expired), 45, "client_certificate_expired"},
		{"not yet valid", require, root.client("a", early), 45, "client_certificate_not_yet_valid"},
		{"wrong usage", require, root.client("a", server), 43, "client_certificate_usage"},
		{"chain too long", require, low.client("a"), 46, "client_certificate_chain_too_long"},
		{"revoked", require, gone, 44, "client_certificate_revoked"},
		{"revoked authority", require, revoked.client("a"), 44, "client_certificate_revoked"},
		{"stale CRL, hard", outdated("hard"), root.client("a"), 46, "client_certificate_crl_stale"},
		{"stale CRL, soft", outdated("soft"), root.client("a"), ok, ""},
		{"no CRL, hard", outdated("hard"), middle.client("a"), 46, "client_certificate_crl_missing"},
		{"DN", allow(`dn: ["CN=a,O=Example"]`), root.client("a"), ok, ""},
		{"another DN", allow(`dn: ["CN=a"]`), root.client("a"), 49, "client_certificate_not_allowed"},
		{"DNS", allow(`dns: ["*.example"]`), root.client("a"), ok, ""},
		{"another DNS", allow(`dns: ["*.a.example"]`), root.client("a"), 49, "client_certificate_not_allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t, withClients(broker(t, echo), tt.settings))
			for n, way := range clientWays {
				line, err := g.visit(g.clientOf(way.version, way.suite), tt.certificate)
				alert := tt.alert
				if alert == missing && way.version == tls.VersionTLS12 {
					alert = 40
				}
				switch {
				case alert == ok && err != nil:
					t.Errorf("%s: %v", way.name, err)
				case alert != ok && (err == nil || err.Error() != "remote error: "+tls.AlertError(alert).Error()):
					t.Errorf("%s: client was told %v, want alert %d", way.name, err, alert)
				}
				if line["engine"] != way.engine {
					t.Errorf("%s: by %v", way.name, line["engine"])
				}
				shown := tt.certificate != nil && alert == ok && tt.name != "off"
				if (line["client_subject"] == "CN=a,O=Example") != shown || (line["client_sans"] != nil) != shown || (line["client_cert_serial"] != nil) != shown {
					t.Errorf("%s: identity in %v", way.name, line)
				}
				if alert == ok {
					continue
				}
				if line["reason"] != tt.reason || line["alert"] == nil || line["level"] != "WARN" {
					t.Errorf("%s: log line %v, want reason %s", way.name, line, tt.reason)
				}
				if series := fmt.Sprintf(`suitegate_connections_ended_total{listener="front",reason=%q} %d`, tt.reason, n+1); !g.counted(series) {
					t.Errorf("not in the metrics: %s", series)
				}
			}
		})
	}
}

// What is revoked while the gateway runs does not resume, and neither does
// what another bundle would not let in; a broken file changes nothing.
func TestClientCertificatesChange(t *testing.T) {
	root, other := (&issuer{t: t}).authority("root"), (&issuer{t: t}).authority("other")
	dir := t.TempDir()
	ca, crls := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "clients.crl")
	replace(t, ca, root.pem())
	replace(t, crls, root.crl(time.Hour))
	g := start(t, withClients(broker(t, echo), fmt.Sprintf("mode: require, ca: %q, crl: [%q]", ca, crls)))
	if !g.counted(fmt.Sprintf(`suitegate_client_crl_next_update_timestamp_seconds{listener="front"} %v`, float64(g.current.nextUpdates()["front"].Unix()))) {
		t.Error("when the CRL becomes stale is not in the metrics")
	}
	clients := make([]*tls.Certificate, len(clientWays))
	sessions := make([]*tls.Config, len(clientWays))
	for i, way := range clientWays {
		clients[i], sessions[i] = root.client("a"), g.clientOf(way.version, way.suite)
		for _, resumed := range []bool{false, true} {
			line, err := g.visit(sessions[i], clients[i])
			if err != nil || line["resumed"] != resumed || line["client_subject"] != "CN=a,O=Example" {
				t.Fatalf("%s: %v, %v", way.name, err, line)
			}
		}
	}
	awaitLine := func(msg string) map[string]any {
		t.Helper()
		return g.log.wait(t, 1, func(l map[string]any) bool { return l["msg"] == msg })
	}

	replace(t, crls, []byte("nonsense"))
	line := awaitLine("a file about clients is refused; what it was before stays")
	if line["listener"] != "front" || !strings.Contains(fmt.Sprint(line["error"]), "clients.crl: no CRL in it") {
		t.Errorf("%v", line)
	}
	if !g.counted(`suitegate_client_auth_reloads_total{listener="front",result="failed"} 1`) {
		t.Error("not counted")
	}
	for i, way := range clientWays {
		if line, err := g.visit(sessions[i], clients[i]); err != nil || line["resumed"] != true {
			t.Errorf("%s: %v, %v", way.name, err, line)
		}
	}

	var serials []*big.Int
	for _, client := range clients {
		serials = append(serials, client.Leaf.SerialNumber)
	}
	replace(t, crls, root.crl(time.Hour, serials...))
	awaitLine("files about clients have changed")
	for i, way := range clientWays {
		line, err := g.visit(sessions[i], clients[i])
		if err == nil || line["reason"] != "client_certificate_revoked" || line["alert"] != "certificate_revoked" {
			t.Errorf("%s: %v, %v", way.name, err, line)
		}
		renewed := root.client("b")
		if line, err := g.visit(sessions[i], renewed); err != nil || line["client_subject"] != "CN=b,O=Example" {
			t.Errorf("%s: another certificate: %v, %v", way.name, err, line)
		}
	}

	scope := g.current.routes[0].ticketScope()
	replace(t, crls, other.crl(time.Hour)) // first, so that it is there when its authority is
	replace(t, ca, other.pem())
	for deadline := time.Now().Add(patience); g.current.routes[0].ticketScope() == scope; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("other authorities do not come, or have the same scope of tickets")
		}
	}
	for _, way := range clientWays {
		if _, err := g.visit(g.clientOf(way.version, way.suite), root.client("c")); err == nil {
			t.Errorf("%s: the old authority is trusted", way.name)
		}
		if _, err := g.visit(g.clientOf(way.version, way.suite), other.client("d")); err != nil {
			t.Errorf("%s: the new authority is not trusted: %v", way.name, err)
		}
	}
	if !g.counted(`suitegate_client_auth_reloads_total{listener="front",result="failed"} 1`) {
		t.Error("not counted once, and once only")
	}
}

// A ticket carries no session to where other clients are let in.
func TestTicketsAndClientCertificates(t *testing.T) {
	root, other := (&issuer{t: t}).authority("root"), (&issuer{t: t}).authority("other")
	dir := t.TempDir()
	ca, both := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "both.pem")
	replace(t, ca, root.pem())
	replace(t, both, root.pem(), other.pem())
	node := broker(t, echo)
	base := withClients(node, fmt.Sprintf("mode: request, ca: %q", ca))
	for name, changed := range map[string]string{
		"nothing":        base,
		"off":            one("tcp", "activemq", node, ""),
		"mode":           withClients(node, fmt.Sprintf("mode: require, ca: %q", ca)),
		"bundle":         withClients(node, fmt.Sprintf("mode: request, ca: %q", both)),
		"rules":          withClients(node, fmt.Sprintf("mode: request, ca: %q, allow: {cn: [a]}", ca)),
		"chain's length": withClients(node, fmt.Sprintf("mode: request, ca: %q, max_depth: 0", ca)),
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, base)
			client := root.client("a")
			var sessions []*tls.Config
			for _, way := range clientWays {
				config := g.clientOf(way.version, way.suite)
				if _, err := g.visit(config, client); err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, config)
			}
			if err := g.Apply(parse(t, changed)); err != nil {
				t.Fatal(err)
			}
			for i, way := range clientWays {
				line, err := g.visit(sessions[i], client)
				if err != nil || line["resumed"] != (name == "nothing") {
					t.Errorf("%s: %v, %v", way.name, err, line)
				}
			}
		})
	}
}

// Mistakes in files and rules are told with their positions, all at once, and
// a reload with them changes nothing.
func TestClientCertificatesMistakes(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	replace(t, ca, (&issuer{t: t}).authority("root").pem())
	g := start(t, withClients(broker(t, echo), fmt.Sprintf("mode: require, ca: %q", ca)))
	config := parse(t, fmt.Sprintf(`
upstreams: {broker: {nodes: ["127.0.0.1:1"]}}
listeners:
  - name: front
    address: "127.0.0.1:0"
    protocol: tcp
    policy: activemq
    upstream: broker
    client_certificates:
      mode: require
      ca: none.pem
      crl: [%q]
      allow:
        dn: ["CN=a", "a"]
        spki: ["00"]
`, ca))
	err := g.Apply(config)
	var errs configs.Errors
	if !errors.As(err, &errs) {
		t.Fatalf("%T: %v", err, err)
	}
	var positions []string
	for _, e := range errs {
		positions = append(positions, fmt.Sprint(e.Pos.Line, ":", e.Pos.Column))
	}
	if want := []string{"13:11", "14:13", "16:22", "17:16"}; !slices.Equal(positions, want) {
		t.Errorf("positions %v, want %v\n%v", positions, want, err)
	}
	if _, _, err := Check(config, nil); err == nil || err.Error() != errs.Error() {
		t.Errorf("check: %v", err)
	}
	if _, err := g.visit(g.clientOf(tls.VersionTLS13, 0), nil); err == nil {
		t.Error("nobody is asked for a certificate any more")
	}
}
