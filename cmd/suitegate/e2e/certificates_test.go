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
