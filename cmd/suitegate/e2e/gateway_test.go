package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// The configuration file, as far as the tests use it.

type config struct {
	Admin        map[string]string         `yaml:"admin"`
	Log          map[string]string         `yaml:"log,omitempty"`
	Storage      string                    `yaml:"storage"`
	DrainTimeout string                    `yaml:"drain_timeout,omitempty"`
	Certificates []certificateConfig       `yaml:"certificates"`
	Policies     map[string]policyConfig   `yaml:"policies,omitempty"`
	Upstreams    map[string]upstreamConfig `yaml:"upstreams"`
	Listeners    []listenerConfig          `yaml:"listeners"`
}

type certificateConfig struct {
	Name       string              `yaml:"name"`
	Files      map[string]string   `yaml:"files,omitempty"`
	SelfSigned map[string][]string `yaml:"self_signed,omitempty"`
}

type policyConfig struct {
	TLS12 []string `yaml:"tls12,omitempty"`
	TLS13 []string `yaml:"tls13,omitempty"`
}

type upstreamConfig struct {
	Nodes          []string `yaml:"nodes"`
	ConnectTimeout string   `yaml:"connect_timeout,omitempty"`
}

type listenerConfig struct {
	Name              string            `yaml:"name"`
	Address           string            `yaml:"address"` // default: a port that the system picks
	Protocol          string            `yaml:"protocol"`
	Policy            string            `yaml:"policy"`
	Certificates      []string          `yaml:"certificates,omitempty"`
	Upstream          string            `yaml:"upstream,omitempty"`
	Upstreams         map[string]string `yaml:"upstreams,omitempty"`
	HandshakeTimeout  string            `yaml:"handshake_timeout,omitempty"`
	FirstBytesTimeout string            `yaml:"first_bytes_timeout,omitempty"`
	MaxConnections    int               `yaml:"max_connections,omitempty"`
}

// write makes the file, with the certificates of the authority and an admin
// address unless the test has its own.
func (c config) write(t *testing.T, file string) {
	t.Helper()
	if c.Admin == nil {
		c.Admin = map[string]string{"address": "127.0.0.1:0"}
	}
	if c.Storage == "" {
		c.Storage = filepath.Dir(file)
	}
	if c.DrainTimeout == "" {
		c.DrainTimeout = "5s"
	}
	if c.Certificates == nil {
		for _, name := range []string{"rsa", "ecdsa"} {
			c.Certificates = append(c.Certificates, pki(t).files(name, name))
		}
	}
	listeners := make([]listenerConfig, len(c.Listeners))
	for i, l := range c.Listeners {
		if l.Address == "" {
			l.Address = "127.0.0.1:0"
		}
		listeners[i] = l
	}
	c.Listeners = listeners
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// gateway is a running suitegate.
type gateway struct {
	file    string // its configuration
	process *process
	log     *logLines
	admin   string
	stopped bool
}

// patience is how long the tests wait for the gateway to do what takes it
// milliseconds, on a busy machine.
const patience = 30 * time.Second

// startGateway runs suitegate with a configuration until the test ends. Then
// it must stop cleanly, and its counters agree with its log.
func startGateway(t *testing.T, c config, wrapper ...string) *gateway {
	t.Helper()
	g := launchGateway(t, c, wrapper...)
	ready := g.log.await(t, "ready", nil)
	if ready.number("listeners") != float64(len(c.Listeners)) {
		t.Fatalf("not all listeners: %v", ready)
	}
	g.admin = g.log.await(t, "configuration in force", nil).text("admin")
	t.Cleanup(func() { g.finish(t) })
	return g
}

// launchGateway runs suitegate, and waits for nothing. wrapper is a command
// that is to run it, if any.
func launchGateway(t *testing.T, c config, wrapper ...string) *gateway {
	t.Helper()
	if err := lookAtSource(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	g := &gateway{file: filepath.Join(dir, "suitegate.yml"), log: newLogLines()}
	c.write(t, g.file)
	args := append(wrapper, run.program, "serve", "--config", g.file)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = g.log, g.log
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // its default is a second for each gateway
	var err error
	if g.process, err = start("suitegate", dir, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.process.signal(syscall.SIGKILL)
		<-g.process.done
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.log.all())
		}
	})
	return g
}

// address is where a listener listens.
func (g *gateway) address(t *testing.T, listener string) string {
	t.Helper()
	return g.log.await(t, "listening", func(r record) bool { return r.text("listener") == listener }).text("address")
}

// endpoint is where clients of crypto/tls connect that speak one version only.
func (g *gateway) endpoint(t *testing.T, listener string, version uint16) endpoint {
	t.Helper()
	return endpoint{address: g.address(t, listener), tls: pki(t).client(version)}
}

// connection is the log line of the next connection that ended. Every line is
// seen once, in the order in which the connections ended.
func (g *gateway) connection(t *testing.T) record {
	t.Helper()
	return g.log.next(t)
}

