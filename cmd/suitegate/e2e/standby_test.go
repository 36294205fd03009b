package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// activeMQPair starts two brokers of ActiveMQ with one storage. Whoever has the
// lock on it is active; the other one's port is closed until it gets it.
func activeMQPair(t *testing.T) (brokers [2]*process, addresses [2]string) {
	t.Helper()
	if _, err := os.Stat(activemqHome); err != nil {
		missing(t, "activemq")
	}
	requireProgram(t, "java")
	home := t.TempDir()
	for i := range brokers {
		addresses[i] = loopback(freePorts.next())
		dir := filepath.Join(home, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(dir, "activemq.xml")
		log4j := filepath.Join(dir, "log4j.properties")
		if err := writeFiles(map[string]string{log4j: log4jConfig, config: `<?xml version="1.0" encoding="UTF-8"?>
<beans xmlns="http://www.springframework.org/schema/beans"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd
        http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="pair" useJmx="false">
    <persistenceAdapter>
      <kahaDB directory="` + filepath.Join(home, "shared") + `" lockKeepAlivePeriod="1000">
        <locker><shared-file-locker lockAcquireSleepInterval="200"/></locker>
      </kahaDB>
    </persistenceAdapter>
    <transportConnectors>
      <transportConnector name="openwire" uri="tcp://` + addresses[i] + `"/>
    </transportConnectors>
  </broker>
</beans>
`}); err != nil {
			t.Fatal(err)
		}
		var err error
		if brokers[i], err = start(fmt.Sprintf("activemq-%d", i), dir, activeMQConsole(dir, []string{"-Dlog4j.configuration=file:" + log4j}, "start", "xbean:file:"+config)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			brokers[i].signal(syscall.SIGKILL)
			<-brokers[i].done
			if t.Failed() {
				t.Logf("end of the log of %s:\n%s", brokers[i].name, brokers[i].output())
			}
		})
		if i == 0 { // it is to be the active one
			if err := probeOpenWire(addresses[0]).wait(brokers[0]); err != nil {
				t.Fatalf("%v\n%s", err, brokers[0].output())
			}
		}
	}
	awaitOutput(t, brokers[1], "slave mode")
	return brokers, addresses
}

// awaitOutput waits until a process has written something.
func awaitOutput(t *testing.T, p *process, text string) {
	t.Helper()
	for deadline := time.Now().Add(startLimit); ; time.Sleep(50 * time.Millisecond) {
		out, err := os.ReadFile(p.log)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not say %q:\n%s", p.name, text, p.output())
		}
	}
}

// TestActiveMQStandby stops the active broker of a pair while ActiveMQ's own
// client publishes through one address of the gateway: the standby takes over,
// the client goes on by itself, and every message is there.
func TestActiveMQStandby(t *testing.T) {
	t.Parallel()
	brokers, addresses := activeMQPair(t)
	g := startGateway(t, config{
		Upstreams: map[string]upstreamConfig{"broker": {Nodes: addresses[:], Balance: "priority"}},
		Listeners: []listenerConfig{{Name: "openwires", Protocol: "openwire", Policy: "activemq", Upstream: "broker"}},
	})
	g.log.await(t, "node is down", nil).want(t, record{"node": addresses[1], "state": "down", "reason": "upstream_refused"})
	server := g.endpoint(t, "openwires", tls.VersionTLS13)

	const messages = 1500
	properties := append(pki(t).javaProperties(t), "-Djdk.tls.client.protocols=TLSv1.3")
	url := "failover:(ssl://" + server.address + ")?initialReconnectDelay=50&maxReconnectDelay=200"
	clientOf := func(command string, more ...string) *exec.Cmd {
		cmd := openWireClient(t, properties, command, url)
		for i, arg := range cmd.Args {
			if arg == "--messageCount" {
				cmd.Args[i+1] = fmt.Sprint(messages)
			}
		}
		cmd.Args = append(cmd.Args, more...)
		return cmd
	}
	producer, err := start("producer", t.TempDir(), clientOf("producer", "--sleep", "2"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.signal(syscall.SIGKILL)
	carried := func(node string) func(record) bool {
		return func(r record) bool { return r.text("node") == node && r.number("bytes_from_client") > 10_000 }
	}
	awaitBytes(t, g, 50_000)

	brokers[0].signal(syscall.SIGTERM)
	opened := awaitPort(t, addresses[1])
	g.log.await(t, "node is up", func(r record) bool { return r.text("node") == addresses[1] })
	found := time.Since(opened)
	conn := connectTLS(t, g, "openwires")
	got := make([]byte, 13)
	if _, err := io.ReadFull(conn, got); err != nil || !strings.HasSuffix(string(got), "\x01ActiveMQ") {
		t.Errorf("a new connection gets %q, %v", got, err)
	}
	conn.Close()
	g.log.await(t, "connection", carried(addresses[0]))
	<-producer.done
	g.log.await(t, "connection", carried(addresses[1]))
	if out := producer.output(); !strings.Contains(out, fmt.Sprintf("Produced: %d messages", messages)) {
		t.Fatalf("the producer has not sent all:\n%s", out)
	}
	out, err := runClient(t, clientOf("consumer"))
	if err != nil {
		t.Fatalf("consumer: %v\n%s", err, out)
	}
	received := make(map[string]bool)
	for _, match := range regexp.MustCompile(`Received test message: (\d+)`).FindAllStringSubmatch(out, -1) {
		received[match[1]] = true
	}
	if len(received) != messages {
		t.Errorf("%d of %d messages are lost", messages-len(received), messages)
	}
	if metrics := g.metrics(t); metrics[nodeMetric("up", addresses[0])] != 0 || metrics[nodeMetric("up", addresses[1])] != 1 {
		t.Error("the metrics do not tell which broker is active")
	}
	t.Logf("sent %d, lost %d; the standby was found %v after it had taken over", messages, messages-len(received), found.Round(time.Millisecond))
	if limit := 2 * time.Second; found > limit {
		t.Errorf("that is more than %v", limit)
	}
}

// awaitBytes waits until the gateway has carried so many bytes to a broker.
func awaitBytes(t *testing.T, g *gateway, n float64) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		carried := 0.0
		for name, value := range g.metrics(t) {
			if strings.HasPrefix(name, "suitegate_bytes_total") && strings.Contains(name, `direction="from_client"`) {
				carried += value
			}
		}
		if carried >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v bytes are carried, want %v", carried, n)
		}
	}
}

// awaitPort waits until something listens, and says since when.
func awaitPort(t *testing.T, address string) time.Time {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
