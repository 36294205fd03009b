package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGnuTLS sees the gateway through another TLS library.
func TestGnuTLS(t *testing.T) {
	client := requireProgram(t, "gnutls-cli")
	g := startSuitesGateway(t)
	tests := []struct {
		name, listener, priority string
		want                     []string // in its output
		log                      record
	}{
		{"prefers the policy's", "rabbitmq", "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305:+AES-128-GCM:+AES-256-GCM",
			[]string{"(TLS1.3-X.509)", "(AES-256-GCM)", greeting},
			record{"version": "TLSv1.3", "suite": "TLS_AES_256_GCM_SHA384", "certificate": "ecdsa"}},
		{"TLS 1.2", "rabbitmq", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM",
			[]string{"(TLS1.2-X.509)", "(AES-128-GCM)", greeting},
			record{"version": "TLSv1.2", "suite": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "certificate": "rsa"}},
		{"RSA key exchange", "activemq", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:-CIPHER-ALL:+AES-256-CBC:-MAC-ALL:+SHA1",
			[]string{"(TLS1.2-X.509)", "(AES-256-CBC)", greeting},
			record{"version": "TLSv1.2", "suite": "TLS_RSA_WITH_AES_256_CBC_SHA"}},
		{"RSA key exchange refused", "rabbitmq", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:-CIPHER-ALL:+AES-256-CBC:-MAC-ALL:+SHA1",
			[]string{"Received alert [40]: Handshake failed"},
			record{"reason": "no_common_suite", "alert": "handshake_failure"}},
		{"TLS 1.1 refused", "activemq", "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT",
			[]string{"Received alert [70]: Error in protocol version"},
			record{"reason": "unsupported_version", "alert": "protocol_version"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host, port, err := net.SplitHostPort(g.address(t, test.listener))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(client, "--x509cafile", pki(t).root, "--port", port, "--priority", test.priority, host)
			cmd.Stdin = strings.NewReader(greeting)
			out, _ := runClient(t, cmd) // what it prints says more than its exit code
			wantOutput(t, out, test.want...)
			g.connection(t).want(t, test.log)
		})
	}
}

// TestJava sees the gateway through Java's own TLS, which ActiveMQ's users have.
func TestJava(t *testing.T) {
	properties := pki(t).javaProperties(t)
	g := startSuitesGateway(t)
	tests := []struct {
		listener, version, suite string
		want                     string // "hello", or what the client reports
		log                      record
	}{
		{"rabbitmq", "TLSv1.3", "TLS_AES_128_GCM_SHA256", "hello", record{"suite": "TLS_AES_128_GCM_SHA256"}},
		{"rabbitmq", "TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "hello", record{"suite": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"}},
		{"rabbitmq", "TLSv1.2", "TLS_RSA_WITH_AES_128_CBC_SHA", "Received fatal alert: handshake_failure", record{"reason": "no_common_suite"}},
		{"rabbitmq", "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", "Received fatal alert: handshake_failure", record{"reason": "no_common_suite"}},
		{"rabbitmq", "TLSv1.1", "TLS_RSA_WITH_AES_128_CBC_SHA", "Received fatal alert: protocol_version", record{"reason": "unsupported_version"}},
		{"activemq", "TLSv1.2", "TLS_RSA_WITH_AES_128_CBC_SHA256", "hello", record{"suite": "TLS_RSA_WITH_AES_128_CBC_SHA256"}},
		{"activemq", "TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "hello", record{"suite": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"}},
	}
	for _, listener := range []string{"rabbitmq", "activemq"} { // a start of Java each
		_, port, err := net.SplitHostPort(g.address(t, listener))
		if err != nil {
			t.Fatal(err)
		}
		args := append(properties, filepath.Join("testdata", "Handshake.java"), port)
		var want []string
		for _, test := range tests {
			if test.listener == listener {
				args = append(args, test.version, test.suite)
				want = append(want, test.version+" "+test.suite+" "+test.want+"\n")
			}
		}
		out, err := runClient(t, exec.Command("java", args...))
		if err != nil {
			t.Errorf("java: %v", err)
		}
		wantOutput(t, out, want...)
		lines := g.connectionsInOrder(t, len(want))
		for _, test := range tests {
			if test.listener == listener {
				lines[0].want(t, test.log)
				lines = lines[1:]
			}
		}
	}
}
