package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSelfSigned shows that a client which trusts the root that the gateway has
// made and written out gets in, and still does when the gateway runs anew.
func TestSelfSigned(t *testing.T) {
	c := echoConfig(t)
	c.Storage = t.TempDir()
	c.Certificates = []certificateConfig{{Name: "own", SelfSigned: map[string][]string{"names": {"localhost", "127.0.0.1"}}}}
	c.Upstreams["echo"] = upstreamConfig{Nodes: []string{stubBroker(t, echoLine)}}
	rootFile := filepath.Join(c.Storage, "root.pem")
	var before []byte
	for _, name := range []string{"first start", "second start"} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, c)
			root, err := os.ReadFile(rootFile)
			if err != nil {
				t.Fatal(err)
			}
			if before != nil && string(root) != string(before) {
				t.Error("the root is another one")
			}
			before = root
			for version, option := range map[string]string{"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"} {
				want := rabbitmqSuites[0]
				if version == "TLSv1.3" {
					want = tls13[0]
				}
				echoed := sClient(t, g, "first", option, "-CAfile", rootFile, "-brief")
				wantOutput(t, echoed, "Protocol version: "+version+"\n", "Ciphersuite: "+want.openssl+"\n", "Verification: OK", greeting)
				g.connection(t).want(t, record{"certificate": "own", "version": version})
			}
		})
	}
}

// TestServerName shows that the name a client asks for chooses among the
// certificates, and that one without a name, or with a strange one, is served
// as well.
func TestServerName(t *testing.T) {
	c := echoConfig(t)
	c.Upstreams["echo"] = upstreamConfig{Nodes: []string{stubBroker(t, echoLine)}}
	c.Certificates = []certificateConfig{pki(t).files("rsa", "rsa"), pki(t).files("other", "other")}
	g := startGateway(t, c)
	for name, want := range map[string]struct {
		args        []string
		certificate string
		verified    string
	}{
		"first":   {[]string{"-servername", "localhost"}, "rsa", "localhost"},
		"other":   {[]string{"-servername", "other.example"}, "other", "other.example"},
		"no name": {[]string{"-noservername"}, "rsa", "localhost"},
		"unknown": {[]string{"-servername", "nobody.example"}, "rsa", "localhost"},
	} {
		t.Run(name, func(t *testing.T) {
			out := sClient(t, g, "first", append(want.args, "-verify_hostname", want.verified, "-brief")...)
			wantOutput(t, out, "Verification: OK", "Verified peername: "+want.verified+"\n", greeting)
			g.connection(t).want(t, record{"certificate": want.certificate})
		})
	}
}

// TestServerNameRefused shows what a client is told whose name a listener does
// not take, whatever version it speaks and whichever suite it would have
// got, and what those get that the listener does take.
func TestServerNameRefused(t *testing.T) {
	t.Parallel()
	c := echoConfig(t)
	c.Upstreams["echo"] = upstreamConfig{Nodes: []string{stubBroker(t, echoLine)}}
	c.Certificates = []certificateConfig{pki(t).files("rsa", "rsa"), pki(t).files("other", "other"), pki(t).files("wild", "wild")}
	c.Listeners = []listenerConfig{
		{Name: "known", Protocol: "tcp", Policy: "activemq", Upstream: "echo", ServerName: "known", DefaultCertificate: "other"},
		{Name: "required", Protocol: "tcp", Policy: "activemq", Upstream: "echo", ServerName: "required"},
	}
	g := startGateway(t, c)
	const unrecognized, missing = "SSL alert number 112", "SSL alert number 109"
	for way, options := range map[string][]string{
		"TLS 1.3":            {"-tls1_3"},
		"TLS 1.2 with ECDHE": {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"},
		"TLS 1.2 with CBC":   {"-tls1_2", "-cipher", "DHE-RSA-AES128-SHA256"},
	} {
		nameless := unrecognized
		if way == "TLS 1.3" {
			nameless = missing
		}
		for _, tt := range []struct {
			name, listener string
			args           []string
			told           string // the alert, or the name that is verified
			want           record
		}{
			{"known", "known", []string{"-servername", "localhost"}, "localhost", record{"certificate": "rsa"}},
			{"capitals", "known", []string{"-servername", "LocalHost"}, "localhost", record{"certificate": "rsa"}},
			{"wildcard", "known", []string{"-servername", "x.wild.example"}, "x.wild.example", record{"certificate": "wild"}},
			{"wildcard for two labels", "known", []string{"-servername", "y.x.wild.example"}, unrecognized, record{"reason": "unrecognized_name"}},
			{"wildcard's parent", "known", []string{"-servername", "wild.example"}, unrecognized, record{"reason": "unrecognized_name"}},
			{"address of a certificate", "known", []string{"-servername", "127.0.0.1"}, "localhost", record{"certificate": "rsa"}},
			{"strange address", "known", []string{"-servername", "192.0.2.1"}, "other.example", record{"certificate": "other"}},
			{"no name", "known", []string{"-noservername"}, "other.example", record{"certificate": "other"}},
			{"strange", "known", []string{"-servername", "nobody.example"}, unrecognized,
				record{"reason": "unrecognized_name", "alert": "unrecognized_name", "sni": "nobody.example"}},
			{"below a name", "known", []string{"-servername", "sub.localhost"}, unrecognized, record{"reason": "unrecognized_name"}},
			{"strange", "required", []string{"-servername", "nobody.example"}, unrecognized, record{"reason": "unrecognized_name"}},
			{"no name", "required", []string{"-noservername"}, nameless, record{"reason": "no_server_name"}},
			{"trailing dot", "required", []string{"-servername", "localhost."}, "alert", record{"reason": "malformed_hello"}}, // RFC 6066 section 3
			{"known", "required", []string{"-servername", "other.example"}, "other.example", record{"certificate": "other"}},
		} {
			t.Run(way+"/"+tt.listener+"/"+tt.name, func(t *testing.T) {
				if tt.want["reason"] != nil {
					out := sClient(t, g, tt.listener, append(options, tt.args...)...)
					wantOutput(t, out, tt.told)
				} else {
					out := sClient(t, g, tt.listener, append(append(options, tt.args...), "-verify_hostname", tt.told, "-brief")...)
					wantOutput(t, out, "Verification: OK", "Verified peername: ", greeting)
				}
				g.connection(t).want(t, tt.want)
			})
		}
	}
}
