package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
)

// Limits on the time of a connection end it as the client would: with
// close_notify, and under their names.
func TestTimeLimits(t *testing.T) {
	for reason, keys := range map[string]string{
		"idle_timeout": ", idle_timeout: 300ms",
		"max_age":      ", max_connection_age: 300ms, max_connection_age_jitter: 50%",
	} {
		t.Run(reason, func(t *testing.T) {
			g := start(t, one("tcp", "rabbitmq", broker(t, echo), keys))
			conn, err := g.connect("front", g.client())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if told, err := io.ReadAll(conn); err != nil || string(told) != "x" {
				t.Errorf("told %q, %v, want the echo and an orderly end", told, err)
			}
			line := g.line(1)
			if line["reason"] != reason || line["level"] != "INFO" {
				t.Errorf("log line %v, want reason %s", line, reason)
			}
			if !g.counted(`suitegate_connections_ended_total{listener="front",reason="` + reason + `"} 1`) {
				t.Error("not in the metrics")
			}
		})
	}
}

// Jitter takes from a connection's time, and never adds to it.
func TestJitter(t *testing.T) {
	start := time.Unix(1, 0)
	r := &route{Listener: configs.Listener{IdleTimeout: time.Minute, MaxAge: time.Hour, MaxAgeJitter: 10}}
	distinct := map[time.Time]bool{}
	for range 1000 {
		limits := r.relayLimits(start)
		if age := limits.Until.Sub(start); age > time.Hour || age < 54*time.Minute || limits.Idle != time.Minute {
			t.Fatalf("age %v, idle %v, want 54m to 60m, and 1m", age, limits.Idle)
		}
		distinct[limits.Until] = true
	}
	if len(distinct) < 900 {
		t.Errorf("%d different ends of 1000", len(distinct))
	}
	r.MaxAgeJitter = 0
	if until := r.relayLimits(start).Until; !until.Equal(start.Add(time.Hour)) {
		t.Errorf("without jitter the end is at %v", until)
	}
	if limits := (&route{}).relayLimits(start); limits.Idle != 0 || !limits.Until.IsZero() {
		t.Errorf("limits %v where none is set", limits)
	}
}

// What is over a limit is told so by its alert, before TLS.
func TestLimitRefusals(t *testing.T) {
	g := start(t, `
upstreams: {broker: {nodes: ["`+broker(t, echo)+`"]}}
listeners:
  - {name: denied, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, deny: [127.0.0.0/8]}
  - {name: not-allowed, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, allow: [192.0.2.0/24]}
  - {name: connections, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, max_connections_per_client: 1}
  - {name: handshakes, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, max_handshakes_per_client: 1}
  - {name: rate, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, handshake_rate: 1/h}
  - {name: client-rate, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, handshake_rate_per_client: 1/h}
`)
	talk := func(listener string) { // a connection in order, which stays
		conn, err := g.connect(listener, g.client())
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, conn)
	}
	for _, tt := range []struct {
		listener string
		before   func()
		reason   string
		alert    string
		error    string // of a client of crypto/tls
	}{
		{"denied", nil, "client_denied", "access_denied", "access denied"},
		{"not-allowed", nil, "client_denied", "access_denied", "access denied"},
		{"connections", func() { talk("connections") }, "client_connection_limit", "internal_error", "internal error"},
		{"handshakes", func() { g.dial("handshakes"); g.inFlight("handshakes", 1) }, "client_handshake_limit", "internal_error", "internal error"},
		{"rate", func() { talk("rate") }, "handshake_rate", "internal_error", "internal error"},
		{"client-rate", func() { talk("client-rate") }, "client_handshake_rate", "internal_error", "internal error"},
	} {
		t.Run(tt.listener, func(t *testing.T) {
			if tt.before != nil {
				tt.before()
			}
			if err := g.refused(tt.listener); err == nil || !strings.Contains(err.Error(), tt.error) {
				t.Errorf("the client was told %v, want %s", err, tt.error)
			}
			line := g.log.wait(t, 1, func(l map[string]any) bool { return l["listener"] == tt.listener && l["msg"] == "connection" })
			if line["reason"] != tt.reason || line["alert"] != tt.alert || line["level"] != "WARN" {
				t.Errorf("log line %v, want reason %s", line, tt.reason)
			}
			if !g.counted(`suitegate_connections_ended_total{listener="` + tt.listener + `",reason="` + tt.reason + `"} 1`) {
				t.Error("not in the metrics")
			}
		})
	}
}

