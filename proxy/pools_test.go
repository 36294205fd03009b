package proxy

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/upstream"
)

// nodes are the nodes of the upstream "broker", by address.
func (g *gateway) nodesNow() map[string]upstream.NodeStatus {
	nodes := make(map[string]upstream.NodeStatus)
	for _, u := range g.Upstreams() {
		if u.Name == "broker" {
			for _, n := range u.Nodes {
				nodes[n.Address] = n
			}
		}
	}
	return nodes
}

// await waits until the nodes are as ok says.
func (g *gateway) awaitNodes(what string, ok func(map[string]upstream.NodeStatus) bool) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); !ok(g.nodesNow()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("%s: the nodes are %+v", what, g.nodesNow())
		}
	}
}

// converse opens a connection through the gateway to a broker that echoes.
func (g *gateway) converse() net.Conn {
	g.t.Helper()
	conn, err := g.connect("front", g.client())
	if err != nil {
		g.t.Fatal(err)
	}
	exchangeHello(g.t, conn)
	return conn
}

// exchangeHello shows that a connection works.
func exchangeHello(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// What is known of a node outlives reloads: that it is down, that it drains,
// and its connections; what is gone from the configuration is forgotten.
func TestNodesOutliveReloads(t *testing.T) {
	a, b, silent := broker(t, echo), broker(t, echo), broker(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 100)) })
	config := func(balance string, nodes ...string) *configs.Config {
		return parse(t, fmt.Sprintf(`
upstreams: {broker: {nodes: ["%s"], balance: %s, health_check: {protocol: tcp, interval: 100ms}}}
listeners:
  - {name: front, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker}
`, strings.Join(nodes, `", "`), balance))
	}
	down := closedPort(t)
	g := startWith(t, config("round_robin", a, b, down))
	g.awaitNodes("one is down", func(n map[string]upstream.NodeStatus) bool { return n[down].State == upstream.StateDown })
	first, second := g.converse(), g.converse()
	if _, err := g.DrainNode("broker", a, true); err != nil {
		t.Fatal(err)
	}
	since := g.nodesNow()[down].Since

	if err := g.Apply(config("least_connections", silent, down, a)); err != nil {
		t.Fatal(err)
	}
	nodes := g.nodesNow()
	if n := nodes[down]; n.State != upstream.StateDown || !n.Since.Equal(since) {
		t.Errorf("the node that was down: %+v", n)
	}
	if n := nodes[a]; !n.Draining || n.Connections != 1 {
		t.Errorf("the node that drained: %+v", n)
	}
	if _, there := nodes[b]; there || len(nodes) != 3 {
		t.Errorf("nodes %v", nodes)
	}
	if g.Upstreams()[0].Balance != upstream.LeastConnections {
		t.Error("the settings are not new")
	}
	exchangeHello(t, first)
	exchangeHello(t, second)

	// What comes back begins anew, and nothing is counted twice.
	for _, nodes := range [][]string{{b}, {a, b}} {
		if err := g.Apply(config("round_robin", nodes...)); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.nodesNow()[a]; n.Draining || n.Connections != 0 {
		t.Errorf("the node that came back: %+v", n)
	}
	third, fourth := g.converse(), g.converse()
	first.Close()
	second.Close()
	g.line(2)
	if n := g.nodesNow(); n[a].Connections+n[b].Connections != 2 {
		t.Errorf("two connections are open, and the nodes are %+v", n)
	}
	third.Close()
	fourth.Close()
	g.line(4)
	g.awaitNodes("no connection is left", func(n map[string]upstream.NodeStatus) bool { return n[a].Connections+n[b].Connections == 0 })
}

