package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// startStubGateway has one upstream for everything, and a listener for each
// protocol and an opaque one, by their names.
func startStubGateway(t *testing.T, nodes ...string) *gateway {
	t.Helper()
	c := config{Upstreams: map[string]upstreamConfig{"broker": {Nodes: nodes, ConnectTimeout: "500ms"}}}
	for _, protocol := range []string{"amqp", "mqtt", "stomp", "openwire", "websocket", "tcp"} {
		c.Listeners = append(c.Listeners, listenerConfig{Name: protocol, Protocol: protocol, Policy: "rabbitmq", Upstream: "broker",
			HandshakeTimeout: "300ms", FirstBytesTimeout: "300ms"})
	}
	return startGateway(t, c)
}

// dialsMetric is how often a node was tried, with what result.
func dialsMetric(node, result string) string {
	return fmt.Sprintf("suitegate_upstream_dials_total{node=%q,result=%q,upstream=\"broker\"}", node, result)
}

// nodeMetric is a gauge about a node: up, draining or connections.
func nodeMetric(what, node string) string {
	return fmt.Sprintf("suitegate_upstream_node_%s{node=%q,upstream=\"broker\"}", what, node)
}

// TestBrokerDown shows what clients of each protocol are told when no broker
// answers.
func TestBrokerDown(t *testing.T) {
	node := loopback(freePorts.next())
	g := startStubGateway(t, node)
	tests := []struct{ listener, hello, answer string }{
		{"amqp", helloAMQP091, nothing},
		{"mqtt", helloMQTT311, "\x20\x02\x00\x03"},
		{"mqtt", helloMQTT5, "\x20\x03\x00\x88\x00"},
		{"stomp", helloSTOMP, stompError},
		{"openwire", helloOpenWire, nothing},
		{"websocket", helloWebSocket("mqtt"), "HTTP/1.1 503 Service Unavailable\r\n"},
		{"tcp", "anything", nothing},
	}
	for _, test := range tests {
		t.Run(test.listener, func(t *testing.T) {
			conn := connectTLS(t, g, test.listener)
			send(t, conn, test.hello)
			if got := rest(t, conn); !strings.HasPrefix(got, test.answer) || test.answer == nothing && got != nothing {
				t.Errorf("the client was told %q, want %q", got, test.answer)
			}
			g.connection(t).want(t, record{"listener": test.listener, "reason": "upstream_refused", "upstream": "broker", "node": nil, "level": "WARN"})
		})
	}
	if n := g.metrics(t)[dialsMetric(node, "upstream_refused")]; n != float64(len(tests)) {
		t.Errorf("%v refused dials are counted, want %d", n, len(tests))
	}
}

// TestBrokerClosesAtOnce shows that a client hears of it at once too.
func TestBrokerClosesAtOnce(t *testing.T) {
	g := startStubGateway(t, stubBroker(t, func(net.Conn) {}))
	for listener, hello := range map[string]string{"amqp": helloAMQP091, "openwire": helloOpenWire, "tcp": "anything"} {
		t.Run(listener, func(t *testing.T) {
			conn := connectTLS(t, g, listener)
			send(t, conn, hello)
			wantRest(t, conn, nothing)
			line := g.connection(t)
			// Its close may come with the reset that unread input brings.
			if reason := line.text("reason"); reason != "backend_closed" && reason != "backend_reset" {
				t.Errorf("want backend_closed or backend_reset: %v", line)
			}
			line.want(t, record{"bytes_from_backend": 0})
		})
	}
}

// TestBrokerResets shows that the log tells a reset from a close.
func TestBrokerResets(t *testing.T) {
	g := startStubGateway(t, stubBroker(t, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, len(helloAMQP091)))
		conn.Write([]byte(helloAMQP091))
		conn.(*net.TCPConn).SetLinger(0)
	}))
	conn := connectTLS(t, g, "amqp")
	send(t, conn, helloAMQP091)
	io.ReadAll(conn) // what had arrived before the reset may be lost
	conn.Close()
	g.connection(t).want(t, record{"reason": "backend_reset", "protocol": "amqp", "bytes_from_client": len(helloAMQP091)})
}