// finish ends the gateway and judges all of its life: it drains, exits with 0,
// saw no data race and no panic, and counted what it logged.
func (g *gateway) finish(t *testing.T) {
	t.Helper()
	if g.stopped || t.Failed() {
		return
	}
	metrics := g.awaitMetric(t, "suitegate_connections_active", 0)
	g.stop(t)
	logged := make(map[string]float64)
	total := 0.0
	for _, r := range g.log.connections() {
		logged[endedMetric(r.text("listener"), r.text("reason"))]++
		total++
	}
	for name, n := range metrics {
		if strings.HasPrefix(name, "suitegate_connections_ended_total") && logged[name] != n {
			t.Errorf("%s is %v, and the log has %v such lines", name, n, logged[name])
		}
	}
	if n := metrics.sum("suitegate_connections_total"); n != total {
		t.Errorf("%v connections were accepted, and %v have a log line", n, total)
	}
	if n := metrics.sum("suitegate_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
}

func endedMetric(listener, reason string) string {
	return fmt.Sprintf("suitegate_connections_ended_total{listener=%q,reason=%q}", listener, reason)
}

// stop ends the gateway as an operator does.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	g.stopped = true
	if err := g.process.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	g.exited(t, 0)
}

// exited waits for the gateway's end.
func (g *gateway) exited(t *testing.T, code int) {
	t.Helper()
	select {
	case <-g.process.done:
	case <-time.After(patience):
		t.Fatal("the gateway does not end")
	}
	if got := g.process.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("the gateway ended with %v, want exit code %d", g.process.cmd.ProcessState, code)
	}
	if bytes.Contains(g.log.all(), []byte("DATA RACE")) {
		t.Error("the gateway has a data race")
	}
}

// metricValues is what /metrics says: "name{labels}" to value.
type metricValues map[string]float64

func (g *gateway) metrics(t *testing.T) metricValues {
	t.Helper()
	status, body := g.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d", status)
	}
	values := make(metricValues)
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			t.Fatalf("/metrics: %q: %v", line, err)
		}
		values[line[:space]] = value
	}
	return values
}

// awaitMetric waits until a metric, over all its labels, has a value.
func (g *gateway) awaitMetric(t *testing.T, name string, want float64) metricValues {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		metrics := g.metrics(t)
		got := metrics.sum(name)
		if got == want {
			return metrics
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v, want %v", name, got, want)
		}
	}
}

// sum adds a metric up over all its labels.
func (m metricValues) sum(name string) float64 {
	var sum float64
	for key, value := range m {
		if key == name || strings.HasPrefix(key, name+"{") {
			sum += value
		}
	}
	return sum
}

// get asks the admin server.
func (g *gateway) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	response, err := http.Get("http://" + g.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// record is one line of the gateway's log.
type record map[string]any

func (r record) text(key string) string    { s, _ := r[key].(string); return s }
func (r record) number(key string) float64 { n, _ := r[key].(float64); return n }

// want compares fields of the line. A field that must not be there is nil.
func (r record) want(t *testing.T, fields record) {
	t.Helper()
	for key, value := range fields {
		if n, ok := value.(int); ok {
			value = float64(n) // as JSON has it
		}
		if r[key] != value {
			t.Errorf("log line has %s=%v, want %v\n%v", key, r[key], value, r)
		}
	}
}

// logLines takes what the gateway prints.
type logLines struct {
	mu      sync.Mutex
	raw     bytes.Buffer
	parsed  int           // bytes of raw
	records []record      // lines that are JSON
	taken   int           // connections that next has returned
	changed chan struct{} // closed and replaced when records grows
}

func newLogLines() *logLines { return &logLines{changed: make(chan struct{})} }

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw.Write(p)
	before := len(l.records)
	for {
		rest := l.raw.Bytes()[l.parsed:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		var r record
		if json.Unmarshal(rest[:end], &r) == nil {
			l.records = append(l.records, r)
		}
		l.parsed += end + 1
	}
	if len(l.records) > before {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return len(p), nil
}

func (l *logLines) all() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.raw.Bytes())
}

func (l *logLines) connections() []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return connectionLines(l.records)
}

func connectionLines(records []record) []record {
	var lines []record
	for _, r := range records {
		if r.text("msg") == "connection" {
			lines = append(lines, r)
		}
	}
	return lines
}

// await returns the newest line with a message that fits, when there is one.
func (l *logLines) await(t *testing.T, message string, fits func(record) bool) record {
	t.Helper()
	return l.search(t, message, func(records []record) (record, bool) {
		for i := len(records) - 1; i >= 0; i-- {
			if r := records[i]; r.text("msg") == message && (fits == nil || fits(r)) {
				return r, true
			}
		}
		return nil, false
	})
}

// next returns the next connection's line.
func (l *logLines) next(t *testing.T) record {
	t.Helper()
	return l.search(t, "connection", func(records []record) (record, bool) {
		lines := connectionLines(records)
		if len(lines) <= l.taken {
			return nil, false
		}
		l.taken++
		return lines[l.taken-1], true
	})
}

// search calls find, which may look at l, whenever there are new lines.
func (l *logLines) search(t *testing.T, what string, find func([]record) (record, bool)) record {
	t.Helper()
	limit := time.After(patience)
	for {
		l.mu.Lock()
		r, ok := find(l.records)
		changed := l.changed
		l.mu.Unlock()
		if ok {
			return r
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("no line %q in the log", what)
		}
	}
}
