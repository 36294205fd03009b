package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
)

// visits returns a function that connects to a listener of g or another gateway
// with one version and suite, always as the same client, and says whether the
// session was resumed and with which suite.
func (g *gateway) visits(version, suite uint16) func(to *gateway, listener string) (resumed bool, with uint16) {
	config := g.client()
	config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
	if version == tls.VersionTLS12 {
		config.CipherSuites = []uint16{suite}
	}
	return func(to *gateway, listener string) (bool, uint16) {
		g.t.Helper()
		conn, err := to.connect(listener, config)
		if err != nil {
			g.t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			g.t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // takes a ticket in
			g.t.Fatal(err)
		}
		return conn.ConnectionState().DidResume, conn.ConnectionState().CipherSuite
	}
}

// ways are a version and a suite for each engine, and for each kind of records.
var ways = []struct{ version, suite uint16 }{
	{tls.VersionTLS13, 0},
	{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}, // GCM
	{tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA256},       // CBC
}

// A session goes on where it was, and where the listener would have negotiated
// the same and with the same certificate, and nowhere else.
func TestResumption(t *testing.T) {
	const certificates = `
storage: %s
certificates:
  - {name: default, self_signed: {names: [localhost, 127.0.0.1]}}
  - {name: same, self_signed: {names: [127.0.0.1, localhost]}}
  - {name: another, self_signed: {names: [localhost, 127.0.0.1, ::1]}}
`
	g := startWith(t, parseWhole(t, fmt.Sprintf(certificates, storage)+`
upstreams: {broker: {nodes: ["`+broker(t, echo)+`"]}}
policies: {own: {tls12: [ECDHE-RSA-AES256-GCM-SHA384, AES128-SHA256], tls13: [TLS_AES_256_GCM_SHA384]}}
listeners:
  - {name: one, address: "127.0.0.1:0", protocol: tcp, policy: activemq, certificates: [default], upstream: broker}
  - {name: same, address: "127.0.0.1:0", protocol: tcp, policy: activemq, certificates: [same], upstream: broker}
  - {name: policy, address: "127.0.0.1:0", protocol: tcp, policy: own, certificates: [default], upstream: broker}
  - {name: alpn, address: "127.0.0.1:0", protocol: tcp, policy: activemq, alpn: [mqtt], certificates: [default], upstream: broker}
  - {name: certificate, address: "127.0.0.1:0", protocol: tcp, policy: activemq, certificates: [another], upstream: broker}
  - {name: "off", address: "127.0.0.1:0", protocol: tcp, policy: activemq, session_tickets: false, certificates: [default], upstream: broker}
`))
	for _, way := range ways {
		for _, tt := range []struct {
			first, second string
			want          bool
		}{
			{"one", "one", true}, {"one", "same", true},
			{"one", "policy", false}, {"one", "alpn", false}, {"one", "certificate", false},
			{"one", "off", false}, {"off", "off", false}, {"off", "one", false},
		} {
			visit := g.visits(way.version, way.suite)
			if resumed, _ := visit(g, tt.first); resumed {
				t.Fatal("resumed without a session")
			}
			if got, _ := visit(g, tt.second); got != tt.want {
				t.Errorf("%s %04x: session of listener %s resumed on %s: %v", tls.VersionName(way.version), way.suite, tt.first, tt.second, got)
			}
		}
	}
}

// The keys outlive a reload, and what the reload changes is judged anew: a
// session never brings back a suite that the policy no longer has.
func TestResumptionAcrossReload(t *testing.T) {
	node := broker(t, echo)
	config := func(policy string, more string) string {
		return `
policies:
  before: {tls12: [ECDHE-RSA-AES256-GCM-SHA384, AES128-SHA256], tls13: [TLS_AES_256_GCM_SHA384]}
  after: {tls12: [ECDHE-RSA-AES128-GCM-SHA256, ECDHE-RSA-AES256-GCM-SHA384, AES128-SHA256, AES256-SHA256], tls13: [TLS_AES_128_GCM_SHA256]}
` + one("tcp", policy, node, more)
	}
	for _, way := range ways {
		t.Run(fmt.Sprintf("%s %04x", tls.VersionName(way.version), way.suite), func(t *testing.T) {
			g := start(t, config("before", ""))
			visit := g.visits(way.version, way.suite)
			_, before := visit(g, "front")
			for _, tt := range []struct {
				name, yaml string
				resumed    bool
			}{
				{"nothing changed", config("before", ""), true},
				{"something else changed", config("before", ", max_connections: 5"), true},
				{"policy changed", config("after", ""), false},
				{"policy changed back", config("before", ""), false},
				{"schedule changed", "tickets: {rotation: 1h}" + config("before", ""), false},
			} {
				if err := g.Apply(parse(t, tt.yaml)); err != nil {
					t.Fatal(err)
				}
				resumed, suite := visit(g, "front")
				if resumed != tt.resumed || suite == before && tt.name == "policy changed" && way.version == tls.VersionTLS13 {
					t.Errorf("%s: resumed %v, want %v; suite %04x, before %04x", tt.name, resumed, tt.resumed, suite, before)
				}
				if again, _ := visit(g, "front"); !again {
					t.Errorf("%s: not resumed without a change", tt.name)
				}
			}
		})
	}
}