// TestBrokerAnswersLate shows that the limits on handshake and first bytes have
// no say once a client has been let in.
func TestBrokerAnswersLate(t *testing.T) {
	answer := make(chan bool)
	g := startStubGateway(t, stubBroker(t, func(conn net.Conn) {
		<-answer
		echoLine(conn)
	}))
	for _, listener := range []string{"tcp", "stomp"} {
		t.Run(listener, func(t *testing.T) {
			conn := connectTLS(t, g, listener)
			send(t, conn, "CONNECT\n")
			time.Sleep(time.Second) // three times each limit of the listener
			answer <- true
			wantRest(t, conn, "CONNECT\n")
			g.connection(t).want(t, record{"listener": listener, "reason": "backend_closed", "bytes_from_backend": len("CONNECT\n")})
		})
	}
}

// TestBrokerDoesNotAccept has a broker whose host drops new connections, as one
// does whose backlog is full.
func TestBrokerDoesNotAccept(t *testing.T) {
	full := fullBacklog(t)
	echo := stubBroker(t, echoLine)
	t.Run("alone", func(t *testing.T) {
		g := startStubGateway(t, full)
		conn := connectTLS(t, g, "stomp")
		send(t, conn, helloSTOMP)
		if got := rest(t, conn); !strings.HasPrefix(got, stompError) {
			t.Errorf("the client was told %q", got)
		}
		g.connection(t).want(t, record{"reason": "upstream_timeout", "level": "WARN"})
	})
	t.Run("beside another", func(t *testing.T) {
		g := startStubGateway(t, full, echo)
		conn := connectTLS(t, g, "tcp")
		send(t, conn, greeting)
		wantRest(t, conn, greeting)
		g.connection(t).want(t, record{"node": echo, "reason": "backend_closed"})
		if n := g.metrics(t)[dialsMetric(full, "upstream_timeout")]; n != 1 {
			t.Errorf("%v dials that timed out are counted, want 1", n)
		}
	})
}

// fullBacklog listens, accepts nobody and has no room to wait.
func fullBacklog(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(socket) })
	port := freePorts.next()
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", loopback(port), 300*time.Millisecond)
		if err != nil {
			return loopback(port)
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the backlog does not fill")
	return ""
}

// TestNextNode shows that connections go round the nodes, and past those that
// are down.
func TestNextNode(t *testing.T) {
	var first, second atomic.Int64
	count := func(n *atomic.Int64) string {
		return stubBroker(t, func(conn net.Conn) {
			n.Add(1)
			echoLine(conn)
		})
	}
	down := loopback(freePorts.next())
	a, b := count(&first), count(&second)
	g := startStubGateway(t, a, down, b)
	const connections = 12
	for range connections {
		conn := connectTLS(t, g, "tcp")
		send(t, conn, greeting)
		wantRest(t, conn, greeting)
		g.connection(t).want(t, record{"reason": "backend_closed", "bytes_from_client": len(greeting)})
	}
	// The node that is down costs one connection an attempt, and is left out then.
	if n := second.Load(); first.Load()+n != connections || n < connections/2 || n > connections/2+1 {
		t.Errorf("the nodes got %d and %d of %d connections, want %d each, or one more", first.Load(), n, connections, connections/2)
	}
	metrics := g.metrics(t)
	for name, want := range map[string]float64{
		dialsMetric(down, "upstream_refused"): 1,
		dialsMetric(a, "ok"):                  float64(first.Load()),
		dialsMetric(b, "ok"):                  float64(second.Load()),
		nodeMetric("up", down):                0,
		nodeMetric("up", a):                   1,
		`suitegate_upstream_ejections_total{node="` + down + `",upstream="broker"}`: 1,
	} {
		if metrics[name] != want {
			t.Errorf("%s is %v, want %v", name, metrics[name], want)
		}
	}
	g.log.await(t, "node is down", nil).want(t, record{"upstream": "broker", "node": down, "state": "ejected", "reason": "upstream_refused", "level": "WARN"})
}

