package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// crowd is how many connections TestHandshakeFlood has: 5000, or as many as the
// system has descriptors for. Each takes two in the gateway, and two here.
func crowd(t *testing.T) int {
	t.Helper()
	const wanted, spare = 5000, 1500
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fits := wanted
	if limit.Max < 2*wanted+spare {
		fits = max(100, (int(limit.Max)-spare)/2)
		t.Logf("%d connections instead of %d: the hard limit of open files is %d", fits, wanted, limit.Max)
	}
	return fits
}

// TestHandshakeFlood has thousands of idle connections and a flood of handshakes
// beside them. None of them is disturbed, messages are carried as before, and all
// that is refused is told so and named.
func TestHandshakeFlood(t *testing.T) {
	const (
		attackers = 400
		quiet     = time.Second // to measure before
		lasting   = 4 * time.Second
		// slow is what a message may take there and back in the median, on a
		// busy machine. Behind all handshakes of the flood it takes seconds.
		slow = 200 * time.Millisecond
	)
	c := echoConfig(t)
	c.Upstreams["echo"] = upstreamConfig{Nodes: []string{stubBroker(t, echoMessages)}}
	c.Listeners[0].Policy = "rabbitmq"
	c.Listeners[0].MaxHandshakes = attackers * 3 / 4
	g := startGateway(t, c, "sh", "-c", "exec "+undetected(t)+` "$@"`)
	address := g.address(t, "first")

	const processors = "go_sched_gomaxprocs_threads"
	without := g.metrics(t)[processors]
	before := g.memory(t)
	idle := openMany(t, address, crowd(t))
	t.Logf("%d idle connections: %.1f KiB each of objects and stacks in the gateway",
		len(idle), (g.memory(t)-before)/float64(len(idle))/1024)

	pingers := idle[:50]
	calm := roundTrips(t, pingers, quiet)
	ended := make(chan floodResult, 1)
	go func() { ended <- floodWith(t, address, attackers, lasting) }()
	time.Sleep(quiet / 2) // until it has begun
	busy := roundTrips(t, pingers, lasting-quiet)
	result := <-ended
	if with := g.metrics(t)[processors]; with != without+1 {
		t.Errorf("the gateway runs on %v processors in the flood, and on %v otherwise", with, without)
	}

	t.Logf("256 bytes there and back: %v in the median and %v in the slowest percent before, %v and %v in the flood: %.1f times as long",
		calm.median, calm.p99, busy.median, busy.p99, float64(busy.median)/float64(calm.median))
	t.Logf("the flood of %v: %d handshakes served, %d told to go, %d cut", lasting, result.Served, result.Told, result.Cut)
	if busy.median > slow {
		t.Errorf("messages take %v in the flood, want less than %v", busy.median, slow)
	}
	if result.Served == 0 || result.Told == 0 {
		t.Error("that was no flood")
	}
	for i, conn := range idle {
		if err := ping(conn); err != nil {
			t.Fatalf("connection %d of %d was disturbed: %v", i, len(idle), err)
		}
	}
	g.awaitMetric(t, "suitegate_handshakes_active", 0)
	metrics := g.awaitMetric(t, "suitegate_connections_active", float64(len(idle)))
	named := 0.0
	for _, reason := range []string{"handshake_limit", "overloaded", "client_closed"} {
		named += metrics[endedMetric("first", reason)]
	}
	if n := metrics.sum("suitegate_connections_total"); named != n-float64(len(idle)) {
		t.Errorf("%v of %v connections of the flood ended as they should: %v", named, n-float64(len(idle)), metrics)
	}
	g.awaitMetric(t, processors, without)
	for _, conn := range idle {
		conn.Close()
	}
}

// undetected is the gateway without the race detector, which gives up at some
// eight thousand goroutines, and whose figures say nothing.
func undetected(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "suitegate")
	if err := compile(program); err != nil {
		t.Fatal(err)
	}
	return program
}

// memory is what the Go runtime uses for objects and stacks.
func (g *gateway) memory(t *testing.T) float64 {
	t.Helper()
	m := g.metrics(t)
	return m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"]
}

