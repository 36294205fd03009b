package e2e

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	amqp10 "github.com/Azure/go-amqp"
)

// workload is a real client that carries ten thousand messages each way.
type workload struct {
	name     string // and that of a listener of its own
	protocol string
	policy   string
	upstream string
	run      func(t *testing.T, server endpoint)
}

var workloads = []workload{
	{"amqp-0-9-1", "amqp", "rabbitmq", "rabbitmq-amqp", exchangeAMQP091},
	{"amqp-1.0-plain", "amqp", "rabbitmq", "rabbitmq-amqp", func(t *testing.T, server endpoint) {
		exchangeAMQP10(t, server, amqp10.SASLTypePlain("guest", "guest"), "/queue/"+destination(t))
	}},
	{"amqp-1.0-anonymous", "amqp", "activemq", "rabbitmq-amqp", func(t *testing.T, server endpoint) {
		exchangeAMQP10(t, server, amqp10.SASLTypeAnonymous(), "/topic/"+destination(t))
	}},
	{"stomp-rabbitmq", "stomp", "rabbitmq", "rabbitmq-stomp", func(t *testing.T, server endpoint) {
		exchangeSTOMP(t, server.dial(t), prefetchRabbitMQ)
	}},
	{"stomp-activemq", "stomp", "activemq", "activemq-stomp", func(t *testing.T, server endpoint) {
		exchangeSTOMP(t, server.dial(t), prefetchActiveMQ)
	}},
	{"mqtt-3.1.1-rabbitmq", "mqtt", "rabbitmq", "rabbitmq-mqtt", func(t *testing.T, server endpoint) {
		exchangeMQTT311(t, server, "ssl")
	}},
	{"mqtt-3.1.1-mosquitto", "mqtt", "activemq", "mosquitto-mqtt", func(t *testing.T, server endpoint) {
		exchangeMQTT311(t, server, "ssl")
	}},
	{"mqtt-5-mosquitto", "mqtt", "rabbitmq", "mosquitto-mqtt", exchangeMQTT5},
	{"mosquitto-pub-sub", "mqtt", "rabbitmq", "mosquitto-mqtt", exchangeMosquitto},
	{"mqtt-websocket", "websocket", "rabbitmq", "rabbitmq-web-mqtt", func(t *testing.T, server endpoint) {
		exchangeMQTT311(t, server, "wss")
	}},
	{"stomp-websocket", "websocket", "rabbitmq", "rabbitmq-web-stomp", func(t *testing.T, server endpoint) {
		exchangeSTOMP(t, server.dialWebSocket(t, "v12.stomp"), prefetchRabbitMQ)
	}},
	{"openwire", "openwire", "activemq", "activemq-openwire", exchangeOpenWire},
}

// brokerUpstreams is every plaintext port of every broker, as broker-protocol.
func brokerUpstreams(t *testing.T) map[string]upstreamConfig {
	t.Helper()
	upstreams := make(map[string]upstreamConfig)
	for broker, addresses := range map[string]map[string]string{
		"rabbitmq": rabbitMQ(t), "activemq": activeMQ(t), "mosquitto": mosquitto(t),
	} {
		for protocol, address := range addresses {
			upstreams[broker+"-"+protocol] = upstreamConfig{Nodes: []string{address}}
		}
	}
	return upstreams
}

// versions are those that clients are told to speak, one at a time.
var versions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// versionName is how Java, OpenSSL and the gateway call a version.
func versionName(version uint16) string {
	return strings.Replace(tls.VersionName(version), " ", "v", 1)
}

// TestMessages carries ten thousand messages each way with every client, once
// with each version of TLS, and holds the gateway's log line against it.
func TestMessages(t *testing.T) {
	c := config{Upstreams: brokerUpstreams(t)}
	for _, w := range workloads {
		l := listenerConfig{Name: w.name, Protocol: w.protocol, Policy: w.policy, Upstream: w.upstream}
		if w.protocol == "websocket" { // whose subprotocol decides
			l.Upstream, l.Upstreams = "", map[string]string{"mqtt": "rabbitmq-web-mqtt", "stomp": "rabbitmq-web-stomp"}
		}
		c.Listeners = append(c.Listeners, l)
	}
	g := startGateway(t, c)
	t.Run("all", func(t *testing.T) {
		for _, w := range workloads {
			for _, version := range versions {
				t.Run(w.name+" "+versionName(version), func(t *testing.T) {
					t.Parallel()
					server := g.endpoint(t, w.name, version)
					w.run(t, server)
					line := g.log.await(t, "connection", func(r record) bool {
						return r.text("listener") == w.name && r.text("version") == versionName(version)
					})
					line.want(t, record{
						"protocol": w.protocol,
						"upstream": w.upstream,
						"node":     c.Upstreams[w.upstream].Nodes[0],
						"suite":    preferred(version),
						"engine":   map[uint16]string{tls.VersionTLS12: own12, tls.VersionTLS13: own13}[version],
						"resumed":  false,
					})
				})
			}
		}
	})
}

// preferred is the suite that both built-in policies prefer, as do the clients.
func preferred(version uint16) string {
	if version == tls.VersionTLS13 {
		return "TLS_AES_256_GCM_SHA384"
	}
	return "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
}

// TestAuto carries the same messages through one port, which tells from the
// first bytes which broker they are for.
func TestAuto(t *testing.T) {
	g := startGateway(t, config{
		Upstreams: brokerUpstreams(t),
		Listeners: []listenerConfig{{Name: "auto", Protocol: "auto", Policy: "activemq", Upstreams: map[string]string{
			"amqp": "rabbitmq-amqp", "mqtt": "mosquitto-mqtt", "stomp": "activemq-stomp",
			"openwire": "activemq-openwire", "websocket": "rabbitmq-web-mqtt",
		}}},
	})
	t.Run("all", func(t *testing.T) {
		for _, name := range []string{"amqp-0-9-1", "amqp-1.0-plain", "mqtt-5-mosquitto", "stomp-activemq", "mqtt-websocket", "openwire"} {
			w := workloads[slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })]
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w.run(t, g.endpoint(t, "auto", tls.VersionTLS13))
				g.log.await(t, "connection", func(r record) bool { return r.text("upstream") == w.upstream }).
					want(t, record{"listener": "auto", "protocol": w.protocol})
			})
		}
	})
}
