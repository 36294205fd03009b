package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/proxy"
)

type demoCommand struct {
	Dir string `placeholder:"DIR" help:"Where the certificate is kept and the configuration is written (default: suitegate/demo in the user's data directory)."`

	MQTTAddress     string `name:"mqtt-address" placeholder:"ADDR" default:"127.0.0.1:8883" help:"MQTT over TLS (default: ${default}; another port where this one is taken, as for all addresses)."`
	ActiveMQAddress string `name:"activemq-address" placeholder:"ADDR" default:"127.0.0.1:8884" help:"MQTT over TLS with the policy activemq, to compare (default: ${default})."`
	STOMPAddress    string `name:"stomp-address" placeholder:"ADDR" default:"127.0.0.1:61614" help:"STOMP over TLS (default: ${default})."`
	AMQPAddress     string `name:"amqp-address" placeholder:"ADDR" default:"127.0.0.1:5671" help:"AMQP over TLS, if there is a broker (default: ${default})."`
	OpenWireAddress string `name:"openwire-address" placeholder:"ADDR" default:"127.0.0.1:61617" help:"OpenWire over TLS, if there is a broker (default: ${default})."`
	AdminAddress    string `placeholder:"ADDR" default:"127.0.0.1:9090" help:"Metrics and health (default: ${default})."`
	AMQPBroker      string `name:"amqp-broker" placeholder:"ADDR" default:"127.0.0.1:5672" help:"Where to look for an AMQP broker (default: ${default})."`
	OpenWireBroker  string `name:"openwire-broker" placeholder:"ADDR" default:"127.0.0.1:61616" help:"Where to look for an OpenWire broker (default: ${default})."`
}

// demo is what runs where.
type demo struct{ generated }

func (d *demoCommand) Run(out *console) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	dir, err := makeDataDir(d.Dir, "demo")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	brokers, err := startBrokers()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer brokers.Close()
	addresses := &reservation{out: out}
	defer addresses.release()
	plan := d.plan(addresses, dir, brokers)
	if addresses.err != nil {
		return addresses.err
	}
	cfg, err := plan.config(filepath.Join(dir, "demo.yml"))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}

	addresses.release()
	err = host(out, cfg, signals, func(*proxy.Server) error {
		plan.print(out, cfg.File, filepath.Join(cfg.Storage, certs.RootFile))
		return nil
	})
	if err != nil {
		return err
	}
	out.printf("\nThe demo has ended. Its certificate is kept in %s\n", dir)
	return nil
}

// plan chooses the addresses and looks for brokers on this host.
func (d *demoCommand) plan(addresses *reservation, dir string, brokers *embeddedBrokers) *demo {
	plan := &demo{generated{
		Command: "demo",
		Admin:   addresses.pick("admin-address", d.AdminAddress),
		Storage: dir,
		Names:   defaultNames(),
		Upstreams: []generatedUpstream{
			{"mqtt", brokers.mqttAddress, "embedded"},
			{"stomp", brokers.stompAddress, "embedded"},
		},
		Listeners: []generatedListener{
			{"mqtts", addresses.pick("mqtt-address", d.MQTTAddress), "mqtt", "rabbitmq", "mqtt"},
			{"mqtts-activemq", addresses.pick("activemq-address", d.ActiveMQAddress), "mqtt", "activemq", "mqtt"},
			{"stomps", addresses.pick("stomp-address", d.STOMPAddress), "stomp", "rabbitmq", "stomp"},
		},
	}}
	if probeAMQP(d.AMQPBroker) {
		plan.Upstreams = append(plan.Upstreams, generatedUpstream{"amqp", d.AMQPBroker, "found on this host"})
		plan.Listeners = append(plan.Listeners,
			generatedListener{"amqps", addresses.pick("amqp-address", d.AMQPAddress), "amqp", "rabbitmq", "amqp"})
	}
	if probeOpenWire(d.OpenWireBroker) {
		plan.Upstreams = append(plan.Upstreams, generatedUpstream{"openwire", d.OpenWireBroker, "found on this host"})
		plan.Listeners = append(plan.Listeners,
			generatedListener{"openwires", addresses.pick("openwire-address", d.OpenWireAddress), "openwire", "activemq", "openwire"})
	}
	return plan
}

// reservation holds addresses by listening on them, so that none is picked
// twice, until release makes room for the gateway.
type reservation struct {
	out  *console
	held []net.Listener
	err  error // of the first pick that failed; the later ones do nothing
}

// pick reserves want, or another port of its host if that one is taken, and
// says so.
func (r *reservation) pick(flag, want string) string {
	if r.err != nil {
		return ""
	}
	if !isLoopback(want) {
		r.err = usageHint(fmt.Errorf("--%s %s: the demo's brokers let everybody in, so it listens on loopback alone", flag, want),
			"suitegate serve puts a broker of your own on any address")
		return ""
	}
	l, err := net.Listen("tcp", want)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(want) // isLoopback has split it
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err == nil {
			r.out.warnf("%s is taken, using %s (--%s chooses)", want, l.Addr(), flag)
		}
	}
	if err != nil {
		r.err = fmt.Errorf("--%s: %w", flag, err)
		return ""
	}
	r.held = append(r.held, l)
	return l.Addr().String()
}

func (r *reservation) release() {
	for _, l := range r.held {
		l.Close()
	}
	r.held = nil
}
