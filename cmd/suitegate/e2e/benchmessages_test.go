package e2e

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// TestBenchMessages has suitegate bench messages measure every broker through
// the gateway: messages come back, none is lost, and the log knows the connection.
func TestBenchMessages(t *testing.T) {
	brokers := []struct{ protocol, upstream string }{
		{"amqp", "rabbitmq-amqp"}, {"mqtt", "rabbitmq-mqtt"}, {"mqtt", "mosquitto-mqtt"}, {"stomp", "rabbitmq-stomp"}, {"stomp", "activemq-stomp"},
	}
	c := config{Upstreams: brokerUpstreams(t)}
	for _, b := range brokers {
		c.Listeners = append(c.Listeners, listenerConfig{Name: b.upstream, Protocol: b.protocol, Policy: "rabbitmq", Upstream: b.upstream})
	}
	g := startGateway(t, c)
	for _, b := range brokers {
		t.Run(b.upstream, func(t *testing.T) {
			// Whom it talks to is what other tests check.
			out, err := runClient(t, exec.Command(run.program, "bench", "messages", b.protocol, g.address(t, b.upstream),
				"--insecure", "--connections", "2", "--duration", "1s", "--json"))
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var result struct {
				Messages int64
				Failed   int64
			}
			if err := json.Unmarshal([]byte(out), &result); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if result.Messages < 100 || result.Failed != 0 {
				t.Errorf("%s", out)
			}
			g.log.await(t, "connection", func(r record) bool { return r.text("listener") == b.upstream }).want(t, record{"protocol": b.protocol})
		})
	}
}
