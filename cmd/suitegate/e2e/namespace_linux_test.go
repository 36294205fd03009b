package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace: a machine of its own, as far as addresses
// go.
type namespace string

// newNamespace makes one with a loopback interface, until the test ends.
func newNamespace(t *testing.T, name string) namespace {
	t.Helper()
	requireProgram(t, "ip")
	if os.Geteuid() != 0 {
		missing(t, "root, for network namespaces,")
	}
	n := namespace(fmt.Sprintf("suitegate-%d-%s", os.Getpid(), name))
	ip(t, "netns", "add", string(n))
	t.Cleanup(func() { ip(t, "netns", "delete", string(n)) })
	n.ip(t, "link", "set", "lo", "up")
	return n
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// ip runs it in the namespace.
func (n namespace) ip(t *testing.T, args ...string) {
	t.Helper()
	ip(t, append([]string{"-n", string(n)}, args...)...)
}

// in calls f with a thread in the namespace. Sockets that f makes stay there.
func (n namespace) in(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + string(n))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err) // the thread ends with its goroutine, being locked
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return fmt.Errorf("setns: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// dial connects to an address of the namespace.
func (n namespace) dial(ctx context.Context, _, address string) (conn net.Conn, err error) {
	err = n.in(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", address) // one address: on this thread
		return err
	})
	return conn, err
}

// broker is a stub that listens in the namespace and echoes.
func (n namespace) broker(t *testing.T, address string) (at string) {
	t.Helper()
	if err := n.in(func() error { at = stubBrokerAt(t, address, echoLines); return nil }); err != nil {
		t.Fatal(err)
	}
	return at
}

// TestBlackHole has a node's machine swallow everything: new connections succeed
// through the other node within the connect timeout, and at once when the check
// has found out; those that are there go on, and even those with the machine do
// when it is back.
func TestBlackHole(t *testing.T) {
	here, far := newNamespace(t, "gateway"), newNamespace(t, "node")
	here.ip(t, "link", "add", "to-node", "type", "veth", "peer", "name", "to-gateway", "netns", string(far))
	here.ip(t, "address", "add", "10.99.0.1/30", "dev", "to-node")
	far.ip(t, "address", "add", "10.99.0.2/30", "dev", "to-gateway")
	here.ip(t, "link", "set", "to-node", "up")
	far.ip(t, "link", "set", "to-gateway", "up")
	hole, healthy := far.broker(t, "10.99.0.2:0"), here.broker(t, "127.0.0.1:0")

	g := startGateway(t, config{
		Upstreams: map[string]upstreamConfig{"broker": {Nodes: []string{hole, healthy}, ConnectTimeout: "1s",
			HealthCheck: map[string]any{"protocol": "tcp", "interval": "500ms", "timeout": "500ms", "rise": 1, "fall": 2}}},
		Listeners: []listenerConfig{{Name: "first", Protocol: "tcp", Policy: "rabbitmq", Upstream: "broker"}},
	}, "ip", "netns", "exec", string(here))
	g.client.Transport = &http.Transport{DialContext: here.dial}
	address := g.address(t, "first")
	connect := func() (net.Conn, time.Duration) {
		t.Helper()
		began := time.Now()
		conn, err := here.dial(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		client := tls.Client(conn, pki(t).client(tls.VersionTLS13))
		if !echoes(client) {
			t.Fatal("no echo")
		}
		return client, time.Since(began)
	}
	var there []net.Conn // one half on each node
	for range 40 {
		conn, _ := connect()
		there = append(there, conn)
	}
	if n := g.metrics(t)[nodeMetric("connections", healthy)]; n != 20 {
		t.Fatalf("%v connections to the healthy node, want 20", n)
	}

	far.ip(t, "route", "add", "blackhole", "10.99.0.1/32")
	began := time.Now()
	var slowest, later time.Duration
	newcomers, down := 0, false
	for time.Since(began) < 4*time.Second {
		conn, took := connect()
		conn.Close()
		newcomers++
		if slowest = max(slowest, took); down {
			later = max(later, took)
		}
		down = down || g.metrics(t)[nodeMetric("up", hole)] == 0
	}
	if !down || slowest > 3*time.Second || later > time.Second {
		t.Errorf("found: %t; the slowest connection took %v, and %v after that", down, slowest, later)
	}
	disturbed := 0
	for i := 1; i < len(there); i += 2 {
		if !echoes(there[i]) {
			disturbed++
		}
	}
	far.ip(t, "route", "delete", "blackhole", "10.99.0.1/32")
	g.log.await(t, "node is up", func(r record) bool { return r.text("node") == hole })
	for i := 0; i < len(there); i += 2 {
		if !echoes(there[i]) {
			disturbed++
		}
	}
	if disturbed > 0 {
		t.Errorf("%d of %d connections were disturbed", disturbed, len(there))
	}
	t.Logf("%d new connections in 4s, the slowest in %v, and in %v once the node was known to be down; disturbed %d of %d",
		newcomers, slowest.Round(time.Millisecond), later.Round(time.Millisecond), disturbed, len(there))
	for _, conn := range there {
		conn.Close()
	}
}

// echoes shows that a connection works.
func echoes(conn net.Conn) bool {
	got := make([]byte, len(greeting))
	if _, err := io.WriteString(conn, greeting); err != nil {
		return false
	}
	_, err := io.ReadFull(conn, got)
	return err == nil && string(got) == greeting
}