// Rotations reach both engines of every listener, sessions live through them,
// and end with their keys.
func TestResumptionAcrossRotations(t *testing.T) {
	g := start(t, one("tcp", "activemq", broker(t, echo), ""))
	now := time.Now()
	pass := func(rotations int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		now = now.Add(time.Duration(rotations) * configs.DefaultTicketRotation)
		g.setTickets(g.current.tickets, now)
	}
	for _, way := range ways {
		visit := g.visits(way.version, way.suite)
		visit(g, "front")
		for _, tt := range []struct {
			rotations int
			resumed   bool
		}{{1, true}, {2, true}, {3, false}} {
			pass(tt.rotations)
			if resumed, _ := visit(g, "front"); resumed != tt.resumed {
				t.Errorf("%s %04x: after %d more rotations: resumed %v", tls.VersionName(way.version), way.suite, tt.rotations, resumed)
			}
		}
	}
}

// Gateways that share their tickets resume each other's sessions, under the
// same conditions as their own; so does one that is started anew. Others don't.
func TestResumptionAcrossGateways(t *testing.T) {
	node, shared := broker(t, echo), t.TempDir()
	config := func(storage, tickets, policy string) *configs.Config {
		return parseWhole(t, fmt.Sprintf(`
storage: %s
tickets: {%s}
certificates: [{name: default, self_signed: {names: [localhost, 127.0.0.1]}}]
`, storage, tickets)+one("tcp", policy, node, ""))
	}
	first := startWith(t, config(shared, "shared: true", "activemq"))
	for _, tt := range []struct {
		name    string
		second  *gateway
		resumed bool
	}{
		{"shared", startWith(t, config(shared, "shared: true", "activemq")), true},
		{"another policy", startWith(t, config(shared, "shared: true", "rabbitmq")), false},
		{"another rotation", startWith(t, config(shared, "shared: true, rotation: 1h", "activemq")), false},
		{"not shared", startWith(t, config(shared, "", "activemq")), false},
	} {
		for _, way := range ways {
			if tt.name == "another policy" && way.suite == tls.TLS_RSA_WITH_AES_128_CBC_SHA256 {
				continue // the policy is without it
			}
			visit := first.visits(way.version, way.suite)
			visit(first, "front")
			if resumed, _ := visit(tt.second, "front"); resumed != tt.resumed {
				t.Errorf("%s: %s %04x: resumed %v", tt.name, tls.VersionName(way.version), way.suite, resumed)
			}
			if resumed, _ := visit(first, "front"); resumed != tt.resumed {
				t.Errorf("%s, and back: %s %04x: resumed %v", tt.name, tls.VersionName(way.version), way.suite, resumed)
			}
		}
	}

	visit := first.visits(tls.VersionTLS13, 0)
	visit(first, "front")
	if err := first.Apply(config(shared, "shared: true", "activemq")); err != nil {
		t.Fatal(err)
	}
	if resumed, _ := visit(first, "front"); !resumed {
		t.Error("not resumed after a reload")
	}
	again := startWith(t, config(shared, "shared: true", "activemq"))
	first.Close()
	if resumed, _ := visit(again, "front"); !resumed {
		t.Error("not resumed after a restart")
	}
}

// A storage for tickets that cannot be had is an error of the configuration, and
// a reload to it changes nothing.
func TestTicketStorageFails(t *testing.T) {
	node := broker(t, echo)
	g := start(t, one("tcp", "rabbitmq", node, ""))
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := filepath.Glob(filepath.Join(storage, "certificates", "*-rsa2048", "*", "localhost.crt"))
	if err != nil || len(made) == 0 {
		t.Fatal(made, err)
	}
	certificate := made[0]
	key := strings.TrimSuffix(certificate, "crt") + "key"
	err = g.Apply(parseWhole(t, fmt.Sprintf("storage: %s\ntickets: {shared: true}\ncertificates: [{name: default, files: {certificate: %s, key: %s}}]\n", blocked, certificate, key)+
		one("tcp", "rabbitmq", node, "")))
	if err == nil || !strings.Contains(err.Error(), "gateway.yml:1:10: certs: storage: mkdir "+blocked+": not a directory") {
		t.Errorf("%v", err)
	}
	if _, err := g.connect("front", g.client()); err != nil {
		t.Error(err)
	}
}
