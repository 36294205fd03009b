package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// brokers are the real ones, started together before all tests, or if not all are
// run by the first that asks for any of them: each takes seconds, most of them idle.
type brokers struct {
	once     sync.Once
	rabbit   broker
	activemq broker
	mosquito broker
	proxied  broker // a RabbitMQ that wants the PROXY protocol
}

// broker is one running broker, by the plaintext addresses it listens on.
type broker struct {
	process   *process
	addresses map[string]string // by protocol
	missing   string            // what is not installed, if it is not
	err       error
	ready     chan struct{} // closed when it answers, or never will
}

// launch starts a broker with the given directory and says how to find out
// that it is ready.
type launch func(dir string) (p *process, probes map[string]probe, err error)

func (b *brokers) start() {
	b.once.Do(func() {
		b.rabbit.launch("rabbitmq", startRabbitMQ)
		b.activemq.launch("activemq", startActiveMQ)
		b.mosquito.launch("mosquitto", startMosquitto)
		b.proxied.launch("rabbitmq-proxied", startProxiedRabbitMQ)
	})
}

// notInstalled is the error of a launch that lacks a program.
type notInstalled string

func (n notInstalled) Error() string { return string(n) + " is not installed" }

func (b *broker) launch(name string, start launch) {
	b.ready = make(chan struct{})
	go func() {
		defer close(b.ready)
		dir := filepath.Join(run.dir, name)
		if b.err = os.Mkdir(dir, 0o700); b.err != nil {
			return
		}
		p, probes, err := start(dir)
		b.process = p
		if what, ok := errors.AsType[notInstalled](err); ok {
			b.missing = string(what)
			return
		}
		if err != nil {
			b.err = err
			return
		}
		b.addresses = make(map[string]string)
		for protocol, probe := range probes {
			b.addresses[protocol] = probe.address
			if err := probe.wait(p); err != nil {
				b.err = fmt.Errorf("%s does not speak %s: %w\n%s", name, protocol, err, p.output())
				return
			}
		}
	}()
}

// use waits for a broker. Without it the test fails in CI and skips elsewhere.
func (b *broker) use(t *testing.T) map[string]string {
	t.Helper()
	run.brokers.start()
	<-b.ready
	if b.missing != "" {
		missing(t, b.missing)
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the log of %s:\n%s", b.process.name, b.process.output())
		}
	})
	return b.addresses
}

func rabbitMQ(t *testing.T) map[string]string  { t.Helper(); return run.brokers.rabbit.use(t) }
func activeMQ(t *testing.T) map[string]string  { t.Helper(); return run.brokers.activemq.use(t) }
func mosquitto(t *testing.T) map[string]string { t.Helper(); return run.brokers.mosquito.use(t) }

// probe is a question that a working broker answers.
type probe struct {
	address string
	ask     string // "" where the broker speaks first
	answer  string // the answer holds it
}

// startLimit is how long a broker may take on a busy machine with two cores.
const startLimit = 2 * time.Minute

// wait asks until the answer comes, p ends or the time is over.
func (q probe) wait(p *process) error {
	deadline := time.Now().Add(startLimit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := q.try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended: %v", p.cmd.ProcessState)
		case <-tick.C:
		}
	}
}

func (q probe) try() error {
	conn, err := net.DialTimeout("tcp", q.address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, q.ask); err != nil {
		return err
	}
	var got []byte
	for buf := make([]byte, 1024); !bytes.Contains(got, []byte(q.answer)); {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			return fmt.Errorf("answer %q: %w", got, err)
		}
	}
	return nil
}

// The first words of each protocol, and what every broker answers.

func probeAMQP(address string) probe {
	return probe{address, "AMQP\x00\x00\x09\x01", "\x00\x0a\x00\x0a"} // Connection.Start
}

func probeMQTT(address string) probe {
	return probe{address, "\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05probe", "\x20\x02\x00\x00"} // CONNACK, accepted
}

func probeSTOMP(address string) probe {
	return probe{address, "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\x00", "CONNECTED"}
}

func probeOpenWire(address string) probe {
	return probe{address, "", "\x01ActiveMQ"} // WireFormatInfo
}

func probeWebSocket(address, subprotocol string) probe {
	return probe{address, "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Protocol: " + subprotocol + "\r\n\r\n", "101 Switching Protocols"}
}
