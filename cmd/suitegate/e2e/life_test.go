package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// conversation is a connection that goes on for as long as a test wants.
type conversation struct {
	net.Conn
	reader *bufio.Reader
}

// converse opens one, to a broker that echoes every line.
func converse(t *testing.T, g *gateway, listener string) *conversation {
	t.Helper()
	conn := connectTLS(t, g, listener)
	c := &conversation{conn, bufio.NewReader(conn)}
	c.check(t)
	return c
}

// check shows that it still works.
func (c *conversation) check(t *testing.T) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil { // it may have lasted for long
		t.Fatal(err)
	}
	send(t, c, greeting)
	if got, err := c.reader.ReadString('\n'); err != nil || got != greeting {
		t.Fatalf("the broker echoes %q, %v", got, err)
	}
}

func echoLines(conn net.Conn) { io.Copy(conn, conn) }

// echoConfig has one listener, on an address of its own that a reload keeps.
func echoConfig(t *testing.T) config {
	t.Helper()
	return config{
		Upstreams: map[string]upstreamConfig{"echo": {Nodes: []string{stubBroker(t, echoLines)}}},
		Listeners: []listenerConfig{{Name: "first", Address: loopback(freePorts.next()), Protocol: "tcp", Policy: "activemq", Upstream: "echo"}},
	}
}

func TestReload(t *testing.T) {
	c := echoConfig(t)
	g := startGateway(t, c)
	before := converse(t, g, "first")

	// A new policy for the same socket, a new listener, and an old connection.
	c.Listeners[0].Policy = "rabbitmq"
	c.Listeners = append(slices.Clone(c.Listeners), listenerConfig{Name: "second", Protocol: "tcp", Policy: "activemq", Upstream: "echo"})
	g.reload(t, c)
	g.log.await(t, "reloaded", func(r record) bool { return r.number("listeners") == 2 })
	refuses(t, g, "first", alertHandshakeFailure, "handshake_failure", "no_common_suite",
		"-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0") // which activemq allows
	before.check(t)
	converse(t, g, "second").Close()
	g.connection(t).want(t, record{"listener": "second", "reason": "client_closed"})
	g.awaitMetric(t, `suitegate_config_reloads_total{result="ok"}`, 2) // the start is one
	g.awaitMetric(t, "suitegate_config_last_reload_successful", 1)

	// A listener that goes takes no connection with it.
	address := g.address(t, "first")
	c.Listeners = c.Listeners[1:]
	g.reload(t, c)
	g.log.await(t, "listener leaves", nil).want(t, record{"listener": "first", "connections": 1})
	refusesConnections(t, address)
	before.check(t)
	before.Close()
	g.log.await(t, "connection", carried(3)).want(t, record{"listener": "first", "reason": "client_closed"})
	g.log.await(t, "listener left", nil).want(t, record{"listener": "first", "connections_cut": 0})
}

