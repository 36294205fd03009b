package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// startProxiedRabbitMQ runs a RabbitMQ whose every connection has to begin with
// a PROXY header.
func startProxiedRabbitMQ(dir string) (*process, map[string]probe, error) {
	amqp, stomp, mqtt := loopback(freePorts.next()), loopback(freePorts.next()), loopback(freePorts.next())
	if err := writeFiles(map[string]string{
		filepath.Join(dir, "rabbitmq.conf"): `listeners.tcp.1 = ` + amqp + `
stomp.listeners.tcp.1 = ` + stomp + `
mqtt.listeners.tcp.1 = ` + mqtt + `
proxy_protocol = true
stomp.proxy_protocol = true
mqtt.proxy_protocol = true
log.console = true
log.file = false
`,
		filepath.Join(dir, "enabled_plugins"): "[rabbitmq_stomp,rabbitmq_mqtt].\n",
	}); err != nil {
		return nil, nil, err
	}
	p, err := startRabbitNode("rabbitmq-proxied", dir)
	probes := map[string]probe{"amqp": probeAMQP(amqp), "stomp": probeSTOMP(stomp), "mqtt": probeMQTT(mqtt)}
	for protocol, probe := range probes {
		probe.ask = "PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n" + probe.ask
		probes[protocol] = probe
	}
	return p, probes, err
}

// proxyHeaders introduce a client of 192.0.2.7 that has connected to
// 198.51.100.1:5671.
var proxyHeaders = map[string]func(port int) string{
	"v1": func(port int) string { return fmt.Sprintf("PROXY TCP4 192.0.2.7 198.51.100.1 %d 5671\r\n", port) },
	"v2": func(port int) string {
		return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01" + string([]byte{byte(port >> 8), byte(port)}) + "\x16\x27"
	},
}

// proxiedClients are what TestProxyProtocol connects, and how RabbitMQ calls the
// TLS of each.
var proxiedClients = []struct {
	listener string
	tls      uint16
	engine   string
	shown    string
}{
	{"amqp", tls.VersionTLS13, own13, "tlsv1.3 aes_256_gcm"},
	{"amqp", tls.VersionTLS12, own12, "tlsv1.2 aes_256_gcm"},
	{"amqp-old", tls.VersionTLS12, own12, "tlsv1.2 aes_128_cbc"},
	{"opaque", tls.VersionTLS13, own13, "tlsv1.3 aes_256_gcm"},
	{"stomp", tls.VersionTLS13, own13, "tlsv1.3 aes_256_gcm"},
	{"stomp", tls.VersionTLS12, own12, "tlsv1.2 aes_256_gcm"},
	{"mqtt", tls.VersionTLS13, own13, "tlsv1.3 aes_256_gcm"},
	{"mqtt", tls.VersionTLS12, own12, "tlsv1.2 aes_256_gcm"},
}

// startProxiedGateway trusts loopback to say who clients are, and has a listener
// for each protocol with each version of the PROXY protocol to the broker.
func startProxiedGateway(t *testing.T, brokers map[string]string) *gateway {
	t.Helper()
	c := config{
		Policies:  map[string]policyConfig{"old": {TLS12: []string{"ECDHE-RSA-AES128-SHA256"}}},
		Upstreams: make(map[string]upstreamConfig),
	}
	for version := range proxyHeaders {
		for protocol, address := range brokers {
			c.Upstreams[protocol+"-"+version] = upstreamConfig{Nodes: []string{address}, ProxyProtocol: version}
		}
		for _, l := range []listenerConfig{
			{Name: "amqp", Protocol: "amqp", Policy: "rabbitmq", Upstream: "amqp"},
			{Name: "amqp-old", Protocol: "amqp", Policy: "old", Upstream: "amqp"},
			{Name: "stomp", Protocol: "stomp", Policy: "rabbitmq", Upstream: "stomp"},
			{Name: "mqtt", Protocol: "mqtt", Policy: "rabbitmq", Upstream: "mqtt"},
			{Name: "opaque", Protocol: "tcp", Policy: "rabbitmq", Upstream: "amqp"},
		} {
			l.Name += "-" + version
			l.Upstream += "-" + version
			l.ProxyProtocol = map[string]any{"from": []string{"127.0.0.1"}}
			c.Listeners = append(c.Listeners, l)
		}
	}
	return startGateway(t, c)
}

