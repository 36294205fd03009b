package e2e

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// What clients are told, and of the longer answers how they begin.
const (
	header091       = "AMQP\x00\x00\x09\x01"
	header10        = "AMQP\x03\x01\x00\x00"
	stompError      = "ERROR\n"
	badRequest      = "HTTP/1.1 400 Bad Request\r\n"
	upgradeRequired = "HTTP/1.1 426 Upgrade Required\r\n"
	nothing         = "" // the connection is just closed
)

// TestWrongProtocol shows what clients are told that speak something else,
// inside TLS, than the listener is for, and that no broker hears them.
func TestWrongProtocol(t *testing.T) {
	var heard atomic.Int64
	broker := stubBroker(t, func(conn net.Conn) {
		n, _ := io.Copy(io.Discard, conn)
		heard.Add(n)
	})
	c := config{Upstreams: map[string]upstreamConfig{"broker": {Nodes: []string{broker}}}}
	for _, protocol := range []string{"amqp", "mqtt", "stomp", "openwire", "websocket"} {
		c.Listeners = append(c.Listeners, listenerConfig{Name: protocol, Protocol: protocol, Policy: "rabbitmq", Upstream: "broker"})
	}
	c.Listeners = append(c.Listeners, listenerConfig{Name: "auto", Protocol: "auto", Policy: "rabbitmq", Upstreams: map[string]string{"amqp": "broker"}})
	g := startGateway(t, c)

	tests := []struct {
		listener, hello string
		answer          string
		prefix          bool   // of the answer is what is compared
		err             string // in the log
	}{
		{"amqp", helloMQTT311, header091, false, "MQTT on the AMQP listener"},
		{"amqp", helloSTOMP, header091, false, "STOMP on the AMQP listener"},
		{"amqp", helloOpenWire, header091, false, "OpenWire on the AMQP listener"},
		{"amqp", helloHTTP, header091, false, "HTTP on the AMQP listener"},
		{"amqp", "AMQP\x01\x01\x08\x00", header091, false, "AMQP on the AMQP listener"},
		{"amqp", "AMQP\x03\x02\x00\x00", header10, false, "AMQP on the AMQP listener"},
		{"mqtt", helloAMQP091, nothing, false, "AMQP on the MQTT listener"},
		{"mqtt", helloSTOMP, nothing, false, "STOMP on the MQTT listener"},
		{"mqtt", "\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01c", "\x20\x02\x00\x01", false, "MQTT on the MQTT listener"},
		{"mqtt", "\x10\x0e\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x01c", "\x20\x03\x00\x84\x00", false, "MQTT on the MQTT listener"},
		{"stomp", helloAMQP091, stompError, true, "AMQP on the STOMP listener"},
		{"stomp", helloMQTT311, stompError, true, "MQTT on the STOMP listener"},
		{"stomp", "CONNECT localhost:61613 HTTP/1.1\r\n\r\n", stompError, true, "HTTP on the STOMP listener"},
		{"stomp", helloProxyV2, stompError, true, "PROXY protocol on the STOMP listener"},
		{"openwire", helloSTOMP, nothing, false, "STOMP on the OpenWire listener"},
		{"openwire", helloAMQP10, nothing, false, "AMQP on the OpenWire listener"},
		{"websocket", helloHTTP, upgradeRequired, true, "HTTP on the WebSocket listener"},
		{"websocket", helloMQTT311, badRequest, true, "MQTT on the WebSocket listener"},
		{"auto", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", nothing, false, "TLS inside TLS on the auto listener"},
		{"auto", helloSSH, nothing, false, "SSH on the auto listener"},
		{"auto", "what is this", nothing, false, `unknown protocol on the auto listener: begins with "what"`},
	}
	for _, test := range tests {
		t.Run(test.err, func(t *testing.T) {
			conn := connectTLS(t, g, test.listener)
			send(t, conn, test.hello)
			got := rest(t, conn)
			if test.prefix && !strings.HasPrefix(got, test.answer) || !test.prefix && got != test.answer {
				t.Errorf("the client was told %q, want %q", got, test.answer)
			}
			line := g.connection(t)
			line.want(t, record{"listener": test.listener, "reason": "wrong_protocol", "bytes_from_client": 0, "version": "TLSv1.3"})
			if !strings.Contains(line.text("error"), "sniff: "+test.err) {
				t.Errorf("the log says %q, want %q", line.text("error"), test.err)
			}
		})
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("%d bytes reached the broker", n)
	}
}

// TestNoUpstream shows what clients are told of a protocol that an auto
// listener recognises and has no broker for.
func TestNoUpstream(t *testing.T) {
	g := startGateway(t, config{
		Upstreams: map[string]upstreamConfig{"broker": {Nodes: []string{stubBroker(t, hold)}}},
		Listeners: []listenerConfig{{Name: "auto", Protocol: "auto", Policy: "rabbitmq", Upstreams: map[string]string{"amqp": "broker"}}},
	})
	for name, test := range map[string]struct{ hello, answer string }{
		"stomp": {helloSTOMP, stompError},
		"mqtt":  {helloMQTT311, "\x20\x02\x00\x03"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connectTLS(t, g, "auto")
			send(t, conn, test.hello)
			if got := rest(t, conn); !strings.HasPrefix(got, test.answer) {
				t.Errorf("the client was told %q, want %q", got, test.answer)
			}
			g.connection(t).want(t, record{"reason": "no_upstream", "protocol": name, "upstream": nil})
		})
	}
}
