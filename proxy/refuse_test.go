package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// endings are all the ways in which a connection ends before it reaches a
// broker: what the client does, what it is told, and how that is named.
var endings = []struct {
	name     string
	listener string
	play     func(t *testing.T, g *gateway, conn net.Conn) (told []byte)
	told     string // contained in what the client was told
	reason   string
	contains string // in the log line's error
}{
	{"port check", "amqp", hangUp(""), "", "client_closed", ""},
	{"half a hello", "amqp", hangUp("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "", "client_closed", "after 11 bytes"},
	{"silent", "slow", raw(""), "\x15\x03\x01\x00\x02\x01\x5a", "handshake_timeout", ""},
	{"half a hello, then silent", "slow", raw("\x16\x03\x01\x02\x00\x01\x00"), "\x15\x03\x01\x00\x02\x01\x5a", "handshake_timeout", ""},
	{"plaintext AMQP", "amqp", raw("AMQP\x00\x00\x09\x01"), "AMQP", "not_tls", "amqp"},
	{"plaintext HTTP", "amqp", raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 400 ", "not_tls", "http"},
	{"garbage", "amqp", raw("\xff\xfe\xfd\xfc\xfb"), "\x15\x03", "not_tls", ""},
	{"a record too long", "amqp", raw("\x16\x03\x01\xff\xff\x01"), "\x02\x16", "malformed_hello", ""},
	{"a hello that is none", "amqp", raw("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), "\x02\x0a", "malformed_hello", ""},
	{"TLS 1.1", "amqp", client(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
		"protocol version not supported", "unsupported_version", "TLSv1.1"},
	{"no common suite", "amqp", client(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}),
		"handshake failure", "no_common_suite", "AES128-SHA"},
	{"no common group", "amqp", client(&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}), "handshake failure", "no_common_group", "P-521"},
	{"client distrusts us", "amqp", client(&tls.Config{ServerName: "elsewhere.test"}), "certificate", "client_alert", ""},
	{"MQTT on AMQP", "amqp", speak("\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc"), "AMQP\x00\x00\x09\x01", "wrong_protocol", "MQTT on the AMQP listener"},
	{"HTTP on STOMP", "stomp", speak("GET / HTTP/1.1\r\n\r\n"), "ERROR\n", "wrong_protocol", "STOMP listener"},
	{"AMQP on OpenWire", "openwire", speak("AMQP\x00\x00\x09\x01"), "", "wrong_protocol", "AMQP"},
	{"unknown on auto", "auto", speak("\xff\xfe\xfd\xfc\xfb\xfa"), "", "wrong_protocol", "unknown"},
	{"silent after TLS", "shy", speak(""), "", "first_bytes_timeout", "no protocol after"},
	{"gone after TLS", "amqp", leave(), "", "client_closed", ""},
	{"broker down, MQTT", "down", speak("\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc"), "\x20\x02\x00\x03", "upstream_refused", "connection refused"},
	{"protocol without upstream", "auto", speak("CONNECT\naccept-version:1.2\n\n\x00"), "ERROR\n", "no_upstream", "stomp"},
	{"PROXY header that nobody asked for", "amqp", raw("PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n"), "", "not_tls", "PROXY protocol header"},
	{"no PROXY header", "behind", client(&tls.Config{}), "internal error", "proxy_header_missing", "TLS without a PROXY header"},
	{"no PROXY header and no TLS", "behind", raw("AMQP\x00\x00\x09\x01"), "", "proxy_header_missing", "AMQP"},
	{"bad PROXY header", "behind", raw("PROXY TCP4 192.0.2.7 198.51.100.1 1 99999\r\n"), "", "proxy_header_invalid", "port"},
	{"half a PROXY header", "behind", raw("PROXY TCP4 192."), "", "proxy_header_timeout", "after 15 bytes"},
	{"port check by a balancer", "behind", hangUp(""), "", "client_closed", "after 0 bytes"},
	{"over the limit", "full", raw(""), "\x02\x50", "connection_limit", "max_connections"},
}

// raw sends bytes without TLS and returns what comes back until the end.
func raw(send string) func(*testing.T, *gateway, net.Conn) []byte {
	return func(t *testing.T, _ *gateway, conn net.Conn) []byte {
		if _, err := io.WriteString(conn, send); err != nil {
			t.Error(err)
		}
		told, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("the end was not an orderly one: %v", err)
		}
		return told
	}
}

// hangUp sends bytes and closes.
func hangUp(send string) func(*testing.T, *gateway, net.Conn) []byte {
	return func(t *testing.T, _ *gateway, conn net.Conn) []byte {
		if _, err := io.WriteString(conn, send); err != nil {
			t.Error(err)
		}
		conn.Close()
		return nil
	}
}

// client tries a handshake and returns its error as what it was told.
func client(config *tls.Config) func(*testing.T, *gateway, net.Conn) []byte {
	return func(t *testing.T, g *gateway, conn net.Conn) []byte {
		config := config.Clone()
		config.RootCAs = g.client().RootCAs
		if config.ServerName == "" {
			config.ServerName = "localhost"
		}
		err := tls.Client(conn, config).Handshake()
		conn.Close()
		if err == nil {
			t.Error("the handshake succeeded")
			return nil
		}
		return []byte(err.Error())
	}
}

// speak sends bytes through TLS and returns what comes back until the end.
func speak(send string) func(*testing.T, *gateway, net.Conn) []byte {
	return func(t *testing.T, g *gateway, conn net.Conn) []byte {
		c := tls.Client(conn, g.client())
		if _, err := io.WriteString(c, send); err != nil {
			t.Error(err)
		}
		if err := c.Handshake(); err != nil {
			t.Error(err)
		}
		told, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("the end was not an orderly one: %v", err)
		}
		return told
	}
}

// leave completes a handshake and closes.
func leave() func(*testing.T, *gateway, net.Conn) []byte {
	return func(t *testing.T, g *gateway, conn net.Conn) []byte {
		c := tls.Client(conn, g.client())
		if err := c.Handshake(); err != nil {
			t.Error(err)
		}
		c.Close()
		return nil
	}
}

func startForEndings(t *testing.T) *gateway {
	g := start(t, `
log: {refusals_per_minute: 0}
upstreams: {broker: {nodes: ["`+broker(t, echo)+`"]}, down: {nodes: ["`+closedPort(t)+`"]}}
listeners:
  - {name: amqp, address: "127.0.0.1:0", protocol: amqp, policy: rabbitmq, upstream: broker}
  - {name: stomp, address: "127.0.0.1:0", protocol: stomp, policy: rabbitmq, upstream: broker}
  - {name: openwire, address: "127.0.0.1:0", protocol: openwire, policy: rabbitmq, upstream: broker}
  - {name: auto, address: "127.0.0.1:0", protocol: auto, policy: rabbitmq, upstreams: {amqp: broker, mqtt: broker}}
  - {name: slow, address: "127.0.0.1:0", protocol: amqp, policy: rabbitmq, upstream: broker, handshake_timeout: 200ms}
  - {name: shy, address: "127.0.0.1:0", protocol: amqp, policy: rabbitmq, upstream: broker, first_bytes_timeout: 200ms}
  - {name: behind, address: "127.0.0.1:0", protocol: amqp, policy: rabbitmq, upstream: broker, proxy_protocol: {from: [127.0.0.0/8]}, handshake_timeout: 500ms}
  - {name: down, address: "127.0.0.1:0", protocol: mqtt, policy: rabbitmq, upstream: down}
  - {name: full, address: "127.0.0.1:0", protocol: tcp, policy: rabbitmq, upstream: broker, max_connections: 1}
`)
	// The one that fills the listener full.
	conn, err := g.connect("full", g.client())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestRefusals(t *testing.T) {
	g := startForEndings(t)
	ended := map[string]int{}
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			conn := g.dial(tt.listener)
			told := tt.play(t, g, conn)
			conn.Close()
			if !strings.Contains(string(told), tt.told) || tt.told == "" && len(told) > 0 {
				t.Errorf("told %q, want %q", told, tt.told)
			}
			line := g.lineOf(tt.listener, conn.LocalAddr())
			if line["reason"] != tt.reason {
				t.Errorf("log line %v, want reason %s", line, tt.reason)
			}
			if tt.reason == "wrong_protocol" && (line["level"] != "WARN" || line["protocol"] == tt.listener) {
				t.Errorf("log line %v", line)
			}
			if tt.contains != "" && !strings.Contains(line["error"].(string), tt.contains) {
				t.Errorf("error %q, want %q", line["error"], tt.contains)
			}
			ended[tt.listener+" "+tt.reason]++
			series := fmt.Sprintf(`suitegate_connections_ended_total{listener=%q,reason=%q} %d`, tt.listener, tt.reason, ended[tt.listener+" "+tt.reason])
			if !g.counted(series) {
				t.Errorf("not in the metrics: %s", series)
			}
			if refused := fmt.Sprintf(`suitegate_refusals_total{listener=%q,reason=%q}`, tt.listener, tt.reason); line["level"] == "WARN" != g.counted(refused+" "+fmt.Sprint(ended[tt.listener+" "+tt.reason])) {
				t.Errorf("refused or not: %s, and the line is %v", refused, line)
			}
			if tt.reason == "client_alert" && (line["client_alert"] != "bad_certificate" || !g.counted(`suitegate_client_alerts_total{alert="bad_certificate",listener="amqp"} 1`)) {
				t.Errorf("client's alert: %v", line["client_alert"])
			}
		})
	}
	// What the last ones did has disturbed nobody.
	conn, err := g.connect("amqp", g.client())
	if err != nil {
		t.Fatal(err)
	}
	hello := []byte("AMQP\x00\x00\x09\x01")
	if _, err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	echoed := make([]byte, len(hello))
	if _, err := io.ReadFull(conn, echoed); err != nil || !bytes.Equal(echoed, hello) {
		t.Errorf("%q %v", echoed, err)
	}
}