// TestHalfClose shows that a client may end its stream and still get the
// answer, and that nothing is lost that was on its way.
func TestHalfClose(t *testing.T) {
	g := startStubGateway(t, stubBroker(t, func(conn net.Conn) {
		sum := sha256.New()
		n, err := io.Copy(sum, conn)
		fmt.Fprintf(conn, "%d bytes, %x, %v", n, sum.Sum(nil), err)
	}))
	data := strings.Repeat("all of this has to arrive. ", 200_000)
	conn := connectTLS(t, g, "tcp")
	send(t, conn, data)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantRest(t, conn, fmt.Sprintf("%d bytes, %x, <nil>", len(data), sha256.Sum256([]byte(data))))
	g.connection(t).want(t, record{"reason": "client_closed", "bytes_from_client": len(data)})
}

// TestBackendHalfClose is the other direction: a broker that has said all.
func TestBackendHalfClose(t *testing.T) {
	heard := make(chan string, 1)
	g := startStubGateway(t, stubBroker(t, func(conn net.Conn) {
		conn.Write([]byte("goodbye"))
		conn.(*net.TCPConn).CloseWrite()
		rest, _ := io.ReadAll(conn)
		heard <- string(rest)
	}))
	conn := connectTLS(t, g, "tcp")
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "goodbye" {
		t.Errorf("the client got %q, %v", got, err)
	}
	send(t, conn, "one more thing")
	conn.Close()
	if last := <-heard; last != "one more thing" {
		t.Errorf("the broker got %q", last)
	}
	g.connection(t).want(t, record{"reason": "backend_closed", "bytes_from_client": len("one more thing"), "bytes_from_backend": len("goodbye")})
}

// TestClientVanishes ends connections by a reset and without TLS's goodbye.
func TestClientVanishes(t *testing.T) {
	gone := make(chan error, 1)
	g := startStubGateway(t, stubBroker(t, func(conn net.Conn) {
		_, err := io.Copy(io.Discard, conn)
		gone <- err
	}))
	t.Run("reset", func(t *testing.T) {
		conn := connectTLS(t, g, "tcp")
		send(t, conn, greeting)
		conn.NetConn().(*net.TCPConn).SetLinger(0)
		conn.NetConn().Close()
		<-gone
		g.connection(t).want(t, record{"reason": "client_reset", "upstream": "broker"})
	})
	t.Run("FIN without close_notify", func(t *testing.T) {
		conn := connectTLS(t, g, "tcp")
		send(t, conn, greeting)
		conn.NetConn().Close()
		<-gone
		g.connection(t).want(t, record{"reason": "client_closed", "bytes_from_client": len(greeting)})
	})
}

// TestBrokerRestart has a real broker go away under a client, and come back.
func TestBrokerRestart(t *testing.T) {
	mosquitto(t) // or skip
	dir := t.TempDir()
	p, probes, err := startMosquitto(dir)
	if err != nil {
		t.Fatal(err)
	}
	probe := probes["mqtt"]
	if err := probe.wait(p); err != nil {
		t.Fatal(err)
	}
	g := startStubGateway(t, probe.address)
	connack := func() net.Conn {
		conn := connectTLS(t, g, "mqtt")
		send(t, conn, probe.ask)
		got := make([]byte, len(probe.answer))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != probe.answer {
			t.Fatalf("the broker answers %q, %v", got, err)
		}
		return conn
	}
	before := connack()
	p.signal(syscall.SIGKILL)
	<-p.done
	wantRest(t, before, nothing)
	g.connection(t).want(t, record{"upstream": "broker", "bytes_from_backend": len(probe.answer)})

	during := connectTLS(t, g, "mqtt")
	send(t, during, probe.ask)
	wantRest(t, during, "\x20\x02\x00\x03")
	g.connection(t).want(t, record{"reason": "upstream_refused"})

	again, err := start("mosquitto-again", dir, exec.Command(p.cmd.Path, p.cmd.Args[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	defer again.signal(syscall.SIGKILL)
	if err := probe.wait(again); err != nil {
		t.Fatal(err)
	}
	connack().Close()
	g.connection(t).want(t, record{"reason": "client_closed", "bytes_from_backend": len(probe.answer)})
}
