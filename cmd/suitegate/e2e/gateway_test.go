package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gateway is a running suitegate.
type gateway struct {
	file    string // its configuration
	storage string // the directory that it writes to
	process *process
	log     *logLines
	admin   string
	client  http.Client // for admin
	stopped bool

	files       []*os.File // that the process gets, from 3
	environment []string   // beside the tests' own
}

// patience is how long the tests wait for the gateway to do what takes it
// milliseconds, on a busy machine.
const patience = 30 * time.Second

// startGateway runs suitegate with a configuration until the test ends. Then
// it must have kept its secrets, stop cleanly, and its counters agree with its
// log.
func startGateway(t *testing.T, c config, wrapper ...string) *gateway {
	t.Helper()
	g := launchGateway(t, c, wrapper...)
	g.started(t, len(c.Listeners))
	return g
}

// started waits until a gateway serves, and has it judged when the test ends.
func (g *gateway) started(t *testing.T, listeners int) {
	t.Helper()
	ready := g.log.await(t, "ready", nil)
	if ready.number("listeners") != float64(listeners) {
		t.Fatalf("not all listeners: %v", ready)
	}
	g.admin = g.log.await(t, "configuration in force", nil).text("admin")
	t.Cleanup(func() { g.finish(t) })
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
	if c.Storage == "" {
		c.Storage = dir
	}
	g.storage = c.Storage
	c.write(t, g.file)
	g.run(t, append(wrapper, run.program, "serve", "--config", g.file))
	return g
}

// run starts the gateway's process, and waits for nothing.
func (g *gateway) run(t *testing.T, args []string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = g.log, g.log
	cmd.ExtraFiles = g.files
	cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=0"), g.environment...) // its default is a second for each gateway
	var err error
	if g.process, err = start("suitegate", t.TempDir(), cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		<-g.process.done
		g.log.end()
	}()
	t.Cleanup(func() {
		g.process.signal(syscall.SIGKILL)
		<-g.process.done
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.log.all())
		}
	})
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

// connectionsInOrder are the next n log lines in the order in which their
// connections began: one that was let in may end behind a later one that was
// refused.
func (g *gateway) connectionsInOrder(t *testing.T, n int) []record {
	t.Helper()
	var lines []record
	for range n {
		lines = append(lines, g.connection(t))
	}
	slices.SortFunc(lines, func(a, b record) int { return a.began(t).Compare(b.began(t)) })
	return lines
}

// finish ends the gateway and judges all of its life: it drains, exits with 0,
// saw no data race and no panic, and counted what it logged.
func (g *gateway) finish(t *testing.T) {
	t.Helper()
	if g.stopped || t.Failed() {
		return
	}
	g.keepsSecrets(t)
	metrics := g.awaitMetric(t, "suitegate_connections_active", 0)
	g.stop(t)
	logged := make(map[string]float64)
	var total, carried, warned float64
	for _, r := range g.log.connections() {
		logged[endedMetric(r.text("listener"), r.text("reason"))]++
		total++
		carried += r.number("bytes_from_client") + r.number("bytes_from_backend")
		if r.text("level") != "INFO" {
			warned++
		}
	}
	for _, r := range g.log.notLogged() {
		for reason, n := range r["reasons"].(map[string]any) {
			logged[endedMetric(r.text("listener"), reason)] += n.(float64)
			if reason != "client_closed" { // which a line tells at level INFO
				warned += n.(float64)
			}
		}
		total += r.number("count")
	}
	for name, n := range metrics {
		if strings.HasPrefix(name, "suitegate_connections_ended_total") && logged[name] != n {
			t.Errorf("%s is %v, and the log has %v such lines", name, n, logged[name])
		}
	}
	if n := metrics.sum("suitegate_connections_total"); n != total {
		t.Errorf("%v connections were accepted, and %v have a log line", n, total)
	}
	if n := metrics.sum("suitegate_bytes_total"); n != carried {
		t.Errorf("%v bytes were counted, and %v are in the log", n, carried)
	}
	if n := metrics.sum("suitegate_refusals_total"); n != warned {
		t.Errorf("%v refusals were counted, and the log warns of %v", n, warned)
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
	response, err := g.client.Get("http://" + g.admin + path)
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