// openMany makes connections that have each sent one message and got it back.
func openMany(t *testing.T, address string, n int) []*tls.Conn {
	t.Helper()
	config := pki(t).client(tls.VersionTLS13)
	config.CurvePreferences = []tls.CurveID{tls.X25519} // the cheapest for both sides
	conns := make([]*tls.Conn, n)
	var workers sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && !t.Failed(); i = next.Add(1) - 1 {
				conn, err := tls.Dial("tcp", address, config)
				if err == nil {
					err = ping(conn)
				}
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				conns[i] = conn
			}
		})
	}
	workers.Wait()
	t.Cleanup(func() {
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// echoMessages is echoLines without the two descriptors and the large buffer that
// io.Copy has for each connection.
func echoMessages(conn net.Conn) {
	for buf := make([]byte, 256); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if _, err := conn.Write(buf[:n]); err != nil {
			return
		}
	}
}

// ping sends 256 bytes, and gets them back.
func ping(conn net.Conn) error {
	message := make([]byte, 256)
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, message)
	return err
}

// latency is how long messages take.
type latency struct{ median, p99 time.Duration }

// roundTrips pings over all connections at once, each fifty times a second.
func roundTrips(t *testing.T, conns []*tls.Conn, during time.Duration) latency {
	t.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var pinging sync.WaitGroup
	end := time.Now().Add(during)
	for i, conn := range conns {
		pinging.Go(func() {
			const pause = 20 * time.Millisecond
			time.Sleep(pause * time.Duration(i) / time.Duration(len(conns)))
			for time.Now().Before(end) {
				start := time.Now()
				if err := ping(conn); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				took := time.Since(start)
				mu.Lock()
				all = append(all, took)
				mu.Unlock()
				time.Sleep(pause)
			}
		})
	}
	pinging.Wait()
	if len(all) == 0 {
		t.Fatal("no message came back")
	}
	slices.Sort(all)
	return latency{all[len(all)/2], all[len(all)*99/100]}
}

// floodArgument makes the test program a flood instead: of so many clients, for
// so long.
const floodArgument = "-e2e-flood"

type floodResult struct{ Served, Told, Cut int64 }

// floodWith has so many clients begin one full handshake after the other, for
// which they do nothing but to send the same hello, and the gateway has to sign
// with its RSA key. They are a process of their own, which leaves the processors
// to others that want them: what is measured here is the gateway.
func floodWith(t *testing.T, address string, clients int, during time.Duration) (result floodResult) {
	self, err := os.Executable()
	if err != nil {
		t.Error(err)
		return result
	}
	hello := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(hello, []byte(recordedHello(t)), 0o600); err != nil {
		t.Error(err)
		return result
	}
	out, err := exec.Command("nice", "-n", "10", self, floodArgument, address, hello, strconv.Itoa(clients), during.String()).Output()
	if err == nil {
		err = json.Unmarshal(out, &result)
	}
	if err != nil {
		t.Errorf("the flood: %v", err)
	}
	return result
}

// attackAll is the main function of that process.
func attackAll(args []string) int {
	hello, err := os.ReadFile(args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	clients, _ := strconv.Atoi(args[2])
	during, _ := time.ParseDuration(args[3])
	var served, told, cut atomic.Int64
	var attacking sync.WaitGroup
	for end, i := time.Now().Add(during), 0; i < clients; i++ {
		attacking.Go(func() {
			for time.Now().Before(end) {
				answer, err := attack(args[0], string(hello))
				switch {
				case err != nil:
					cut.Add(1)
				case answer == 0x15: // an alert
					told.Add(1)
					time.Sleep(50 * time.Millisecond)
				default:
					served.Add(1)
				}
			}
		})
	}
	attacking.Wait()
	json.NewEncoder(os.Stdout).Encode(floodResult{served.Load(), told.Load(), cut.Load()})
	return 0
}

// attack sends a hello, and returns the first byte of the answer.
func attack(address, hello string) (byte, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, hello); err != nil {
		return 0, err
	}
	var first [1]byte
	_, err = io.ReadFull(conn, first[:])
	return first[0], err
}

