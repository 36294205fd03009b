package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/metrics"
)

// storage holds the self-signed certificates of all tests, made once.
var storage string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "suitegate-proxy-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		storage = dir
		code := m.Run()
		if code == 0 {
			if err := goleak.Find(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return code
	}())
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// gateway is a Server under test.
type gateway struct {
	*Server
	t   *testing.T
	log *logBook
}

// start serves a configuration, given without its certificates.
func start(t *testing.T, yaml string) *gateway {
	t.Helper()
	return startWith(t, parse(t, yaml))
}

// startWith serves a whole configuration.
func startWith(t *testing.T, config *configs.Config) *gateway {
	t.Helper()
	g := newGateway(t)
	if err := g.Apply(config); err != nil {
		t.Fatal(err)
	}
	return g
}

// newGateway serves nothing yet.
func newGateway(t *testing.T) *gateway {
	book := &logBook{}
	g := &gateway{t: t, log: book, Server: &Server{
		Log: slog.New(slog.NewJSONHandler(book, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: metrics.New(),
	}}
	t.Cleanup(func() { g.Close() })
	return g
}

func parse(t *testing.T, yaml string) *configs.Config {
	t.Helper()
	return parseWhole(t, "storage: "+storage+"\ncertificates: [{name: default, self_signed: {names: [localhost, 127.0.0.1]}}]\n"+yaml)
}

func parseWhole(t *testing.T, text string) *configs.Config {
	t.Helper()
	config, err := configs.Parse(filepath.Join(t.TempDir(), "gateway.yml"), []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if !strings.Contains(text, "prove:") {
		config.Prove.Mode = configs.ProveOff // which a test of something else has no time for
	}
	return config
}

// one is the configuration of a single listener in front of one node.
func one(protocol, policy, node, more string) string {
	return fmt.Sprintf(`
upstreams: {broker: {nodes: [%q]}}
listeners:
  - {name: front, address: "127.0.0.1:0", protocol: %s, policy: %s, upstream: broker%s}
`, node, protocol, policy, more)
}

// dial connects to a listener without TLS.
func (g *gateway) dial(listener string) net.Conn {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.Address(listener).String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// client is a TLS configuration that trusts the gateway.
func (g *gateway) client() *tls.Config {
	g.t.Helper()
	g.mu.Lock()
	root := g.current.store.Root()
	g.mu.Unlock()
	pem, err := os.ReadFile(root)
	if err != nil {
		g.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		g.t.Fatal("no root")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// connect dials a listener with TLS and completes the handshake.
func (g *gateway) connect(listener string, config *tls.Config) (*tls.Conn, error) {
	conn := tls.Client(g.dial(listener), config)
	return conn, conn.Handshake()
}

// line waits for the log line of the nth connection (from 1) and returns it.
func (g *gateway) line(n int) map[string]any {
	g.t.Helper()
	return g.log.wait(g.t, n, func(l map[string]any) bool { return l["msg"] == "connection" })
}

// lineOf waits for the log line of the connection of a client to a listener. The
// listener matters: the system gives a port again to who connects elsewhere.
func (g *gateway) lineOf(listener string, client net.Addr) map[string]any {
	g.t.Helper()
	return g.log.wait(g.t, 1, func(l map[string]any) bool {
		return l["msg"] == "connection" && l["listener"] == listener && l["client"] == client.String()
	})
}

// counted says whether a line is among the metrics.
func (g *gateway) counted(series string) bool {
	g.t.Helper()
	name, _, _ := strings.Cut(strings.Fields(series)[0], "{")
	text, err := testutil.CollectAndFormat(g.Metrics.Registry(), expfmt.TypeTextPlain, name)
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.Contains(string(text), series+"\n")
}

// waitCounted waits until a line is among the metrics.
func (g *gateway) waitCounted(series string) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); !g.counted(series); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("not in the metrics: %s", series)
		}
	}
}

// logBook keeps JSON log lines.
type logBook struct {
	mu    sync.Mutex
	lines []map[string]any
	text  bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	line := map[string]any{}
	if err := json.NewDecoder(bytes.NewReader(p)).Decode(&line); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	b.text.Write(p)
	return len(p), nil
}

// raw is the log as it was written.
func (b *logBook) raw() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.text.Bytes())
}

// wait waits for the nth line that matches.
func (b *logBook) wait(t *testing.T, n int, match func(map[string]any) bool) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		b.mu.Lock()
		seen := 0
		for _, line := range b.lines {
			if match(line) {
				if seen++; seen == n {
					b.mu.Unlock()
					return line
				}
			}
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t.Fatalf("no such line number %d in %v", n, b.lines)
	return nil
}

// broker is a plaintext server on loopback that does the same to everyone.
func broker(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		connections.Wait()
	})
	return l.Addr().String()
}

func echo(conn net.Conn) {
	_, _ = io.Copy(conn, conn) // until the peer ends
}

// closedPort is a loopback address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}
