package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suite is a cipher suite by its IANA and OpenSSL names, and who serves it.
type suite struct{ iana, openssl, engine string }

// The engines as the log calls them.
const (
	own12    = "tls12"
	own13    = "tls13"
	standard = "crypto/tls" // in FIPS 140-3 mode, and there alone
)

// tls13 are the suites of TLS 1.3, which have one name.
var tls13 = []suite{
	{"TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", own13},
	{"TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", own13},
}

// rabbitmqSuites and activemqSuites are what Amazon MQ publishes for TLS 1.2.
var rabbitmqSuites = []suite{
	{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", own12},
	{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", own12},
}

var activemqSuites = append([]suite{
	{"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", "ECDHE-RSA-AES256-SHA384", own12},
	{"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA", own12},
	{"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "DHE-RSA-AES256-GCM-SHA384", own12},
	{"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", "DHE-RSA-AES256-SHA256", own12},
	{"TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "DHE-RSA-AES256-SHA", own12},
	{"TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384", own12},
	{"TLS_RSA_WITH_AES_256_CBC_SHA256", "AES256-SHA256", own12},
	{"TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA", own12},
	{"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", own12},
	{"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA", own12},
	{"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "DHE-RSA-AES128-GCM-SHA256", own12},
	{"TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", "DHE-RSA-AES128-SHA256", own12},
	{"TLS_DHE_RSA_WITH_AES_128_CBC_SHA", "DHE-RSA-AES128-SHA", own12},
	{"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", own12},
	{"TLS_RSA_WITH_AES_128_CBC_SHA256", "AES128-SHA256", own12},
	{"TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA", own12},
}, rabbitmqSuites...)

// startSuitesGateway has a listener for each built-in policy, by its name.
func startSuitesGateway(t *testing.T) *gateway {
	t.Helper()
	return startGateway(t, config{
		Upstreams: map[string]upstreamConfig{"echo": {Nodes: []string{stubBroker(t, echoLine)}}},
		Listeners: []listenerConfig{
			{Name: "rabbitmq", Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"},
			{Name: "activemq", Protocol: "tcp", Policy: "activemq", Upstream: "echo"},
		},
	})
}

// greeting goes through the gateway and back in every connection that is let in.
const greeting = "hello through the gateway\n"

// sClient runs `openssl s_client` with more arguments against a listener.
func sClient(t *testing.T, g *gateway, listener string, args ...string) string {
	t.Helper()
	cmd := exec.Command(requireProgram(t, "openssl"), append([]string{"s_client", "-connect", g.address(t, listener),
		"-CAfile", pki(t).root, "-verify_hostname", "localhost", "-verify_return_error", "-ign_eof"}, args...)...)
	cmd.Stdin = strings.NewReader(greeting)
	out, _ := runClient(t, cmd) // what it prints says more than its exit code
	return out
}

// wantOutput fails the test unless all texts are in what a client printed.
func wantOutput(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("the client does not say %q:\n%s", text, out)
		}
	}
}

// accepts shows that a client gets in, with which version and suite, in its
// own words and in the log's.
func accepts(t *testing.T, g *gateway, listener, version string, s suite, args ...string) record {
	t.Helper()
	out := sClient(t, g, listener, append(args, "-brief")...)
	wantOutput(t, out, "Protocol version: "+version+"\n", "Ciphersuite: "+s.openssl+"\n", "Verification: OK", greeting)
	line := g.connection(t)
	line.want(t, record{
		"listener": listener, "version": version, "suite": s.iana, "engine": s.engine, "upstream": "echo",
		"bytes_from_client": len(greeting), "bytes_from_backend": len(greeting), "alert": nil,
	})
	return line
}

// The alerts that a client is refused with, as OpenSSL prints them.
const (
	alertHandshakeFailure      = "SSL alert number 40"
	alertProtocolVersion       = "SSL alert number 70"
	alertInappropriateFallback = "SSL alert number 86"
)

// refuses shows that a client is told an alert, and the log why.
func refuses(t *testing.T, g *gateway, listener, alert, alertName, reason string, args ...string) {
	t.Helper()
	out := sClient(t, g, listener, args...)
	wantOutput(t, out, alert+"\n")
	if strings.Contains(out, greeting) {
		t.Error("the refused client got through to the broker")
	}
	g.connection(t).want(t, record{"listener": listener, "reason": reason, "alert": alertName, "upstream": nil, "suite": nil})
}

func TestSuitesAccepted(t *testing.T) {
	t.Parallel()
	g := startSuitesGateway(t)
	for listener, suites := range map[string][]suite{"rabbitmq": rabbitmqSuites, "activemq": activemqSuites} {
		for _, s := range suites {
			t.Run(listener+" "+s.openssl, func(t *testing.T) {
				accepts(t, g, listener, "TLSv1.2", s, "-tls1_2", "-cipher", s.openssl+":@SECLEVEL=0").
					want(t, record{"certificate": "rsa"})
			})
		}
		for _, s := range tls13 {
			t.Run(listener+" "+s.openssl, func(t *testing.T) {
				accepts(t, g, listener, "TLSv1.3", s, "-tls1_3", "-ciphersuites", s.openssl).
					want(t, record{"certificate": "ecdsa"})
			})
		}
	}
}

func TestSuitesRefused(t *testing.T) {
	t.Parallel()
	g := startSuitesGateway(t)
	chacha := suite{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", own12}
	refused := map[string][]suite{"rabbitmq": {chacha}, "activemq": {chacha}}
	sixteen := activemqSuites[:len(activemqSuites)-len(rabbitmqSuites)]
	refused["rabbitmq"] = append(refused["rabbitmq"], sixteen...)
	for listener, suites := range refused {
		for _, s := range suites {
			t.Run(listener+" "+s.openssl, func(t *testing.T) {
				refuses(t, g, listener, alertHandshakeFailure, "handshake_failure", "no_common_suite",
					"-tls1_2", "-cipher", s.openssl+":@SECLEVEL=0")
			})
		}
		t.Run(listener+" ChaCha20 in TLS 1.3", func(t *testing.T) {
			refuses(t, g, listener, alertHandshakeFailure, "handshake_failure", "no_common_suite",
				"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")
		})
		t.Run(listener+" ChaCha20 in TLS 1.3 is not carried to 1.2", func(t *testing.T) {
			refuses(t, g, listener, alertHandshakeFailure, "handshake_failure", "no_common_suite",
				"-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384")
		})
		for _, version := range []string{"-tls1", "-tls1_1"} {
			t.Run(listener+" "+version, func(t *testing.T) {
				refuses(t, g, listener, alertProtocolVersion, "protocol_version", "unsupported_version",
					version, "-cipher", "ALL:@SECLEVEL=0")
			})
		}
		t.Run(listener+" fallback", func(t *testing.T) {
			refuses(t, g, listener, alertInappropriateFallback, "inappropriate_fallback", "inappropriate_fallback",
				"-tls1_2", "-fallback_scsv")
		})
		t.Run(listener+" no group in common", func(t *testing.T) {
			refuses(t, g, listener, alertHandshakeFailure, "handshake_failure", "no_common_group",
				"-tls1_3", "-groups", "X448")
		})
		t.Run(listener+" whatever name it asks for", func(t *testing.T) {
			refuses(t, g, listener, alertHandshakeFailure, "handshake_failure", "no_common_suite",
				"-servername", "weak.example", "-tls1_2", "-cipher", "CAMELLIA256-SHA:@SECLEVEL=0")
		})
	}
}

// TestPreference shows that the policy's order counts, not the client's.
func TestPreference(t *testing.T) {
	g := startSuitesGateway(t)
	byName := func(openssl string) suite {
		for _, s := range slices.Concat(activemqSuites, tls13) {
			if s.openssl == openssl {
				return s
			}
		}
		t.Fatalf("no suite %s", openssl)
		return suite{}
	}
	tests := []struct {
		listener, version, want string
		args                    []string
	}{
		{"rabbitmq", "TLSv1.3", "TLS_AES_256_GCM_SHA384", []string{"-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"}},
		{"activemq", "TLSv1.3", "TLS_AES_128_GCM_SHA256", []string{"-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"}},
		{"rabbitmq", "TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384", []string{"-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"}},
		{"activemq", "TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", []string{"-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"}},
		{"activemq", "TLSv1.2", "ECDHE-RSA-AES128-SHA", []string{"-tls1_2", "-cipher", "AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA:@SECLEVEL=0"}},
		{"activemq", "TLSv1.2", "AES128-GCM-SHA256", []string{"-tls1_2", "-cipher", "AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0"}},
	}
	for _, test := range tests {
		t.Run(test.listener+" "+test.want, func(t *testing.T) {
			accepts(t, g, test.listener, test.version, byName(test.want), test.args...)
		})
	}
}

// TestKeyExchangeAndSignature shows which group and certificate a client gets.
func TestKeyExchangeAndSignature(t *testing.T) {
	g := startSuitesGateway(t)
	tests := []struct {
		name        string
		group       any // nil for RSA's key exchange, which has none
		certificate string
		version     string
		want        suite
		args        []string
	}{
		{"X25519", "X25519", "ecdsa", "TLSv1.3", tls13[0], []string{"-groups", "X25519"}},
		{"P-256", "P-256", "ecdsa", "TLSv1.3", tls13[0], []string{"-groups", "P-256"}},
		{"P-384", "P-384", "ecdsa", "TLSv1.3", tls13[0], []string{"-groups", "P-384"}},
		{"one after X448", "P-384", "ecdsa", "TLSv1.3", tls13[0], []string{"-groups", "X448:P-384"}},
		{"P-384 in TLS 1.2", "P-384", "rsa", "TLSv1.2", rabbitmqSuites[0], []string{"-tls1_2", "-groups", "P-384"}},
		{"RSA only", "X25519", "rsa", "TLSv1.3", tls13[0], []string{"-groups", "X25519", "-sigalgs", "rsa_pss_rsae_sha256"}},
		{"without name", "X25519", "ecdsa", "TLSv1.3", tls13[0], []string{"-groups", "X25519", "-noservername"}},
		{"RSA key exchange", nil, "rsa", "TLSv1.2", suite{"TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256", own12}, []string{"-tls1_2", "-cipher", "AES128-GCM-SHA256"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			accepts(t, g, "activemq", test.version, test.want, test.args...).
				want(t, record{"group": test.group, "certificate": test.certificate})
		})
	}
}

// TestResumption shows that a session resumes on its own listener, and that it
// opens no other.
func TestResumption(t *testing.T) {
	g := startSuitesGateway(t)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run(version, func(t *testing.T) {
			session := filepath.Join(t.TempDir(), "session.pem")
			sClient(t, g, "activemq", version, "-sess_out", session)
			g.connection(t).want(t, record{"listener": "activemq", "resumed": false})
			wantOutput(t, sClient(t, g, "activemq", version, "-sess_in", session), "Reused, TLSv1.", greeting)
			g.connection(t).want(t, record{"listener": "activemq", "resumed": true})
			wantOutput(t, sClient(t, g, "rabbitmq", version, "-sess_in", session), "New, TLSv1.", greeting)
			g.connection(t).want(t, record{"listener": "rabbitmq", "resumed": false})
		})
	}
}