// TestBadReload shows that a configuration with a mistake changes nothing.
func TestBadReload(t *testing.T) {
	c := echoConfig(t)
	g := startGateway(t, c)
	before := converse(t, g, "first")
	taken := stubBroker(t, hold)

	good := c.Listeners
	mistakes := []struct {
		name   string
		change func()
		reason string
	}{
		{"unknown suite", func() { c.Policies = map[string]policyConfig{"own": {TLS12: []string{"ECDHE-RSA-AES256-GCM-SHA385"}}} }, "ECDHE-RSA-AES256-GCM-SHA384"},
		{"unknown upstream", func() {
			c.Listeners = []listenerConfig{{Name: "first", Protocol: "tcp", Policy: "activemq", Upstream: "ecco"}}
		}, "ecco"},
		{"address in use", func() {
			c.Listeners = append(slices.Clone(good), listenerConfig{Name: "taken", Address: taken, Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"})
		}, "address already in use"},
		{"no key", func() {
			c.Certificates = []certificateConfig{{Name: "none", Files: map[string]string{"certificate": "none.crt", "key": "none.key"}}}
		}, "no such file"},
	}
	for i, mistake := range mistakes {
		t.Run(mistake.name, func(t *testing.T) {
			mistake.change()
			g.reload(t, c)
			at := g.log.await(t, "configuration", func(r record) bool { return strings.Contains(r.text("reason"), mistake.reason) })
			if !regexp.MustCompile(`suitegate\.yml:\d+:\d+$`).MatchString(at.text("at")) {
				t.Errorf("the mistake has no position: %v", at)
			}
			c.Policies, c.Listeners, c.Certificates = nil, good, nil
			g.awaitMetric(t, `suitegate_config_reloads_total{result="failed"}`, float64(i+1))
			g.awaitMetric(t, "suitegate_config_last_reload_successful", 0)
			before.check(t)
			converse(t, g, "first").Close()
			g.connection(t).want(t, record{"listener": "first", "reason": "client_closed"})
		})
	}
	t.Run("mended", func(t *testing.T) {
		g.reload(t, c)
		g.log.await(t, "reloaded", nil)
		g.awaitMetric(t, "suitegate_config_last_reload_successful", 1)
		before.check(t)
	})
	before.Close()
}

// reload changes the file and says so. The log tells when it has worked.
func (g *gateway) reload(t *testing.T, c config) {
	t.Helper()
	c.write(t, g.file)
	if err := g.process.signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// TestDrain shows that SIGTERM lets connections end on their own.
func TestDrain(t *testing.T) {
	c := echoConfig(t)
	c.DrainTimeout = "1m"
	g := startGateway(t, c)
	client := converse(t, g, "first")
	if status, _ := g.get(t, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz is %d before", status)
	}
	g.stopped = true
	g.process.signal(syscall.SIGTERM)
	g.log.await(t, "draining", nil)
	refusesConnections(t, c.Listeners[0].Address)
	if status, body := g.get(t, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz is %d %q while it drains", status, body)
	}
	if status, _ := g.get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz is %d while it drains", status)
	}
	client.check(t)
	client.Close()
	g.exited(t, 0)
	g.log.await(t, "connection", carried(2)).want(t, record{"reason": "client_closed"})
	g.log.await(t, "stopped, all connections had ended", nil)
}

// carried finds the connection that carried so many greetings.
func carried(greetings int) func(record) bool {
	return func(r record) bool { return r.number("bytes_from_client") == float64(greetings*len(greeting)) }
}

// refusesConnections waits until nothing listens any more. Those that still
// get in have a log line too.
func refusesConnections(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still accepts connections")
		}
	}
}

// TestDrainEnds shows what ends the patience with connections that stay: the
// drain timeout, or a second signal.
func TestDrainEnds(t *testing.T) {
	for name, test := range map[string]struct {
		timeout string
		again   bool
		cause   string
	}{
		"timeout":       {"300ms", false, "drain timeout"},
		"second signal": {"1h", true, "second signal"},
	} {
		t.Run(name, func(t *testing.T) {
			c := echoConfig(t)
			c.DrainTimeout = test.timeout
			g := startGateway(t, c)
			client := converse(t, g, "first")
			handshaking := connectTCP(t, g, "first")
			g.awaitMetric(t, "suitegate_connections_active", 2)
			g.stopped = true
			g.process.signal(syscall.SIGTERM)
			g.log.await(t, "draining", nil)
			if test.again {
				g.process.signal(syscall.SIGTERM)
			}
			if _, err := client.reader.ReadString('\n'); err == nil {
				t.Error("the client got more than it sent")
			}
			g.exited(t, 0)
			handshaking.Close()
			for range 2 {
				g.connection(t).want(t, record{"listener": "first", "reason": "shutdown"})
			}
			g.log.await(t, "stopped, connections were closed", nil).want(t, record{"cause": test.cause})
		})
	}
}

