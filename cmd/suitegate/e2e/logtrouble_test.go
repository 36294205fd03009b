package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// floodConfig logs every refusal.
func floodConfig(t *testing.T) config {
	t.Helper()
	c := echoConfig(t)
	c.Log = map[string]any{"refusals_per_minute": 0}
	c.Listeners[0].Policy = "rabbitmq"
	return c
}

// flood has n clients refused whose log lines are as long as they get.
func flood(t *testing.T, g *gateway, n int) {
	t.Helper()
	address := g.address(t, "first")
	old := &tls.Config{
		ServerName: strings.Repeat("long.", 49) + "example", MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, NextProtos: []string{strings.Repeat("x", 255)},
	}
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range n / 4 {
				if conn, err := tls.Dial("tcp", address, old); err == nil {
					conn.Close()
					t.Error("such a client is let in")
					return
				}
			}
		})
	}
	clients.Wait()
}

// undisturbed has clients converse, and returns how long the slowest took.
func undisturbed(t *testing.T, g *gateway, n int) (slowest time.Duration) {
	t.Helper()
	for range n {
		start := time.Now()
		conn := converse(t, g, "first")
		conn.check(t)
		conn.Close()
		slowest = max(slowest, time.Since(start))
	}
	return slowest
}

const dropped = "suitegate_log_lines_dropped_total"

// TestLogCannotBeWritten has the gateway's log go to a full disk, and to a pipe
// whose reader is gone. Both are there from the start.
func TestLogCannotBeWritten(t *testing.T) {
	for cause, open := range map[string]func() (*os.File, error){
		"full": func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) },
		"closed": func() (*os.File, error) {
			r, w, err := os.Pipe()
			if err == nil {
				r.Close()
			}
			return w, err
		},
	} {
		t.Run(cause, func(t *testing.T) {
			stderr, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer stderr.Close()
			g := startUnheard(t, floodConfig(t), stderr)
			long := converse(t, g, "first")
			const refusals = 2400
			flood(t, g, refusals)
			slowest := undisturbed(t, g, 20)
			long.check(t)
			metrics := g.metrics(t)
			lost := metrics[fmt.Sprintf("%s{cause=%q}", dropped, cause)]
			if lost == 0 || lost != metrics.sum(dropped) {
				t.Errorf("%v lines are counted as lost for cause %s, of %v", lost, cause, metrics.sum(dropped))
			}
			if n := metrics[endedMetric("first", "no_common_suite")]; n != refusals {
				t.Errorf("%v refusals are counted, want %d", n, refusals)
			}
			t.Logf("%v lines lost; the slowest of 20 clients took %v", lost, slowest)
			long.Close()
			g.stop(t)
		})
	}
}

// startUnheard runs a gateway whose log the tests do not have. Its first listener
// has an address in c.
func startUnheard(t *testing.T, c config, stderr *os.File) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{file: filepath.Join(dir, "suitegate.yml"), log: newLogLines(), admin: loopback(freePorts.next())}
	c.Storage, c.Admin = dir, map[string]string{"address": g.admin}
	c.write(t, g.file)
	fmt.Fprintf(g.log, "{\"msg\":\"listening\",\"listener\":\"first\",\"address\":%q}\n", c.Listeners[0].Address)
	cmd := exec.Command(run.program, "serve", "--config", g.file)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	var err error
	if g.process, err = start("suitegate", dir, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.process.signal(syscall.SIGKILL)
		<-g.process.done
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if response, err := http.Get("http://" + g.admin + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return g
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the gateway is not ready")
		}
	}
}

// TestLogIsNotRead stops to read the gateway's log, and goes on: what is lost is
// counted, and said where it is missing.
func TestLogIsNotRead(t *testing.T) {
	g := startGateway(t, floodConfig(t))
	long := converse(t, g, "first")
	g.log.reading.Lock()
	const refusals = 2400
	flood(t, g, refusals)
	slowest := undisturbed(t, g, 20)
	long.check(t)
	g.awaitMetric(t, "suitegate_connections_active", 1)
	g.log.reading.Unlock()
	told := g.log.await(t, "lines of this log are lost here: it could not be written", nil)
	metrics := g.metrics(t)
	lost := metrics[dropped+`{cause="blocked"}`]
	if lost == 0 || lost != metrics.sum(dropped) || lost != told["lost"].(map[string]any)["blocked"] {
		t.Errorf("%v lines are counted as lost because nobody reads, of %v; the log says %v", lost, metrics.sum(dropped), told)
	}
	long.Close()
	undisturbed(t, g, 1)
	all := g.awaitMetric(t, "suitegate_connections_active", 0).sum("suitegate_connections_total")
	g.stop(t)
	if lines := float64(len(g.log.connections())); lines+lost != all {
		t.Errorf("%v lines and %v lost ones for %v connections", lines, lost, all)
	}
	t.Logf("%v lines lost; the slowest of 20 clients took %v", lost, slowest)
}

// TestFloodIsSampled shows how much of the disk a scan takes.
func TestFloodIsSampled(t *testing.T) {
	c := floodConfig(t)
	c.Log = nil // as it is by default
	g := startGateway(t, c)
	const refusals = 1000
	flood(t, g, refusals)
	undisturbed(t, g, 10)
	g.awaitMetric(t, "suitegate_connections_active", 0)
	refused := 0
	for _, r := range g.log.connections() {
		if r.text("reason") == "no_common_suite" {
			refused++
		}
	}
	if refused != 100 {
		t.Errorf("%d of %d refusals have a line, want 100", refused, refusals)
	}
	t.Logf("%d bytes of log for %d refusals", len(g.log.all()), refusals)
	g.finish(t) // holds the counters against lines and sums
	if sums := g.log.notLogged(); len(sums) != 1 || sums[0].number("count") != refusals-100 {
		t.Errorf("sums: %v", sums)
	}
}
