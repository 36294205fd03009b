package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/engine"
)

// A judge says of hellos what the listeners of a gateway with the same
// configuration answer and log: reason, alert and error, or version, suite and
// certificate.
func TestJudge(t *testing.T) {
	node := broker(t, echo)
	config := parseWith(t, []string{
		fileCertificate(t, "rsa", newKey(t, policy.RSA), x509.Certificate{}, "a.example", "*.wild.example"),
		fileCertificate(t, "ec", newKey(t, policy.ECDSAP256), x509.Certificate{}, "b.example", "x.wild.example"),
		"{name: self, self_signed: {names: [self.example]}}",
	}, `
storage: `+t.TempDir()+`
log: {refusals_per_minute: 0}
upstreams: {broker: {nodes: ["`+node+`"]}}
listeners:
  - {name: files, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, certificates: [rsa, ec]}
  - {name: all, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker}
  - {name: known, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker, certificates: [rsa, ec], server_name: known, default_certificate: ec}
  - {name: required, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, certificates: [self], server_name: required}
`)
	g := startWith(t, config)
	var hellos [][]byte
	for _, name := range []string{"a.example", "b.example", "X.wild.example", "y.wild.example", "self.example", "elsewhere.example", "192.0.2.1", ""} {
		hellos = append(hellos, helloBytes(t, name, tls.VersionTLS13, 0), helloBytes(t, name, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
			helloBytes(t, name, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), helloBytes(t, name, tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA256))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		hellos = append(hellos, randomHello(random))
	}
	for _, listener := range []string{"files", "all", "known", "required"} {
		judge, err := NewJudge(config, listener, nil)
		if err != nil {
			t.Fatal(err)
		}
		verdicts := make(map[bool]int)
		lines := 0
		for _, hello := range hellos {
			parsed, err := clienthello.Read(bytes.NewReader(hello), clienthello.MaxSize)
			if err != nil {
				continue // nobody decides on those
			}
			e, err := judge.Explain(OfferOf(parsed), parsed.ALPN)
			if err != nil {
				t.Fatal(err)
			}
			verdicts[e.Refused == nil]++
			conn := g.dial(listener)
			_ = answerTo(t, conn, hello) // which the log line has
			lines++
			line := g.log.wait(t, lines, func(l map[string]any) bool { return l["msg"] == "connection" && l["listener"] == listener })
			var got, want string
			if e.Refused != nil {
				got = fmt.Sprint(e.Refused.Reason, " ", engine.AlertName(e.Refused.Alert), " ", e.Refused.Err)
				want = fmt.Sprint(line["reason"], " ", line["alert"], " ", line["error"])
			} else {
				d := e.Trace.Decision
				got = fmt.Sprint(d.Version, d.Suite.Name, d.Key, e.Certificate)
				want = fmt.Sprint(line["version"], line["suite"], line["key"], line["certificate"])
			}
			if got != want {
				t.Errorf("%s, %q: the judge says\n%s, the gateway\n%s\n%v", listener, parsed.ServerName, got, want, line)
			}
		}
		if verdicts[true] < 2 || verdicts[false] < 2 {
			t.Errorf("%s: %v", listener, verdicts)
		}
	}
}

// A configuration with a mistake is refused as by Check.
func TestJudgeMistakes(t *testing.T) {
	config := parseWith(t, []string{fileCertificate(t, "ec", newKey(t, policy.ECDSAP256), x509.Certificate{}, "a.example")}, `
upstreams: {broker: {nodes: ["127.0.0.1:1"]}}
listeners:
  - {name: a, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker}
`)
	_, _, want := Check(config, nil)
	if _, err := NewJudge(config, "a", nil); err == nil || want == nil || err.Error() != want.Error() || !strings.HasPrefix(err.Error(), config.File+":5:62:") {
		t.Errorf("%v, want %v", err, want)
	}
}

// What a client offers by ALPN is judged, too, as the engine does.
func TestJudgeALPN(t *testing.T) {
	node := broker(t, echo)
	config := parse(t, `
upstreams: {broker: {nodes: ["`+node+`"]}}
listeners: [{name: front, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker, alpn: [amqp, mqtt]}]
`)
	g := startWith(t, config)
	judge, err := NewJudge(config, "front", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256} { // GCM and CBC
		for _, alpn := range [][]string{nil, {"mqtt"}, {"h2", "amqp"}, {"h2"}, {"http/1.1", "x"}} {
			conn, err := g.connect("front", &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}, NextProtos: alpn})
			conn.Close()
			line := g.lineOf("front", conn.LocalAddr())
			e, judged := judge.Explain(policy.Offer{LegacyVersion: policy.TLS12, Suites: []uint16{suite}, Groups: []policy.Group{policy.X25519},
				PointFormats: []uint8{0}, Signatures: []policy.SignatureScheme{0x0804}}, alpn)
			if judged != nil || (e.Refused == nil) != (err == nil) {
				t.Errorf("%q: %+v, %v; the gateway: %v", alpn, e.Refused, judged, err)
				continue
			}
			if e.Refused != nil && (e.Refused.Reason != line["reason"] || !strings.Contains(err.Error(), "no application protocol")) {
				t.Errorf("%q: %+v; the gateway: %v", alpn, e.Refused, line)
			}
		}
	}
}