// A configuration that is refused leaves the nodes as they are.
func TestRefusedReloadChangesNoNode(t *testing.T) {
	a, taken := broker(t, echo), broker(t, echo)
	g := start(t, one("tcp", "rabbitmq", a, ""))
	refused := parse(t, fmt.Sprintf(`
upstreams: {broker: {nodes: ["127.0.0.1:1"], balance: priority}, other: {nodes: ["127.0.0.1:2"]}}
listeners:
  - {name: front, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker}
  - {name: taken, address: %q, protocol: tcp, policy: rabbitmq, upstream: other}
`, taken))
	before := g.Upstreams()
	if err := g.Apply(refused); err == nil {
		t.Fatal("it is not refused")
	}
	if after := g.Upstreams(); len(after) != 1 || !slices.Equal(after[0].Nodes, before[0].Nodes) || after[0].Balance != upstream.RoundRobin {
		t.Errorf("the upstreams are %+v", after)
	}
	g.converse().Close()
}

// Who may drains a node, and it is in the audit log.
func TestAdminDrainsNode(t *testing.T) {
	g, dir, _ := operated(t, nil)
	do := func(upstream, node, what, token string) (int, string) {
		return post(t, fmt.Sprintf("http://%s/upstreams/%s/nodes/%s/%s", g.AdminAddress(), upstream, url.PathEscape(node), what), "", token)
	}
	for _, test := range []struct {
		upstream, node, what, token string
		status                      int
		answer                      string
	}{
		{"broker", "127.0.0.1:1", "drain", "", 401, "token"},
		{"broker", "127.0.0.1:1", "drain", adminTokenText, 200, `"changed": true`},
		{"broker", "127.0.0.1:1", "drain", adminTokenText, 200, `"changed": false`},
		{"broker", "127.0.0.1:2", "drain", adminTokenText, 404, "no such node"},
		{"other", "127.0.0.1:1", "drain", adminTokenText, 404, "no such upstream"},
		{"broker", "127.0.0.1:1", "undrain", adminTokenText, 200, `"draining": false`},
	} {
		if status, answer := do(test.upstream, test.node, test.what, test.token); status != test.status || !strings.Contains(answer, test.answer) {
			t.Errorf("%s of %s of %s: %d %s, want %d with %s", test.what, test.node, test.upstream, status, answer, test.status, test.answer)
		}
		if test.answer == `"changed": true` {
			conn, err := g.connect("front", g.client())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Read(make([]byte, 1))
			if reason := g.line(1)["reason"]; reason != "upstream_drained" {
				t.Errorf("reason %v, want upstream_drained", reason)
			}
			if !g.counted(`suitegate_upstream_node_draining{node="127.0.0.1:1",upstream="broker"} 1`) {
				t.Error("not in the metrics")
			}
		}
	}
	log := strings.Join(auditLog(t, dir), "\n")
	for _, want := range []string{"node_drain ok by token", "node_drain refused by token", "node_undrain ok by token"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the audit log:\n%s", want, log)
		}
	}
}

// An upstream that is required makes the gateway ready with its first node, and
// others have no say.
func TestReadyByUpstreams(t *testing.T) {
	late := closedPort(t)
	config := fmt.Sprintf(`
upstreams:
  broker: {nodes: [%q], required: true, health_check: {protocol: tcp, interval: 100ms, rise: 1}}
  other: {nodes: ["127.0.0.1:1"], health_check: {protocol: tcp, interval: 100ms}}
listeners:
  - {name: front, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker}
  - {name: back, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: other}
`, late)
	g := start(t, config)
	g.awaitNodes("it is down", func(n map[string]upstream.NodeStatus) bool { return n[late].State == upstream.StateDown })
	if err := g.ready(); err == nil || err.Error() != "no node is up of upstreams: broker" {
		t.Errorf("ready: %v", err)
	}
	l, err := net.Listen("tcp", late)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g.awaitNodes("it is up", func(n map[string]upstream.NodeStatus) bool { return n[late].State == upstream.StateUp })
	if err := g.ready(); err != nil {
		t.Errorf("ready: %v", err)
	}

	// An upstream that is gone is looked after by nobody: goleak sees to that.
	if err := g.Apply(parse(t, one("tcp", "rabbitmq", late, ""))); err != nil {
		t.Fatal(err)
	}
	if list := g.Upstreams(); len(list) != 1 || list[0].Name != "broker" {
		t.Errorf("upstreams %+v", list)
	}
}