// recordedHello is that of a client of TLS 1.2 and ECDHE_RSA.
func recordedHello(t *testing.T) string {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	config := pki(t).client(tls.VersionTLS12)
	config.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	go tls.Client(near, config).Handshake()
	hello := make([]byte, 4096)
	n, err := far.Read(hello)
	if err != nil {
		t.Error(err)
	}
	return string(hello[:n])
}

// TestSlowHellos has hundreds of clients that send their hellos one byte a
// second. Others come and go beside them, and all of them are cut in time.
func TestSlowHellos(t *testing.T) {
	const slow, timeout = 400, 3 * time.Second
	c := echoConfig(t)
	c.Listeners[0].HelloTimeout = timeout.String()
	g := startGateway(t, c)
	hello := recordedHello(t)

	var sending sync.WaitGroup
	for range slow {
		conn := connectTCP(t, g, "first")
		sending.Go(func() {
			defer conn.Close()
			told := ""
			for i := range hello {
				if _, err := io.WriteString(conn, hello[i:i+1]); err != nil {
					break
				}
				conn.SetReadDeadline(time.Now().Add(time.Second))
				more, err := io.ReadAll(conn)
				told += string(more)
				if err == nil {
					break
				}
			}
			if told != tlsAlert(90) {
				t.Errorf("told %q, want the alert user_canceled", told)
			}
		})
	}
	g.awaitMetric(t, "suitegate_handshakes_active", slow)
	var longest time.Duration
	others := 0
	for start := time.Now(); time.Since(start) < timeout/2; others++ {
		begin := time.Now()
		converse(t, g, "first").Close()
		longest = max(longest, time.Since(begin))
	}
	t.Logf("beside %d slow hellos %d others came and went, the slowest within %v", slow, others, longest)
	if longest > timeout {
		t.Errorf("another client waited for %v", longest)
	}
	sending.Wait()
	g.awaitMetric(t, "suitegate_connections_active", 0)
	metrics := g.awaitMetric(t, "suitegate_handshakes_active", 0)
	if n := metrics[endedMetric("first", "hello_timeout")]; n != slow {
		t.Errorf("%v of %d slow hellos ended with hello_timeout", n, slow)
	}
	for _, line := range g.log.connections() {
		took := time.Duration(line.number("duration") * float64(time.Second))
		if line.text("reason") == "hello_timeout" && (took < timeout || took > timeout+patience) {
			t.Errorf("cut after %v, want %v: %v", took, timeout, line)
		}
	}
}

// TestClientLimits shows what clients are told by address, behind a balancer too.
func TestClientLimits(t *testing.T) {
	c := echoConfig(t)
	l := &c.Listeners[0]
	l.ProxyProtocol = map[string]any{"from": []string{"127.0.0.1"}}
	l.Allow, l.Deny, l.MaxConnectionsPerClient = []string{"192.0.2.0/24", "2001:db8::/32"}, []string{"192.0.2.66"}, 1
	g := startGateway(t, c)
	connect := func(client string) (*tls.Conn, error) {
		conn := connectTCP(t, g, "first")
		family, to := "TCP4", "198.51.100.1"
		if strings.Contains(client, ":") {
			family, to = "TCP6", "2001:db8::1"
		}
		send(t, conn, "PROXY "+family+" "+client+" "+to+" 1234 5671\r\n")
		secure := tls.Client(conn, pki(t).client(tls.VersionTLS13))
		err := secure.Handshake()
		if err == nil {
			err = ping(secure)
		}
		if err != nil {
			secure.Close()
		}
		return secure, err
	}
	refused := func(client, told, reason string) {
		t.Helper()
		if _, err := connect(client); err == nil || !strings.Contains(err.Error(), told) {
			t.Errorf("%s was told %v, want %s", client, err, told)
		}
		g.connection(t).want(t, record{"reason": reason, "level": "WARN"})
	}
	refused("192.0.2.66", "access denied", "client_denied")
	refused("203.0.113.1", "access denied", "client_denied")
	first, err := connect("2001:db8::1:2:3:4")
	if err != nil {
		t.Fatal(err)
	}
	refused("2001:db8::5:6:7:8", "internal error", "client_connection_limit") // of the same /64
	other, err := connect("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	g.connection(t).want(t, record{"reason": "client_closed"})
	again, err := connect("2001:db8::5:6:7:8")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	other.Close()
}
