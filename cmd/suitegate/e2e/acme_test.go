package e2e

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// acmeConfig is a gateway with one entry, whose listener is where the ACME
// server validates names.
func acmeConfig(t *testing.T, p *pebble, acme map[string]any) config {
	c := echoConfig(t)
	c.Storage = t.TempDir()
	c.Certificates = []certificateConfig{p.acme(acme)}
	c.Upstreams["echo"] = upstreamConfig{Nodes: []string{stubBroker(t, echoLine)}}
	c.Listeners[0].Address = loopback(p.tlsPort)
	return c
}

// served is the certificate that a client of one version gets for a name, once
// it has verified it.
func served(t *testing.T, address, name string, version uint16, roots *x509.CertPool) (*x509.Certificate, error) {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address,
		&tls.Config{RootCAs: roots, ServerName: name, MinVersion: version, MaxVersion: version})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\n", greeting); err != nil {
		return nil, err
	}
	echo := make([]byte, len(greeting))
	if _, err := io.ReadFull(conn, echo); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

// obtained waits until the gateway has n certificates more.
func (g *gateway) obtained(t *testing.T, n int) {
	t.Helper()
	g.log.search(t, "obtained a certificate", func(records []record) (record, bool) {
		seen := 0
		for _, r := range records {
			if r.text("msg") == "obtained a certificate" {
				if seen++; seen == n {
					return r, true
				}
			}
		}
		return nil, false
	})
}

// awaitServed waits until a name has both kinds of certificate: they are in
// service a moment after the log says that they have been obtained.
func (g *gateway) awaitServed(t *testing.T, name string, roots *x509.CertPool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		_, rsaErr := served(t, g.address(t, "first"), name, tls.VersionTLS12, roots)
		cert, err := served(t, g.address(t, "first"), name, tls.VersionTLS13, roots)
		if rsaErr == nil && err == nil && cert.PublicKeyAlgorithm == x509.ECDSA {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not served: %v, %v", name, rsaErr, err)
		}
	}
}

// TestACME obtains both kinds of certificate for several names by each
// challenge, from an authority that wants to know the account.
func TestACME(t *testing.T) {
	const macKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	names := []string{"mq.example.com", "mqtt.example.com"}
	for challenge, more := range map[string]map[string]any{
		"tls-alpn-01": {},
		"http-01":     {"challenges": []string{"http-01"}},
	} {
		t.Run(challenge, func(t *testing.T) {
			p := startPebble(t, 90*24*time.Hour, func(c *pebbleConfig) {
				c.ExternalAccountBindingRequired = true
				c.ExternalAccountMACKeys = map[string]string{"kid-1": macKey}
			})
			t.Setenv("SUITEGATE_TEST_MAC_KEY", macKey)
			more["names"] = names
			more["external_account"] = map[string]any{"key_id": "kid-1", "mac_key_env": "SUITEGATE_TEST_MAC_KEY"}
			if challenge == "http-01" {
				more["http_address"] = loopback(p.httpPort)
			}
			c := acmeConfig(t, p, more)
			g := startGateway(t, c)
			g.obtained(t, 2*len(names))
			g.awaitServed(t, names[len(names)-1], p.roots(t))
			roots := p.roots(t)
			for _, name := range names {
				if cert, err := served(t, g.address(t, "first"), name, tls.VersionTLS12, roots); err != nil {
					t.Errorf("%s: TLS 1.2: %v", name, err)
				} else if _, ok := cert.PublicKey.(*rsa.PublicKey); !ok {
					t.Errorf("%s: TLS 1.2: the key is %T", name, cert.PublicKey)
				}
				if cert, err := served(t, g.address(t, "first"), name, tls.VersionTLS13, roots); err != nil {
					t.Errorf("%s: TLS 1.3: %v", name, err)
				} else if _, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok {
					t.Errorf("%s: TLS 1.3: the key is %T", name, cert.PublicKey)
				}
			}
			if n := p.orders(t); n != 2*len(names) {
				t.Errorf("%d certificates were issued, want %d", n, 2*len(names))
			}
			challenged := 0
			for _, r := range g.log.connections() {
				if r.text("reason") == "acme_challenge" {
					challenged++
					r.want(t, record{"level": "INFO", "alpn": "acme-tls/1", "bytes_from_client": 0, "upstream": nil, "policy": nil})
				}
			}
			if challenged == 0 && challenge == "tls-alpn-01" {
				t.Error("no challenge was answered")
			}
			if strings.Contains(string(g.log.all()), macKey) {
				t.Error("the MAC key is in the log")
			}
		})
	}
}
