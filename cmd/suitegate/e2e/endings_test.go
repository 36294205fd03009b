package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// ending is a way for a connection to end.
type ending struct {
	listener string
	reason   string // "" where it depends on who is faster
	client   func(address string)
}

// endings are all those that take no waiting.
func endings(t *testing.T) []ending {
	say := func(conn net.Conn, text string) {
		io.WriteString(conn, text)
		io.Copy(io.Discard, conn)
	}
	over := func(config *tls.Config, end func(*tls.Conn)) func(string) {
		return func(address string) {
			conn, err := tls.Dial("tcp", address, config)
			if err != nil {
				return // as the refused ones have it
			}
			defer conn.Close()
			end(conn)
		}
	}
	plain := func(text string) func(string) {
		return func(address string) {
			if conn, err := net.Dial("tcp", address); err == nil {
				say(conn, text)
				conn.Close()
			}
		}
	}
	greet := func(c *tls.Conn) { say(c, greeting) }
	reset := func(c *tls.Conn) { c.NetConn().(*net.TCPConn).SetLinger(0) }
	latest, older := pki(t).client(tls.VersionTLS13), pki(t).client(tls.VersionTLS12)
	weak := older.Clone()
	weak.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	return []ending{
		{"echo", "backend_closed", over(latest, greet)},
		{"echo-older", "backend_closed", over(older, greet)},
		{"echo-reset", "", over(latest, reset)},
		{"closes", "", over(latest, greet)},
		{"down", "upstream_refused", over(latest, greet)},
		{"stomp", "wrong_protocol", over(latest, func(c *tls.Conn) { say(c, helloAMQP091) })},
		{"weak", "no_common_suite", over(weak, nil)},
		{"distrusted", "client_alert", over(&tls.Config{ServerName: "localhost"}, nil)},
		{"plaintext", "not_tls", plain(helloHTTP)},
		{"malformed", "malformed_hello", plain("\x16\x03\x01\x00\x04\x02\x00\x00\x00")},
	}
}

// TestNothingStays ends a thousand connections in every way there is, many at a
// time, and looks at what the gateway still holds.
func TestNothingStays(t *testing.T) {
	c := config{Upstreams: map[string]upstreamConfig{
		"echo":   {Nodes: []string{stubBroker(t, echoLine)}},
		"closes": {Nodes: []string{stubBroker(t, func(net.Conn) {})}},
		"down":   {Nodes: []string{loopback(freePorts.next())}},
	}}
	all := endings(t)
	for _, e := range all {
		l := listenerConfig{Name: e.listener, Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"}
		if _, ok := c.Upstreams[e.listener]; ok {
			l.Upstream = e.listener
		}
		if e.listener == "stomp" {
			l.Protocol = "stomp"
		}
		c.Listeners = append(c.Listeners, l)
	}
	g := startGateway(t, c)

	const rounds, atOnce = 100, 16
	before := g.metrics(t)
	var clients sync.WaitGroup
	slots := make(chan bool, atOnce)
	for range rounds {
		for _, e := range all {
			address := g.address(t, e.listener)
			slots <- true
			clients.Go(func() {
				e.client(address)
				<-slots
			})
		}
	}
	clients.Wait()
	g.awaitMetric(t, "suitegate_connections_total", float64(rounds*len(all)))
	metrics := g.awaitMetric(t, "suitegate_connections_active", 0)
	for _, e := range all {
		if n := metrics[endedMetric(e.listener, e.reason)]; e.reason != "" && n != rounds {
			t.Errorf("%v of %d connections of %s ended with %s", n, rounds, e.listener, e.reason)
		}
	}
	for _, resource := range []string{"go_goroutines", "process_open_fds"} {
		for deadline := time.Now().Add(patience); g.metrics(t)[resource] > before[resource]; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s was %v before, and stays at %v", resource, before[resource], g.metrics(t)[resource])
			}
		}
	}
}