// TestStartRefused shows what the operator is told who starts a gateway that
// cannot run: every mistake with its position, and nothing listens.
func TestStartRefused(t *testing.T) {
	taken := stubBroker(t, hold)
	free := loopback(freePorts.next())
	listen := func(name, address string) listenerConfig {
		return listenerConfig{Name: name, Address: address, Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"}
	}
	tests := []struct {
		name   string
		change func(*config)
		want   []string // in what it prints
	}{
		{"port in use", func(c *config) { c.Listeners = []listenerConfig{listen("free", free), listen("taken", taken)} },
			[]string{"cannot listen on " + taken, "address already in use"}},
		{"admin port in use", func(c *config) { c.Admin = map[string]string{"address": taken} },
			[]string{"cannot listen on " + taken, "address already in use"}},
		{"several mistakes", func(c *config) {
			c.Listeners[0].Policy = "rabitmq"
			c.Listeners[0].Upstream = "ecco"
			c.DrainTimeout = "soon"
			c.Log = map[string]any{"colour": "blue"}
		}, []string{"rabitmq", "ecco", "soon", "colour", "did you mean"}},
		{"two listeners on one address", func(c *config) { c.Listeners = []listenerConfig{listen("one", free), listen("two", free)} },
			[]string{free}},
		{"key of another certificate", func(c *config) {
			c.Certificates = []certificateConfig{pki(t).files("rsa", "ecdsa")}
		}, []string{"key"}},
		{"unreadable certificate", func(c *config) {
			c.Certificates = []certificateConfig{{Name: "none", Files: map[string]string{"certificate": "none.crt", "key": "none.key"}}}
		}, []string{"none.crt", "no such file"}},
		{"a key that the policy cannot use", func(c *config) {
			c.Certificates = []certificateConfig{pki(t).files("ecdsa", "ecdsa")}
		}, []string{"TLSv1.2", "RSA"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := echoConfig(t)
			test.change(&c)
			g := launchGateway(t, c)
			g.exited(t, 1)
			out := string(g.log.all())
			wantOutput(t, out, test.want...)
			if !regexp.MustCompile(`suitegate\.yml:\d+:\d+: `).MatchString(out) {
				t.Errorf("no position in the file:\n%s", out)
			}
			if conn, err := net.Dial("tcp", free); err == nil {
				conn.Close()
				t.Error("something listens")
			}
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	c := echoConfig(t)
	c.Listeners[0].MaxConnections = 1
	g := startGateway(t, c)
	first := converse(t, g, "first")
	conn := connectTCP(t, g, "first")
	wantRest(t, conn, tlsAlert(80))
	g.connection(t).want(t, record{"reason": "connection_limit", "alert": "internal_error", "level": "WARN"})
	first.check(t)
	first.Close()
	g.connection(t).want(t, record{"reason": "client_closed"})
	converse(t, g, "first").Close()
	g.connection(t).want(t, record{"reason": "client_closed"})
}

// TestOutOfFiles shows that the accept loop survives to have no file
// descriptors left, and goes on when there are some again. Who is there notices
// nothing.
func TestOutOfFiles(t *testing.T) {
	c := echoConfig(t)
	const limit = 40
	g := startGateway(t, c, "sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit))
	metrics := g.metrics(t) // over a connection that is kept
	before := converse(t, g, "first")
	if n := metrics.sum("suitegate_accept_errors_total"); n != 0 {
		t.Fatalf("%v errors of accept before", n)
	}
	var clients []net.Conn
	for range limit {
		clients = append(clients, connectTCP(t, g, "first"))
	}
	g.log.await(t, "accept failed; trying again", nil).want(t, record{"listener": "first", "level": "ERROR"})
	before.check(t)
	for _, conn := range clients {
		conn.Close()
	}
	for range clients {
		g.connection(t).want(t, record{"reason": "client_closed"})
	}
	converse(t, g, "first").Close()
	g.connection(t).want(t, record{"reason": "client_closed", "bytes_from_client": len(greeting)})
	if n := g.metrics(t).sum("suitegate_accept_errors_total"); n == 0 || n > 20 {
		t.Errorf("%v errors of accept are counted, want one, and a few more while the loop waits", n)
	}
	before.check(t)
	before.Close()
	g.connection(t).want(t, record{"reason": "client_closed"})
}

// TestStatus shows what /status and the log say of a listener's policy.
func TestStatus(t *testing.T) {
	c := echoConfig(t)
	c.Policies = map[string]policyConfig{"both": {TLS12: []string{"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"}}}
	c.Listeners = append(c.Listeners, listenerConfig{Name: "second", Protocol: "tcp", Policy: "both", Certificates: []string{"rsa"}, Upstream: "echo"})
	g := startGateway(t, c)
	status, body := g.get(t, "/status")
	if status != http.StatusOK {
		t.Fatalf("/status is %d", status)
	}
	wantOutput(t, body, `"name": "first"`, `"policy": "activemq"`, `"TLS_RSA_WITH_AES_128_CBC_SHA"`, `"address": "`+g.address(t, "first")+`"`)
	g.log.await(t, "suites of the policy are not available on this listener", nil).want(t, record{
		"listener": "second", "why": "no ECDSA certificate", "count": 1,
	})
}
