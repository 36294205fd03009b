package proxy

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
)

// Who is served less than others is told, by server name, and with the place
// in the file.
func TestCheckServerNames(t *testing.T) {
	certificates := []string{
		fileCertificate(t, "rsa", newKey(t, policy.RSA), x509.Certificate{}, "a.example", "both.example", "*.wild.example"),
		fileCertificate(t, "ec", newKey(t, policy.ECDSAP256), x509.Certificate{},
			"b.example", "both.example", "x.wild.example", "c1.example", "c2.example", "c3.example", "c4.example", "c5.example"),
	}
	config := parseWith(t, certificates, `
upstreams: {broker: {nodes: ["127.0.0.1:1"]}}
policies:
  mixed: {tls12: [ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA-AES256-GCM-SHA384]}
  tls13: {tls13: [TLS_AES_128_GCM_SHA256]}
listeners:
  - {name: all, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker}
  - {name: mixed, address: "a.example:0", protocol: tcp, policy: mixed, upstream: broker, certificates: [rsa, ec]}
  - {name: fine, address: "y.wild.example:0", protocol: tcp, policy: tls13, upstream: broker}
  - {name: default, address: "strange.example:0", protocol: tcp, policy: rabbitmq, upstream: broker, default_certificate: ec}
  - {name: required, address: "localhost:0", protocol: tcp, policy: rabbitmq, upstream: broker, certificates: [rsa], server_name: required}
`)
	effective, warnings, err := Check(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, strings.TrimPrefix(w.Error(), config.File+":"))
	}
	const ec = `"b.example", "c1.example", "c2.example", "c3.example", "c4.example" and 1 more, for whom there are ECDSA-P256 keys alone`
	const less = "policy rabbitmq: 2 of 4 suites, which is all of TLSv1.2, are not served to clients "
	want := []string{
		"8:5: " + less + "of " + ec,
		`9:105: policy mixed: 1 of 2 suites are not served to clients of "a.example", "*.wild.example", for whom there are RSA keys alone`,
		`9:105: policy mixed: 1 of 2 suites are not served to clients of ` + ec,
		"11:5: " + less + "of " + ec,
		`11:30: no certificate of the listener has the name "strange.example"`,
		"11:123: " + less + "that get the default certificate, for whom there are ECDSA-P256 keys alone",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	p := effective[0].Partly
	if len(p) != 1 || len(p[0].Unserved) != 2 || p[0].Unserved[0].Why != "no RSA certificate" || len(p[0].Policy.TLS13) != 2 {
		t.Errorf("%+v", p)
	}
	if len(effective[2].Partly) != 0 || len(effective[4].Partly) != 0 {
		t.Errorf("%+v", effective)
	}
}

// A default certificate that can serve nobody is a mistake.
func TestCheckDefaultCertificate(t *testing.T) {
	certificates := []string{
		fileCertificate(t, "rsa", newKey(t, policy.RSA), x509.Certificate{}, "a.example"),
		fileCertificate(t, "ec", newKey(t, policy.ECDSAP256), x509.Certificate{}, "b.example"),
	}
	config := parseWith(t, certificates, `
upstreams: {broker: {nodes: ["127.0.0.1:1"]}}
policies: {old: {tls12: [ECDHE-RSA-AES256-GCM-SHA384, AES256-SHA]}}
listeners:
  - {name: a, address: "127.0.0.1:0", protocol: tcp, policy: old, upstream: broker, default_certificate: ec}
`)
	const want = ":6:106: default_certificate: no suite of policy old can be served with ec: no RSA certificate"
	_, _, err := Check(config, nil)
	var mistakes configs.Errors
	if !errors.As(err, &mistakes) || err.Error() != config.File+want {
		t.Errorf("Check: %v", err)
	}
	g := &Server{}
	defer g.Close()
	if err := g.Apply(config); err == nil || err.Error() != config.File+want {
		t.Errorf("Apply: %v", err)
	}
}

func TestLeafWarnings(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		from, to time.Duration
		dns      []string
		want     string
	}{
		{"good", -300 * day, 65 * day, []string{"a.example"}, "[]"},
		{"soon", -355 * day, 10*day + time.Hour, []string{"a.example"}, "[the certificate expires on 2026-07-11, days left: 10]"},
		{"short-lived", -day, 5 * day, []string{"a.example"}, "[]"},
		{"over", -365 * day, -time.Second, []string{"a.example"}, "[the certificate has expired on 2026-07-01]"},
		{"early", time.Hour, 365 * day, []string{"a.example"}, "[the certificate is not valid before 2026-07-01T13:00:00Z]"},
		{"nameless", -300 * day, 65 * day, nil,
			`[the certificate has no alternative name, only the common name "mq\n", which clients do not look at any more (RFC 9525)]`},
	} {
		leaf := &x509.Certificate{NotBefore: now.Add(tt.from), NotAfter: now.Add(tt.to), DNSNames: tt.dns, Subject: pkix.Name{CommonName: "mq\n"}}
		if got := fmt.Sprint(leafWarnings(leaf, now)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
