package e2e

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// connectTCP opens a connection to a listener that speaks no TLS yet. It fails
// the test, instead of hanging, when nothing comes for too long.
func connectTCP(t *testing.T, g *gateway, listener string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", g.address(t, listener), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// connectTLS opens a TLS connection to a listener.
func connectTLS(t *testing.T, g *gateway, listener string) *tls.Conn {
	t.Helper()
	conn := tls.Client(connectTCP(t, g, listener), pki(t).client(tls.VersionTLS13))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// send writes to the gateway, which reads at least that.
func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// rest reads what else comes until the end, which must be in good order, and
// closes: the gateway waits for that, for a while.
func rest(t *testing.T, conn net.Conn) string {
	t.Helper()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("the connection ended with %v after %q", err, got)
	}
	conn.Close()
	return string(got)
}

func wantRest(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if got := rest(t, conn); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// clientHello is what a client of crypto/tls sends first.
func clientHello(t *testing.T) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake()
		client.Close()
	}()
	var header [5]byte
	if _, err := io.ReadFull(server, header[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return string(header[:]) + string(body)
}

// The first words of clients, with or without TLS around them.
const (
	helloAMQP091  = "AMQP\x00\x00\x09\x01"
	helloAMQP10   = "AMQP\x03\x01\x00\x00"
	helloMQTT311  = "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"
	helloMQTT5    = "\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c"
	helloSTOMP    = "CONNECT\naccept-version:1.2\nhost:/\n\n\x00"
	helloOpenWire = "\x00\x00\x00\xf0\x01ActiveMQ\x00\x00\x00\x0c"
	helloHTTP     = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	helloSSH      = "SSH-2.0-OpenSSH_9.2p1\r\n"
	helloProxyV1  = "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
	helloProxyV2  = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// helloWebSocket asks for one subprotocol.
func helloWebSocket(subprotocol string) string {
	return probeWebSocket("", subprotocol).ask
}

// tlsAlert is a fatal alert before a version is settled.
func tlsAlert(description byte) string {
	return "\x15\x03\x01\x00\x02\x02" + string([]byte{description})
}

// TestPlaintext shows what clients are told that do not speak TLS.
func TestPlaintext(t *testing.T) {
	g := startSuitesGateway(t)
	tests := []struct {
		name, hello, answer string
		err                 string // in the log
	}{
		{"AMQP 0-9-1", helloAMQP091, "AMQP\x02\x01\x00\x00", "not TLS: plaintext amqp"},
		{"AMQP 1.0", helloAMQP10, "AMQP\x02\x01\x00\x00", "not TLS: plaintext amqp"},
		{"MQTT 3.1.1", helloMQTT311, "\x20\x02\x00\x03", "not TLS: plaintext mqtt"},
		{"MQTT 5", helloMQTT5, "\x20\x1a\x00\x83\x17\x1f\x00\x14This port speaks TLS", "not TLS: plaintext mqtt"},
		{"STOMP", helloSTOMP, "ERROR\nmessage:This port speaks TLS\ncontent-length:0\n\n\x00\n", "not TLS: plaintext stomp"},
		{"OpenWire", helloOpenWire, "", "not TLS: plaintext openwire"},
		{"SSH", helloSSH, "This port speaks TLS, not SSH.\r\n", "not TLS: plaintext ssh"},
		{"PROXY v1", helloProxyV1, "", "not TLS: PROXY protocol header (proxy_v1)"},
		{"PROXY v2", helloProxyV2, "", "not TLS: PROXY protocol header (proxy_v2)"},
		{"SSLv2 hello", "\x80\x2e\x01\x00\x02" + strings.Repeat("\x00", 43), tlsAlert(70), "not TLS: SSLv2 hello"},
		{"garbage", "\xff\xfe\xfd\xfc\x00\x01\x02\x03\x04secret", tlsAlert(70), `not TLS: begins with "\xff\xfe\xfd\xfc\x00\x01\x02\x03"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conn := connectTCP(t, g, "rabbitmq")
			send(t, conn, test.hello)
			wantRest(t, conn, test.answer)
			g.connection(t).want(t, record{"reason": "not_tls", "error": "clienthello: " + test.err, "level": "WARN"})
		})
	}
	t.Run("curl", func(t *testing.T) {
		out, err := runClient(t, exec.Command(requireProgram(t, "curl"), "-sS", "http://"+g.address(t, "rabbitmq")))
		if err != nil {
			t.Error(err)
		}
		wantOutput(t, out, "This port speaks TLS, not plain HTTP.")
		g.connection(t).want(t, record{"reason": "not_tls", "error": "clienthello: not TLS: plaintext http"})
	})
}

// startHastyGateway gives clients little time.
func startHastyGateway(t *testing.T) *gateway {
	t.Helper()
	return startGateway(t, config{
		Upstreams: map[string]upstreamConfig{"echo": {Nodes: []string{stubBroker(t, echoLine)}}},
		Listeners: []listenerConfig{
			{Name: "hasty", Protocol: "stomp", Policy: "rabbitmq", Upstream: "echo", HandshakeTimeout: "300ms", FirstBytesTimeout: "300ms"},
			{Name: "patient", Protocol: "tcp", Policy: "rabbitmq", Upstream: "echo"},
		},
	})
}

// TestBadHello shows what clients are told whose hello is wrong or incomplete.
func TestBadHello(t *testing.T) {
	g := startHastyGateway(t)
	hello := clientHello(t)
	canceled := "\x15\x03\x01\x00\x02\x01\x5a" + "\x15\x03\x01\x00\x02\x01\x00" // user_canceled, close_notify
	tests := []struct{ name, hello, answer, reason string }{
		{"too large", "\x16\x03\x01\x40\x00\x01\x01\x00\x01" + strings.Repeat("\x00", 1000), tlsAlert(47), "hello_too_large"},
		{"record too long", "\x16\x03\x01\x48\x01\x01", tlsAlert(22), "malformed_hello"},
		{"no ClientHello", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", tlsAlert(10), "malformed_hello"},
		{"cut inside", "\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00", tlsAlert(50), "malformed_hello"},
		{"an alert first", "\x15\x03\x01\x00\x02\x02\x28", tlsAlert(10), "malformed_hello"},
		{"truncated, then silence", hello[:len(hello)/2], canceled, "handshake_timeout"},
		{"silence", "", canceled, "handshake_timeout"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conn := connectTCP(t, g, "hasty")
			send(t, conn, test.hello)
			wantRest(t, conn, test.answer)
			g.connection(t).want(t, record{"listener": "hasty", "reason": test.reason, "level": "WARN", "upstream": nil})
		})
	}
	t.Run("truncated, then closed", func(t *testing.T) {
		conn := connectTCP(t, g, "hasty")
		send(t, conn, hello[:len(hello)/2])
		conn.Close()
		g.connection(t).want(t, record{"reason": "client_closed", "level": "INFO"})
	})
	t.Run("reset", func(t *testing.T) {
		conn := connectTCP(t, g, "hasty")
		send(t, conn, hello[:len(hello)/2])
		conn.SetLinger(0)
		conn.Close()
		g.connection(t).want(t, record{"reason": "client_closed", "level": "INFO"})
	})
	t.Run("whole, then half-closed", func(t *testing.T) {
		conn := connectTCP(t, g, "hasty")
		send(t, conn, hello)
		conn.CloseWrite()
		if rest(t, conn) == "" {
			t.Error("no answer to the hello")
		}
		g.connection(t).want(t, record{"reason": "client_closed"})
	})
	t.Run("a byte at a time, too slowly", func(t *testing.T) {
		conn := connectTCP(t, g, "hasty")
		begin := time.Now()
		for i := 0; i < len(hello) && time.Since(begin) < patience; i++ {
			if _, err := io.WriteString(conn, hello[i:i+1]); err != nil {
				break // it has been closed, as it should
			}
			time.Sleep(20 * time.Millisecond)
		}
		if line := g.connection(t); line.text("reason") != "handshake_timeout" || line.number("duration") > 5 {
			t.Errorf("want a handshake_timeout after 300ms: %v", line)
		}
	})
	t.Run("a byte at a time, in time", func(t *testing.T) {
		conn := tls.Client(bytewise{connectTCP(t, g, "patient")}, pki(t).client(tls.VersionTLS13))
		send(t, conn, greeting)
		wantRest(t, conn, greeting)
		g.connection(t).want(t, record{"listener": "patient", "bytes_from_client": len(greeting)})
	})
	t.Run("silence after the handshake", func(t *testing.T) {
		wantRest(t, connectTLS(t, g, "hasty"), "")
		g.connection(t).want(t, record{"reason": "first_bytes_timeout", "version": "TLSv1.3", "level": "WARN"})
	})
	t.Run("a client that distrusts the certificate", func(t *testing.T) {
		conn := tls.Client(connectTCP(t, g, "patient"), &tls.Config{ServerName: "localhost"}) // the system's roots
		if err := conn.Handshake(); err == nil {
			t.Error("the system's roots vouch for the gateway")
		}
		conn.Close()
		g.connection(t).want(t, record{"reason": "client_alert", "client_alert": "bad_certificate", "level": "WARN"})
	})
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		t.Run("OpenSSL distrusts the certificate "+version, func(t *testing.T) {
			notIts := pki(t).files("rsa", "rsa").Files["certificate"] // which has not issued itself
			wantOutput(t, sClient(t, g, "patient", version, "-CAfile", notIts), "verify error")
			g.connection(t).want(t, record{"reason": "client_alert", "client_alert": "unknown_ca", "level": "WARN"})
		})
	}
}

// bytewise writes each byte into a TCP segment of its own.
type bytewise struct{ *net.TCPConn }

func (b bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := b.TCPConn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestPortCheck shows that a load balancer's check, which connects and closes,
// makes no noise.
func TestPortCheck(t *testing.T) {
	g := startHastyGateway(t)
	conn := connectTCP(t, g, "patient")
	conn.Close()
	g.connection(t).want(t, record{"reason": "client_closed", "level": "INFO", "version": nil})
	if bytes.Contains(g.log.all(), []byte(`"level":"ERROR"`)) {
		t.Error("an error is logged")
	}
}
