package e2e

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// fipsOnly has Go's cryptographic module refuse whatever FIPS 140-3 does not
// approve, wherever in the gateway it is asked for.
var fipsOnly = []string{"env", "GODEBUG=fips140=only"}

// startFIPSGateway has a listener for each of two policies, and proves them when
// it starts.
func startFIPSGateway(t *testing.T, change func(*config)) (*gateway, config) {
	t.Helper()
	c := config{
		FIPS: "required", Prove: map[string]string{"mode": "enforce"},
		Upstreams: map[string]upstreamConfig{"echo": {Nodes: []string{stubBroker(t, echoLine)}}},
		Listeners: []listenerConfig{
			{Name: "rabbitmq", Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"},
			{Name: "fips", Protocol: "tcp", Policy: "fips-140-3-2026-02", Upstream: "echo"},
		},
	}
	change(&c)
	g := launchGateway(t, c, fipsOnly...)
	g.started(t, len(c.Listeners))
	return g, c
}

// byStandard are suites as FIPS 140-3 mode serves them.
func byStandard(suites []suite) []suite {
	suites = slices.Clone(suites)
	for i := range suites {
		suites[i].engine = standard
	}
	return suites
}

// fipsSuites are those of fips-140-3-2026-02.
var fipsSuites = append([]suite{
	{"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256", standard},
	{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", standard},
	{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", standard},
}, byStandard(rabbitmqSuites)...)

// TestFIPS shows to OpenSSL what is served in FIPS 140-3 mode, and what is not.
func TestFIPS(t *testing.T) {
	g, c := startFIPSGateway(t, func(*config) {})
	g.log.await(t, "cryptography", func(r record) bool { return r.text("fips_mode") == "only" })
	if proved := g.log.await(t, "proved", nil); proved.number("differences") != 0 || proved.number("offers") < 1000 {
		t.Errorf("%v", proved)
	}
	t.Run("status", func(t *testing.T) {
		var status struct {
			FIPS struct{ Module, Version, Mode string } `json:"fips"`
		}
		if _, body := g.get(t, "/status"); json.Unmarshal([]byte(body), &status) != nil || status.FIPS.Mode != "only" || status.FIPS.Version == "" {
			t.Errorf("%+v", status)
		}
		if _, page := g.get(t, "/"); !strings.Contains(page, "FIPS 140-3 mode is only") {
			t.Errorf("%s", page)
		}
	})
	for listener, suites := range map[string][]suite{"rabbitmq": byStandard(rabbitmqSuites), "fips": fipsSuites} {
		for _, s := range suites {
			t.Run(listener+" "+s.openssl, func(t *testing.T) {
				accepts(t, g, listener, "TLSv1.2", s, "-tls1_2", "-cipher", s.openssl+":@SECLEVEL=0")
			})
		}
		for _, s := range byStandard(tls13) {
			t.Run(listener+" "+s.openssl, func(t *testing.T) {
				accepts(t, g, listener, "TLSv1.3", s, "-tls1_3", "-ciphersuites", s.openssl)
			})
		}
		t.Run(listener+" refuses", func(t *testing.T) { refusesUnapproved(t, g, listener, suites) })
	}
	t.Run("order", func(t *testing.T) {
		accepts(t, g, "rabbitmq", "TLSv1.3", byStandard(tls13)[1], "-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256").
			want(t, record{"group": "P-256"})
	})
	t.Run("resumption", func(t *testing.T) {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			session := filepath.Join(t.TempDir(), "session.pem")
			sClient(t, g, "fips", version, "-sess_out", session)
			g.connection(t).want(t, record{"resumed": false})
			wantOutput(t, sClient(t, g, "fips", version, "-sess_in", session), "Reused, TLSv1.", greeting)
			g.connection(t).want(t, record{"resumed": true})
		}
	})
	t.Run("reload", func(t *testing.T) {
		changed := c
		changed.Listeners = slices.Clone(c.Listeners)
		changed.Listeners[0].Policy = "activemq"
		g.reload(t, changed)
		mistake := g.log.await(t, "configuration", nil)
		if !regexp.MustCompile(`suitegate\.yml:\d+:\d+$`).MatchString(mistake.text("at")) {
			t.Errorf("the mistake has no position: %v", mistake)
		}
		for _, s := range activemqSuites {
			approved := slices.Contains(fipsSuites, suite{s.iana, s.openssl, standard})
			if named := strings.Contains(mistake.text("reason"), " "+s.openssl); named == approved {
				t.Errorf("%s is named %t: %s", s.openssl, named, mistake.text("reason"))
			}
		}
		accepts(t, g, "rabbitmq", "TLSv1.2", byStandard(rabbitmqSuites)[0], "-tls1_2")
	})
	// The last one, for its connections, which are over a thousand.
	t.Run("prove", func(t *testing.T) {
		fixed := c
		fixed.Listeners = slices.Clone(c.Listeners)
		for i := range fixed.Listeners {
			fixed.Listeners[i].Address = g.address(t, fixed.Listeners[i].Name)
		}
		file := filepath.Join(t.TempDir(), "suitegate.yml")
		fixed.write(t, file)
		out, err := exec.Command("env", fipsOnly[1], run.program, "prove", "--config", file).CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// refusesUnapproved tries everything that the listener's policy does not have.
func refusesUnapproved(t *testing.T, g *gateway, listener string, approved []suite) {
	t.Helper()
	const noSuite = "no_common_suite"
	handshakeFailure := func(reason string, args ...string) {
		refuses(t, g, listener, alertHandshakeFailure, "handshake_failure", reason, args...)
	}
	for _, s := range append(slices.Clone(activemqSuites), suite{"", "ECDHE-RSA-CHACHA20-POLY1305", standard}) {
		if !slices.ContainsFunc(approved, func(a suite) bool { return a.openssl == s.openssl }) {
			handshakeFailure(noSuite, "-tls1_2", "-cipher", s.openssl+":@SECLEVEL=0")
		}
	}
	handshakeFailure(noSuite, "-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256")
	handshakeFailure("no_common_group", "-tls1_3", "-groups", "X25519")
	handshakeFailure("no_common_group", "-tls1_2", "-groups", "X25519")
	// OpenSSL 3.0 has no option for it.
	t.Setenv("OPENSSL_CONF", filepath.Join(t.TempDir(), "openssl.cnf"))
	if err := writeFiles(map[string]string{os.Getenv("OPENSSL_CONF"): `openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
Options = -ExtendedMasterSecret
`}); err != nil {
		t.Fatal(err)
	}
	handshakeFailure("no_extended_master_secret", "-tls1_2")
}

// TestFIPSSelfSigned shows that certificates of the gateway's own, their root and
// their keys are made of what is approved, and sealed in the storage by it, too.
func TestFIPSSelfSigned(t *testing.T) {
	g, _ := startFIPSGateway(t, func(c *config) {
		c.Storage = t.TempDir()
		c.Seal = byPassphrase(t)
		c.Certificates = []certificateConfig{{Name: "own", SelfSigned: map[string][]string{"names": {"localhost"}}}}
	})
	out := sClient(t, g, "fips", "-tls1_2", "-brief", "-CAfile", filepath.Join(g.storage, "root.pem"))
	wantOutput(t, out, "Verification: OK", greeting)
	g.connection(t).want(t, record{"upstream": "echo"})
}

// TestFIPSClientCertificates shows who is let in by certificate, and that the
// alert about it is crypto/tls's own in TLS 1.3.
func TestFIPSClientCertificates(t *testing.T) {
	clients := newClientPKI(t)
	crl := clients.revoke(t, "revoked")
	g, _ := startFIPSGateway(t, func(c *config) {
		for i := range c.Listeners {
			c.Listeners[i].ClientCertificates = map[string]any{"mode": "require", "ca": clients.file("ca.crt"), "crl": []string{crl}}
		}
	})
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		as := func(name string) []string {
			return []string{version, "-cert", clients.file(name + ".crt"), "-key", clients.file(name + ".key")}
		}
		wantOutput(t, sClient(t, g, "fips", as("sensor")...), greeting)
		g.connection(t).want(t, record{"upstream": "echo"})
		sClient(t, g, "fips", as("revoked")...)
		alert := map[string]string{"-tls1_2": "certificate_revoked", "-tls1_3": "bad_certificate"}[version]
		g.connection(t).want(t, record{"reason": "client_certificate_revoked", "alert": alert})
	}
}

// TestFIPSUnderActivation shows that a gateway which enters the mode by itself
// keeps the sockets that a service manager has for it.
func TestFIPSUnderActivation(t *testing.T) {
	activate := requireProgram(t, "systemd-socket-activate")
	address := loopback(freePorts.next())
	g := launchGateway(t, config{
		FIPS:      "required",
		Upstreams: map[string]upstreamConfig{"echo": {Nodes: []string{stubBroker(t, echoLine)}}},
		Listeners: []listenerConfig{{Name: "first", Address: "127.0.0.1:0", Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"}},
	}, activate, "-E", "GORACE", "-l", address, "--fdname=first")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", address) // which starts it
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	g.log.await(t, "ready", nil)
	g.log.await(t, "cryptography", nil).want(t, record{"fips_mode": "on"})
	if got := g.address(t, "first"); got != address {
		t.Errorf("listening on %s, want %s", got, address)
	}
	wantOutput(t, sClient(t, g, "first", "-tls1_3"), greeting)
	g.stop(t)
}