// refused connects and hangs up, as a client does that is refused.
func (g *gateway) refused(listener string) error {
	conn, err := g.connect(listener, g.client())
	conn.Close()
	return err
}

func mustEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// listener is the one with this name.
func (g *gateway) listener(name string) *listener {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.listeners {
		if l.route.Load().Name == name {
			return l
		}
	}
	g.t.Fatalf("no listener %s", name)
	return nil
}

// inFlight waits until so many handshakes are.
func (g *gateway) inFlight(listener string, want int) {
	g.t.Helper()
	l := g.listener(listener)
	for deadline := time.Now().Add(patience); l.flights.Len() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("%d handshakes are in flight, want %d", l.flights.Len(), want)
		}
	}
}

// Who holds on to a place without a handshake is the one who loses it, and not
// the next who comes.
func TestOldestHandshakeYields(t *testing.T) {
	g := start(t, one("tcp", "rabbitmq", broker(t, echo), ", max_handshakes: 2"))
	silent := g.dial("front")
	g.inFlight("front", 1) // or the second could be the older one
	second := g.dial("front")
	g.inFlight("front", 2)
	if !g.counted(`suitegate_handshakes_active{listener="front"} 2`) {
		t.Error("two are in flight, and the metrics have another number")
	}
	for range 5 { // they leave a place each
		conn, err := g.connect("front", g.client())
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, conn)
	}
	told, err := io.ReadAll(silent)
	silent.Close()
	if err != nil || string(told) != "\x15\x03\x01\x00\x02\x02\x50" {
		t.Errorf("told %q, %v, want alert internal_error", told, err)
	}
	line := g.line(1)
	if line["reason"] != "handshake_limit" || line["client"] != silent.LocalAddr().String() {
		t.Errorf("log line %v, want handshake_limit of the first", line)
	}
	second.Close()
	g.inFlight("front", 0)
	if line := g.line(2); line["reason"] != "client_closed" {
		t.Errorf("log line %v", line)
	}
	if !g.counted(`suitegate_handshakes_active{listener="front"} 0`) {
		t.Error("none is in flight, and the metrics have another number")
	}
}

// One byte at a time gets nobody beyond a timeout: in the header of the PROXY
// protocol, in the hello, in the handshake, and in the first bytes.
func TestTrickle(t *testing.T) {
	g := start(t, `
upstreams: {broker: {nodes: ["`+broker(t, echo)+`"]}}
listeners:
  - {name: header, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, hello_timeout: 300ms, proxy_protocol: {from: [127.0.0.1]}}
  - {name: hello, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, hello_timeout: 300ms}
  - {name: handshake, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, hello_timeout: 300ms, handshake_timeout: 600ms}
  - {name: first, address: "127.0.0.1:0", protocol: stomp, policy: rabbitmq, upstream: broker, first_bytes_timeout: 300ms}
`)
	hello := recordHello(t, g.client())
	// What would come behind the hello: a record that is announced, and long.
	record := "\x17\x03\x03\x40\x00" + strings.Repeat("x", 1<<14)
	for _, tt := range []struct {
		listener string
		prepare  func(net.Conn) net.Conn
		trickle  string
		reason   string
		bound    time.Duration
	}{
		{"header", nil, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy_header_timeout", 300 * time.Millisecond},
		{"hello", nil, hello, "hello_timeout", 300 * time.Millisecond},
		{"handshake", func(conn net.Conn) net.Conn { io.WriteString(conn, hello); return conn }, record, "handshake_timeout", 600 * time.Millisecond},
		{"first", func(conn net.Conn) net.Conn { return tls.Client(conn, g.client()) }, "CONNECTCONNECTCONNECT", "first_bytes_timeout", 300 * time.Millisecond},
	} {
		t.Run(tt.listener, func(t *testing.T) {
			t.Parallel()
			conn := g.dial(tt.listener)
			if tt.prepare != nil {
				conn = tt.prepare(conn)
			}
			for i := 0; i < len(tt.trickle); i++ {
				if _, err := conn.Write([]byte{tt.trickle[i]}); err != nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			line := g.lineOf(tt.listener, conn.LocalAddr())
			took := time.Duration(line["duration"].(float64))
			if line["reason"] != tt.reason || took < tt.bound || took > tt.bound+5*time.Second {
				t.Errorf("ended with %v after %v, want %s after %v", line["reason"], took, tt.reason, tt.bound)
			}
		})
	}
}

// recordHello is what a client sends first.
func recordHello(t *testing.T, config *tls.Config) string {
	t.Helper()
	client, server := net.Pipe()
	go tls.Client(client, config).Handshake()
	hello := make([]byte, 16<<10)
	n, err := server.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	client.Close()
	return string(hello[:n])
}

// A reload changes the limits of those who come, and counts those who are there.
func TestReloadOfLimits(t *testing.T) {
	node, address := broker(t, echo), closedPort(t)
	config := func(more string) *configs.Config {
		return parse(t, `
upstreams: {broker: {nodes: ["`+node+`"]}}
listeners: [{name: front, address: "`+address+`", protocol: tcp, policy: rabbitmq, upstream: broker`+more+`}]`)
	}
	g := startWith(t, config(""))
	first, err := g.connect("front", g.client())
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, first)
	for i, tt := range []struct{ more, reason string }{
		{", max_connections: 1", "connection_limit"},
		{", max_connections_per_client: 1", "client_connection_limit"},
		{", deny: [127.0.0.1]", "client_denied"},
	} {
		if err := g.Apply(config(tt.more)); err != nil {
			t.Fatal(err)
		}
		if err := g.refused("front"); err == nil {
			t.Errorf("let in with%s", tt.more)
		}
		if line := g.line(i + 1); line["reason"] != tt.reason {
			t.Errorf("log line %v, want %s", line, tt.reason)
		}
		mustEcho(t, first)
	}
	if err := g.Apply(config(", max_connections_per_client: 2")); err != nil {
		t.Fatal(err)
	}
	second, err := g.connect("front", g.client())
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, second)
	first.Close()
	second.Close()
	g.line(5)
	l := g.listener("front")
	if n, clients := l.active.Load(), l.clients.Len(); n != 0 || clients != 0 || l.flights.Len() != 0 {
		t.Errorf("%d connections, %d clients, %d handshakes when all have left", n, clients, l.flights.Len())
	}
}

