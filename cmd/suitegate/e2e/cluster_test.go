package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// rabbitCluster starts two nodes of RabbitMQ that mirror every queue, and
// returns them with their addresses.
func rabbitCluster(t *testing.T) (nodes [2]*process, addresses [2]string) {
	t.Helper()
	if _, err := os.Stat(rabbitServer); err != nil {
		missing(t, "rabbitmq-server")
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte("SUITEGATE"), 0o400); err != nil {
		t.Fatal(err)
	}
	epmd := freePorts.next()
	var dist [2]int
	members := "cluster_formation.peer_discovery_backend = classic_config\n"
	for i := range nodes {
		dist[i], addresses[i] = freePorts.next(), loopback(freePorts.next())
		members += fmt.Sprintf("cluster_formation.classic_config.nodes.%d = suitegate-%d@localhost\n", i+1, dist[i])
	}
	for i := range nodes {
		dir := filepath.Join(home, strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := writeFiles(map[string]string{
			filepath.Join(dir, "rabbitmq.conf"):   "listeners.tcp.1 = " + addresses[i] + "\nlog.console = true\nlog.file = false\n" + members,
			filepath.Join(dir, "enabled_plugins"): "[].\n",
		}); err != nil {
			t.Fatal(err)
		}
		var err error
		nodes[i], err = startRabbitNode(fmt.Sprintf("rabbitmq-%d", i), dir, "HOME="+home, fmt.Sprintf("ERL_EPMD_PORT=%d", epmd),
			fmt.Sprintf("RABBITMQ_NODENAME=suitegate-%d@localhost", dist[i]), fmt.Sprintf("RABBITMQ_DIST_PORT=%d", dist[i]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			nodes[i].signal(syscall.SIGKILL)
			<-nodes[i].done
			if t.Failed() {
				t.Logf("end of the log of %s:\n%s", nodes[i].name, nodes[i].output())
			}
		})
	}
	for i, node := range nodes {
		if err := probeAMQP(addresses[i]).wait(node); err != nil {
			t.Fatalf("%s: %v\n%s", node.name, err, node.output())
		}
	}
	rabbitctl(t, nodes[1], "await_online_nodes", "2")
	rabbitctl(t, nodes[1], "set_policy", "all", ".*", `{"ha-mode":"all","ha-sync-mode":"automatic"}`)
	return nodes, addresses
}

// rabbitctl runs a command against a node.
func rabbitctl(t *testing.T, node *process, args ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmqctl", append(args, "--silent")...)
	cmd.Env = node.cmd.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// TestRabbitMQNodeKilled kills the node that a publisher is on: every message
// that was confirmed, before and after, is there, and new connections succeed
// all the time.
func TestRabbitMQNodeKilled(t *testing.T) {
	t.Parallel()
	nodes, addresses := rabbitCluster(t)
	g := startGateway(t, config{
		Upstreams: map[string]upstreamConfig{"broker": {Nodes: addresses[:], Balance: "priority", ConnectTimeout: "2s",
			HealthCheck: map[string]any{"protocol": "amqp", "interval": "500ms"}}},
		Listeners: []listenerConfig{{Name: "amqps", Protocol: "amqp", Policy: "rabbitmq", Upstream: "broker"}},
	})
	server := g.endpoint(t, "amqps", tls.VersionTLS13)
	connect := func() (*amqp091.Connection, error) {
		return amqp091.DialConfig("amqps://guest:guest@"+server.address+"/", amqp091.Config{TLSClientConfig: server.tls, Dial: amqp091.DefaultDial(10 * time.Second)})
	}
	p := &publisher{queue: destination(t), connect: connect, confirmed: make(map[int]bool)}
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	done := make(chan error, 1)
	go func() { done <- p.publish(ctx) }()
	p.await(t, 1000)
	if out := rabbitctl(t, nodes[1], "list_queues", "name", "synchronised_slave_pids"); !strings.Contains(out, p.queue+"\t[<") {
		t.Fatalf("the queue has no mirror:\n%s", out)
	}

	before := p.count()
	nodes[0].signal(syscall.SIGKILL)
	refusesConnections(t, addresses[0]) // whom it accepts until then it takes along
	killed := time.Now()
	var slowest time.Duration
	newcomers := 0
	for time.Since(killed) < 3*time.Second {
		began := time.Now()
		conn, err := connect()
		if err != nil {
			t.Errorf("%v after the end of the node: %v", time.Since(killed), err)
			continue
		}
		newcomers++
		slowest = max(slowest, time.Since(began))
		conn.Close()
	}
	p.await(t, before+1000)
	enough()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	found := p.consume(t)
	lost := 0
	for n := range p.confirmed {
		if !found[n] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d confirmed messages are lost", lost, len(p.confirmed))
	}
	if metrics := g.metrics(t); metrics[nodeMetric("up", addresses[0])] != 0 || metrics[nodeMetric("up", addresses[1])] != 1 {
		t.Error("the metrics do not tell which node is up")
	}
	t.Logf("confirmed %d before and %d after the kill, lost %d; reconnected %d times; %d new connections within 3s, the slowest in %v",
		before, len(p.confirmed)-before, lost, p.reconnects, newcomers, slowest.Round(time.Millisecond))
	const limit = 2 * time.Second // and 20 ms of work, on a machine with nothing else to do
	if slowest > limit {
		t.Errorf("a new connection took %v, want less than %v", slowest, limit)
	}
}
