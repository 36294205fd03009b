package proxy

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/admin"
	"github.com/suitegate/suitegate/proxy/audit"
)

func TestStatus(t *testing.T) {
	node := broker(t, echo)
	g := start(t, one("tcp", "rabbitmq", node, ", max_connections: 7, idle_timeout: 1h, max_connection_age: 24h, handshake_rate: 100/m, deny: [203.0.113.0/24, 2001:db8::/32]"))
	g.Version = "v1.2.3" // too late for the metric, and in time for what is asked below

	conn, err := g.connect("front", g.client())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	old := g.client()
	old.MaxVersion, old.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	refused := time.Now()
	var line map[string]any
	for n := range 2 { // one after the other: the last is the one to be shown
		conn, err := g.connect("front", old)
		if err == nil {
			t.Fatal("let in")
		}
		conn.NetConn().Close()
		line = g.line(n + 1) // the first connection is open
	}

	var s admin.Status
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		// What is carried is counted behind the write that carries it.
		if s = g.status(); s.Listeners[0].BytesFromBackend == 4 {
			break
		}
	}
	if s.State != "ready" || s.Version != "v1.2.3" || s.Host == "" || s.UptimeSeconds < 0 || time.Since(s.StartedAt) > time.Minute || s.ReloadFailure != nil {
		t.Errorf("%+v", s)
	}
	want := []admin.Listener{{
		Name: "front", State: "open", Address: g.Address("front").String(), Protocol: "tcp", Policy: "rabbitmq",
		TLS13:        []string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"},
		TLS12:        []string{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
		Groups:       []string{"X25519MLKEM768", "X25519", "P-256", "P-384"},
		Certificates: []string{"default (RSA, ECDSA-P256)"}, Clients: "off", Upstreams: map[string]string{"": "broker"},
		Limits: map[string]string{
			"max_connections": "7", "idle_timeout": "1h0m0s", "max_connection_age": "24h0m0s", "hello_timeout": "10s", "handshake_timeout": "10s", "first_bytes_timeout": "10s",
			"max_handshakes": "4096", "handshake_rate": "100/m", "deny": "203.0.113.0/24, 2001:db8::/32",
		},
		ConnectionsActive: 1, ConnectionsTotal: 3, BytesFromClient: 4, BytesFromBackend: 4,
	}}
	if diff := cmp.Diff(want, s.Listeners); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]admin.Handshakes{{
		Listener: "front", Version: "TLSv1.3", Suite: "TLS_AES_256_GCM_SHA384", Group: "X25519MLKEM768", Engine: "tls13", Count: 1,
	}}, s.Handshakes); diff != "" {
		t.Errorf("handshakes (-want +got):\n%s", diff)
	}
	if len(s.Refusals) != 1 || s.Refusals[0].LastAt.Before(refused) {
		t.Fatalf("refusals %+v", s.Refusals)
	}
	s.Refusals[0].LastAt = time.Time{}
	if diff := cmp.Diff(admin.Refusals{
		Listener: "front", Reason: "no_common_suite", Count: 2, Client: line["client"].(string), Error: line["error"].(string),
	}, s.Refusals[0]); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]admin.Policy{{
		Name: "rabbitmq", TLS13: want[0].TLS13, TLS12: want[0].TLS12, Groups: want[0].Groups, Listeners: []string{"front"},
	}}, s.Policies); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	if len(s.Upstreams) != 1 || s.Upstreams[0].Nodes[0].Address != node || s.Upstreams[0].Nodes[0].Connections != 1 {
		t.Errorf("upstreams %+v", s.Upstreams)
	}
	if len(s.Certificates) != 2 || s.Certificates[0].State != "valid" {
		t.Errorf("certificates %+v", s.Certificates)
	}
}

// TestStatusOfTrouble: a configuration that was refused, until one is taken; a
// listener that leaves, until its last connection has ended; and a gateway that
// drains.
func TestStatusOfTrouble(t *testing.T) {
	node := broker(t, echo)
	g := start(t, one("tcp", "rabbitmq", node, ""))
	taken := broker(t, echo)
	if err := g.Apply(parse(t, strings.Replace(one("tcp", "rabbitmq", node, ""), "127.0.0.1:0", taken, 1))); err == nil {
		t.Fatal("a taken address was bound")
	}
	if f := g.status().ReloadFailure; f == nil || !strings.Contains(f.Error, "gateway.yml:6:28: cannot listen on "+taken) || time.Since(f.At) > time.Minute {
		t.Errorf("%+v", f)
	}
	_, err := configs.Parse("gateway.yml", []byte("admin: 7\nlog: 8\n"))
	g.Refused(audit.Operator{}, "gateway.yml", err)
	if f := g.status().ReloadFailure; f == nil || strings.Count(f.Error, "\n") < 1 || !strings.Contains(f.Error, "\ngateway.yml:1:8: ") {
		t.Errorf("%+v", f)
	}
	conn, err := g.connect("front", g.client())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(parse(t, strings.Replace(one("tcp", "activemq", node, ""), "name: front", "name: other", 1))); err != nil {
		t.Fatal(err)
	}
	s := g.status()
	if s.ReloadFailure != nil {
		t.Errorf("still refused: %+v", s.ReloadFailure)
	}
	if len(s.Listeners) != 2 || s.Listeners[0].State != "open" || s.Listeners[1].Name != "front" || s.Listeners[1].State != "draining" || s.Listeners[1].ConnectionsActive != 1 {
		t.Errorf("listeners %+v", s.Listeners)
	}
	if len(s.Policies) != 1 || s.Policies[0].Name != "activemq" || len(s.Policies[0].TLS12) != 18 {
		t.Errorf("policies %+v", s.Policies)
	}
	conn.Close()
	for deadline := time.Now().Add(patience); len(g.status().Listeners) != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the listener has not left")
		}
	}
	g.Close()
	if s := g.status(); s.State != "draining" || s.Listeners != nil || s.Handshakes == nil {
		t.Errorf("after the end: %+v", s)
	}
}