// What ends while it waits for the processor ends at once, and keeps no slot.
func TestShutdownOfWaitingHandshakes(t *testing.T) {
	g := start(t, one("tcp", "rabbitmq", broker(t, echo), ""))
	// All slots are taken.
	g.gate.Slots = 1
	holder := g.gate.Turn()
	if err := holder.Begin(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	hello := recordHello(t, g.client())
	const waiting = 20
	for range waiting {
		io.WriteString(g.dial("front"), hello)
	}
	g.inFlight("front", waiting)
	begin := time.Now()
	g.Close()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	for i := range waiting {
		if line := g.line(i + 1); line["reason"] != "shutdown" {
			t.Errorf("log line %v, want shutdown", line)
		}
	}
	holder.End()
}

// Handshakes that push one another out end once, in one way or the other, and
// nothing is counted when all of them have.
func TestHandshakesPushOneAnotherOut(t *testing.T) {
	g := start(t, one("tcp", "rabbitmq", broker(t, echo), ", max_handshakes: 2, max_connections_per_client: 1000"))
	const workers, each = 12, 25
	var in, out atomic.Int64
	var clients sync.WaitGroup
	config := g.client()
	address := g.Address("front").String()
	for range workers {
		clients.Go(func() {
			for range each {
				conn, err := tls.Dial("tcp", address, config)
				if err != nil {
					out.Add(1)
					continue
				}
				conn.SetDeadline(time.Now().Add(patience))
				if _, err = conn.Write([]byte("x")); err == nil {
					_, err = io.ReadFull(conn, make([]byte, 1))
				}
				if err == nil {
					in.Add(1)
				} else {
					out.Add(1)
				}
				conn.Close()
			}
		})
	}
	clients.Wait()
	g.waitCounted(`suitegate_connections_active{listener="front"} 0`)
	l := g.listener("front")
	if n, known := l.active.Load(), l.clients.Len(); n != 0 || known != 0 || l.flights.Len() != 0 {
		t.Errorf("%d connections, %d clients, %d handshakes when all have left", n, known, l.flights.Len())
	}
	if !g.counted(`suitegate_handshakes_active{listener="front"} 0`) || g.counted("suitegate_panics_total 1") {
		t.Error("the metrics have another number, or a panic")
	}
	if in.Load() == 0 || out.Load() == 0 {
		t.Errorf("%d let in and %d out: nothing was pushed", in.Load(), out.Load())
	}
}
