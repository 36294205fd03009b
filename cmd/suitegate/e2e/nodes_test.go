package e2e

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSilentBrokers has brokers that accept and say nothing beside one that is
// well: checks in the broker's protocol take them out, and those who are with
// the other notice nothing.
func TestSilentBrokers(t *testing.T) {
	answers := map[string]string{
		"amqp":     "AMQP\x03\x01\x00\x00",
		"mqtt":     "\x20\x02\x00\x05",
		"stomp":    "ERROR\nmessage:who are you?\n\n\x00",
		"openwire": "\x00\x00\x00\x0e\x01ActiveMQ\x00\x00\x00\x01\x00",
	}
	c := config{Upstreams: make(map[string]upstreamConfig)}
	var silent atomic.Bool
	nodes := make(map[string][]string)
	for protocol, answer := range answers {
		well := func(conn net.Conn) {
			if _, err := conn.Read(make([]byte, 1000)); err != nil {
				return
			}
			io.WriteString(conn, answer)
			echoLines(conn)
		}
		nodes[protocol] = []string{stubBroker(t, func(conn net.Conn) {
			if silent.Load() {
				hold(conn)
				return
			}
			well(conn)
		}), stubBroker(t, well)}
		c.Upstreams[protocol] = upstreamConfig{Nodes: nodes[protocol],
			HealthCheck: map[string]any{"interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 2}}
		c.Listeners = append(c.Listeners, listenerConfig{Name: protocol, Protocol: protocol, Policy: "rabbitmq", Upstream: protocol})
	}
	g := startGateway(t, c)
	hellos := map[string]string{"amqp": helloAMQP091, "mqtt": helloMQTT311, "stomp": helloSTOMP, "openwire": helloOpenWire}
	converse := func(protocol string) net.Conn {
		conn := connectTLS(t, g, protocol)
		send(t, conn, hellos[protocol])
		got := make([]byte, len(answers[protocol]))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != answers[protocol] {
			t.Fatalf("%s: the broker answers %q, %v", protocol, got, err)
		}
		return conn
	}
	open := make(map[string][2]net.Conn)
	for protocol := range answers {
		open[protocol] = [2]net.Conn{converse(protocol), converse(protocol)} // one on each node
	}

	silent.Store(true)
	began := time.Now()
	for protocol, n := range nodes {
		g.log.await(t, "node is down", func(r record) bool { return r.text("node") == n[0] }).
			want(t, record{"upstream": protocol, "state": "down", "reason": "check_no_answer", "level": "WARN"})
	}
	took := time.Since(began)
	const limit = 2 * (200 + 200) * time.Millisecond // fall x (interval + timeout)
	if took > limit+time.Second {
		t.Errorf("they were down after %v, want less than %v", took, limit)
	}
	disturbed := 0
	for protocol := range answers {
		for range 6 {
			conn := converse(protocol)
			conn.Close()
		}
		for _, conn := range open[protocol] {
			send(t, conn, "still there?")
			buf := make([]byte, 12)
			if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "still there?" {
				disturbed++
			}
			conn.Close()
		}
	}
	silent.Store(false)
	for _, n := range nodes {
		g.log.await(t, "node is up", func(r record) bool { return r.text("node") == n[0] })
	}
	if disturbed > 0 {
		t.Errorf("%d connections were disturbed", disturbed)
	}
	t.Logf("down after %v, of at most %v; disturbed %d of %d", took.Round(time.Millisecond), limit, disturbed, 2*len(answers))
}

// TestChecksOfRealBrokers shows that every broker passes the checks in its
// protocols: nobody logs in, and no client of theirs is disturbed.
func TestChecksOfRealBrokers(t *testing.T) {
	c := config{Upstreams: make(map[string]upstreamConfig)}
	upstreams := brokerUpstreams(t)
	for protocol, address := range run.brokers.proxied.use(t) {
		upstreams["proxied-"+protocol] = upstreamConfig{Nodes: []string{address}, ProxyProtocol: "v2"}
	}
	nodes := 0
	for name, upstream := range upstreams {
		_, protocol, _ := strings.Cut(name, "-")
		if strings.HasPrefix(protocol, "web-") {
			continue
		}
		nodes++
		upstream.HealthCheck = map[string]any{"interval": "300ms"}
		c.Upstreams[name] = upstream
		c.Listeners = append(c.Listeners, listenerConfig{Name: name, Protocol: protocol, Policy: "activemq", Upstream: name})
	}
	g := startGateway(t, c)
	deadline := time.Now().Add(patience)
	for well := 0; well < nodes; time.Sleep(50 * time.Millisecond) {
		well = 0
		for name, value := range g.metrics(t) {
			if !strings.HasPrefix(name, "suitegate_upstream_checks_total") {
				continue
			}
			if !strings.Contains(name, `result="ok"`) {
				t.Fatalf("%s %v", name, value)
			}
			if value >= 3 {
				well++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d brokers pass", well, nodes)
		}
	}
	t.Logf("%d protocols of brokers", nodes)
}