// After thousands of connections of every ending, each was counted in and out
// and nothing is left behind: TestMain looks for goroutines.
func TestThousandsOfEndingsLeaveNothing(t *testing.T) {
	g := startForEndings(t)
	const each, workers = 100, 16
	jobs := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range jobs {
				tt := endings[i]
				conn, err := net.Dial("tcp", g.Address(tt.listener).String())
				if err != nil {
					t.Error(err)
					continue
				}
				_ = conn.SetDeadline(time.Now().Add(patience))
				tt.play(t, g, conn)
				conn.Close()
			}
		})
	}
	order := rand.Perm(each * len(endings))
	for _, i := range order {
		jobs <- i % len(endings)
	}
	close(jobs)
	wg.Wait()

	want := map[string]int{}
	for _, tt := range endings {
		want[tt.reason] += each
	}
	g.log.wait(t, len(order), func(l map[string]any) bool { return l["msg"] == "connection" })
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	got := map[string]int{}
	for _, line := range g.log.lines {
		if line["msg"] == "connection" {
			got[line["reason"].(string)]++
		}
	}
	for reason, n := range want {
		if got[reason] != n {
			t.Errorf("%s: %d log lines, want %d (all: %v)", reason, got[reason], n, got)
		}
	}
	for _, l := range g.listeners {
		if n := l.active.Load(); n != 0 && l.route.Load().Name != "full" {
			t.Errorf("listener %s still counts %d connections", l.route.Load().Name, n)
		}
	}
}
