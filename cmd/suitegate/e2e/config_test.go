package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v4"
)

// config is the gateway's configuration file, as far as the tests use it.
type config struct {
	Admin        map[string]string         `yaml:"admin"`
	Audit        map[string]string         `yaml:"audit,omitempty"`
	Hardening    map[string]any            `yaml:"hardening,omitempty"`
	FIPS         string                    `yaml:"fips,omitempty"`
	Log          map[string]any            `yaml:"log,omitempty"`
	Prove        map[string]string         `yaml:"prove"`
	Storage      string                    `yaml:"-"`
	Redis        string                    `yaml:"-"`       // address, instead of Storage
	Seal         map[string]any            `yaml:"-"`       // of either
	Where        any                       `yaml:"storage"` // made of the three
	Tickets      map[string]any            `yaml:"tickets,omitempty"`
	Restart      map[string]bool           `yaml:"restart,omitempty"`
	DrainTimeout string                    `yaml:"drain_timeout,omitempty"`
	Certificates []certificateConfig       `yaml:"certificates"`
	Policies     map[string]policyConfig   `yaml:"policies,omitempty"`
	Upstreams    map[string]upstreamConfig `yaml:"upstreams"`
	Listeners    []listenerConfig          `yaml:"listeners"`
}

type certificateConfig struct {
	Name       string              `yaml:"name"`
	Files      map[string]string   `yaml:"files,omitempty"`
	SelfSigned map[string][]string `yaml:"self_signed,omitempty"`
	ACME       map[string]any      `yaml:"acme,omitempty"`
}

type policyConfig struct {
	TLS12 []string `yaml:"tls12,omitempty"`
	TLS13 []string `yaml:"tls13,omitempty"`
}

type upstreamConfig struct {
	Nodes          []string       `yaml:"nodes"`
	Balance        string         `yaml:"balance,omitempty"`
	HealthCheck    map[string]any `yaml:"health_check,omitempty"`
	ConnectTimeout string         `yaml:"connect_timeout,omitempty"`
	ProxyProtocol  string         `yaml:"proxy_protocol,omitempty"`
}

type listenerConfig struct {
	Name               string            `yaml:"name"`
	Address            string            `yaml:"address"` // default: a port that the system picks
	Protocol           string            `yaml:"protocol"`
	ProxyProtocol      map[string]any    `yaml:"proxy_protocol,omitempty"`
	Policy             string            `yaml:"policy"`
	Certificates       []string          `yaml:"certificates,omitempty"`
	ServerName         string            `yaml:"server_name,omitempty"`
	DefaultCertificate string            `yaml:"default_certificate,omitempty"`
	ClientCertificates map[string]any    `yaml:"client_certificates,omitempty"`
	Upstream           string            `yaml:"upstream,omitempty"`
	Upstreams          map[string]string `yaml:"upstreams,omitempty"`
	Allow              []string          `yaml:"allow,omitempty"`
	Deny               []string          `yaml:"deny,omitempty"`
	HelloTimeout       string            `yaml:"hello_timeout,omitempty"`
	HandshakeTimeout   string            `yaml:"handshake_timeout,omitempty"`
	FirstBytesTimeout  string            `yaml:"first_bytes_timeout,omitempty"`
	MaxConnections     int               `yaml:"max_connections,omitempty"`
	MaxHandshakes      int               `yaml:"max_handshakes,omitempty"`

	MaxConnectionsPerClient int `yaml:"max_connections_per_client,omitempty"`
}

// write makes the file, with the certificates of the authority and an admin
// address unless the test has its own.
func (c config) write(t *testing.T, file string) {
	t.Helper()
	if c.Admin == nil {
		c.Admin = map[string]string{"address": "127.0.0.1:0"}
	}
	if c.Prove == nil {
		// Built with the race detector, each start would take seconds for it.
		c.Prove = map[string]string{"mode": "off"}
	}
	if c.Storage == "" {
		c.Storage = filepath.Dir(file)
	}
	c.Where = c.Storage
	if c.Redis != "" {
		c.Where = map[string]any{"redis": map[string]any{"address": c.Redis}}
	}
	if c.Seal != nil {
		where := map[string]any{"directory": c.Storage, "seal": c.Seal}
		if c.Redis != "" {
			where = map[string]any{"redis": map[string]any{"address": c.Redis}, "seal": c.Seal}
		}
		c.Where = where
	}
	if c.DrainTimeout == "" {
		c.DrainTimeout = "5s"
	}
	if c.Certificates == nil {
		for _, name := range []string{"rsa", "ecdsa"} {
			c.Certificates = append(c.Certificates, pki(t).files(name, name))
		}
	}
	listeners := make([]listenerConfig, len(c.Listeners))
	for i, l := range c.Listeners {
		if l.Address == "" {
			l.Address = "127.0.0.1:0"
		}
		listeners[i] = l
	}
	c.Listeners = listeners
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