// TestProxyProtocol puts a load balancer in front of the gateway, and asks
// RabbitMQ behind it who its clients are.
func TestProxyProtocol(t *testing.T) {
	g := startProxiedGateway(t, run.brokers.proxied.use(t))
	var want []string
	engines := make(map[string]string) // by client
	var open []io.Closer
	port := 40000
	for version, header := range proxyHeaders {
		for _, client := range proxiedClients {
			port++
			server := g.endpoint(t, client.listener+"-"+version, client.tls)
			server.tls.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}
			switch client.listener {
			case "stomp":
				open = append(open, askThroughProxy(t, server, header(port), probeSTOMP("")))
			case "mqtt":
				q := probeMQTT("")
				q.ask = strings.Replace(q.ask, "probe", fmt.Sprint(port), 1) // a name of its own
				open = append(open, askThroughProxy(t, server, header(port), q))
			default:
				open = append(open, dialAMQPThroughProxy(t, server, header(port)))
			}
			name := fmt.Sprintf("192.0.2.7:%d", port)
			engines[name] = client.engine
			if version == "v1" { // which has no room for it
				want = append(want, name+" -> 198.51.100.1:5671 without TLS")
			} else {
				want = append(want, name+" -> 198.51.100.1:5671 "+client.shown)
			}
		}
	}

	var got []string
	for _, list := range []string{"list_connections", "list_stomp_connections", "list_mqtt_connections"} {
		got = append(got, rabbitConnections(t, run.brokers.proxied.process, list)...)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("RabbitMQ's connections (-want +got):\n%s", diff)
	}
	for _, conn := range open {
		conn.Close()
		line := g.connection(t)
		line.want(t, record{"engine": engines[line.text("client")], "level": "INFO"})
		if !strings.HasPrefix(line.text("proxied_by"), "127.0.0.1:") {
			t.Errorf("not by a proxy: %v", line)
		}
	}
}

func dialThroughProxy(t *testing.T, server endpoint, header string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", server.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, header); err != nil {
		t.Fatal(err)
	}
	return conn
}

func dialAMQPThroughProxy(t *testing.T, server endpoint, header string) io.Closer {
	t.Helper()
	conn, err := amqp091.DialConfig("amqps://guest:guest@"+server.address+"/", amqp091.Config{
		TLSClientConfig: server.tls,
		Dial:            func(string, string) (net.Conn, error) { return dialThroughProxy(t, server, header), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// askThroughProxy connects and stays.
func askThroughProxy(t *testing.T, server endpoint, header string, q probe) io.Closer {
	t.Helper()
	conn := tls.Client(dialThroughProxy(t, server, header), server.tls)
	if _, err := io.WriteString(conn, q.ask); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(q.answer))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != q.answer {
		t.Fatalf("answer %q, %v, want %q", answer, err, q.answer)
	}
	return conn
}

// rabbitConnections are a node's connections, as rabbitmqctl lists them.
func rabbitConnections(t *testing.T, node *process, list string) []string {
	t.Helper()
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmqctl", list,
		"peer_host", "peer_port", "host", "port", "ssl", "ssl_protocol", "ssl_cipher", "--formatter", "json", "--silent")
	cmd.Env = node.cmd.Env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	var rows []struct {
		PeerHost []int  `json:"peer_host"`
		PeerPort int    `json:"peer_port"`
		Host     []int  `json:"host"`
		Port     int    `json:"port"`
		TLS      bool   `json:"ssl"`
		Version  string `json:"ssl_protocol"`
		Cipher   string `json:"ssl_cipher"`
	}
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var connections []string
	for _, r := range rows {
		how := "without TLS"
		if r.TLS {
			how = r.Version + " " + r.Cipher
		}
		connections = append(connections, fmt.Sprintf("%s:%d -> %s:%d %s", dotted(r.PeerHost), r.PeerPort, dotted(r.Host), r.Port, how))
	}
	return connections
}

func dotted(address []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(address), " ", "."), "[]")
}
