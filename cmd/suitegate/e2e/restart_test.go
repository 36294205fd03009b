package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// callers connect, say something, hear it and go, one after the other, several
// at once, and as fast as they can.
type callers struct {
	total   atomic.Int64
	enough  atomic.Bool
	running sync.WaitGroup
	once    sync.Once
	err     error // the first
}

// startCallers starts them for the first listener of a configuration. At the
// end of the test none of them may have failed.
func startCallers(t *testing.T, address string) *callers {
	t.Helper()
	v := &callers{}
	config := pki(t).client(0)
	for range 6 {
		v.running.Go(func() {
			for !v.enough.Load() {
				if _, err := visit(address, config); err != nil {
					v.once.Do(func() { v.err = err })
					return
				}
				v.total.Add(1)
			}
		})
	}
	t.Cleanup(func() { v.stop(t) })
	return v
}

// await waits until so many more have come and gone.
func (v *callers) await(t *testing.T, n int64) {
	t.Helper()
	limit := time.Now().Add(2 * patience)
	for want := v.total.Load() + n; v.total.Load() < want && !t.Failed(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d callers, want %d", v.total.Load(), want)
		}
	}
}

// stop returns how many came. None was turned away.
func (v *callers) stop(t *testing.T) int64 {
	t.Helper()
	v.enough.Store(true)
	v.running.Wait()
	if v.err != nil {
		t.Errorf("of %d callers one failed: %v", v.total.Load(), v.err)
	}
	return v.total.Load()
}

// serveAgain starts another gateway with the configuration of one.
func (g *gateway) serveAgain(t *testing.T, args ...string) *gateway {
	t.Helper()
	next := &gateway{file: g.file, storage: g.storage, log: newLogLines()}
	next.run(t, append([]string{run.program, "serve", "--config", g.file}, args...))
	return next
}

// TestTakeover restarts a gateway several times: the new one takes over what
// the old one listens on. No client is refused or cut off, and who was there
// before stays with the old one until it goes.
func TestTakeover(t *testing.T) {
	c := echoConfig(t)
	c.DrainTimeout = "1m"
	dir := t.TempDir()
	admin := loopback(freePorts.next())
	c.Admin = map[string]string{"address": admin, "socket": filepath.Join(dir, "admin.sock")}
	g := launchGateway(t, c)
	g.log.await(t, "ready", nil)
	first := g
	stays := converse(t, g, "first")
	v := startCallers(t, c.Listeners[0].Address)
	v.await(t, 100)

	// One that fails to start changes nothing.
	broken := filepath.Join(dir, "broken.yml")
	text, err := os.ReadFile(g.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, append(text, "audit: {file: none/audit.log}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	failed := (&gateway{file: broken}).serveAgain(t, "--takeover")
	failed.exited(t, 1)
	g.log.await(t, "the other process does not take over", nil)
	v.await(t, 100)

	const restarts = 5
	for range restarts {
		next := g.serveAgain(t, "--takeover")
		next.log.await(t, "took over", nil).want(t, record{"sockets": 2})
		next.log.await(t, "ready", nil)
		g.log.await(t, "handed over", nil)
		g.log.await(t, "draining", nil)
		v.await(t, 300)
		stays.check(t)
		if g != first {
			g.exited(t, 0)
		}
		g = next
		g.admin = admin
		if status, body := g.get(t, "/readyz"); status != 200 {
			t.Errorf("/readyz: %d %s", status, body)
		}
	}
	stays.Close()
	first.exited(t, 0)
	first.log.await(t, "stopped, all connections had ended", nil)
	t.Logf("%d connections during %d restarts, refused or cut off: 0", v.stop(t), restarts)
	if _, err := os.Stat(c.Admin["socket"]); err != nil {
		t.Errorf("the admin socket: %v", err)
	}
	g.stop(t)
	if _, err := os.Stat(c.Admin["socket"]); !os.IsNotExist(err) {
		t.Errorf("the admin socket at the end: %v", err)
	}
	for _, g := range []*gateway{first, g} {
		for _, line := range g.log.connections() {
			if line.text("reason") != "client_closed" {
				t.Errorf("a connection ended otherwise: %v", line)
			}
		}
	}
}

// TestReusePort restarts a gateway several times: the new one binds the same
// ports, and the old one is told to stop when it is ready. No client is refused,
// and none waits in a queue that is thrown away.
func TestReusePort(t *testing.T) {
	c := echoConfig(t)
	c.Admin = map[string]string{"address": loopback(freePorts.next())}
	c.Restart = map[string]bool{"reuse_port": true}
	g := launchGateway(t, c)
	g.log.await(t, "ready", nil)
	v := startCallers(t, c.Listeners[0].Address)
	const restarts = 3
	for range restarts {
		next := g.serveAgain(t)
		next.log.await(t, "ready", nil)
		v.await(t, 150)
		g.stop(t)
		g.log.await(t, "stopped, all connections had ended", nil)
		g = next
	}
	t.Logf("%d connections during %d restarts, refused or cut off: 0", v.stop(t), restarts)
	g.stop(t) // with nobody there who has its port
}

// TestActivation has systemd's own program listen, and start the gateway at the
// first connection.
func TestActivation(t *testing.T) {
	activate := requireProgram(t, "systemd-socket-activate")
	c := echoConfig(t)
	c.Listeners[0].Address = "127.0.0.1:0" // the name tells what the socket is for
	second := loopback(freePorts.next())
	c.Listeners = append(c.Listeners, listenerConfig{Name: "second", Address: second, Protocol: "tcp", Policy: "activemq", Upstream: "echo"})
	first := loopback(freePorts.next())
	g := launchGateway(t, c, activate, "-E", "GORACE", "-l", first, "-l", second, "--fdname=first:elsewhere")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", first) // which starts it
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	g.log.await(t, "ready", nil).want(t, record{"listeners": 2})
	if got := []string{g.address(t, "first"), g.address(t, "second")}; got[0] != first || got[1] != second {
		t.Errorf("listening on %v, want %s and %s", got, first, second)
	}
	client := converse(t, g, "first")
	converse(t, g, "second").Close()

	// A reload keeps them, and warns of one that nobody accepts from any more.
	g.reload(t, config{Admin: c.Admin, Upstreams: c.Upstreams, Listeners: c.Listeners[:1]})
	g.log.await(t, "the service manager goes on listening for a listener that has left: clients wait there for nobody", nil).want(t, record{"address": second})
	g.reload(t, c)
	g.log.await(t, "reloaded", func(r record) bool { return r.number("listeners") == 2 })
	converse(t, g, "second").Close()
	client.check(t)
	client.Close()
	g.stop(t)
}

// TestActivationMistake shows that a socket without a listener is a mistake.
func TestActivationMistake(t *testing.T) {
	activate := requireProgram(t, "systemd-socket-activate")
	c := echoConfig(t)
	unknown := loopback(freePorts.next())
	g := launchGateway(t, c, activate, "-E", "GORACE", "-l", unknown, "--fdname=unknown")
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", unknown)
		if err == nil {
			defer conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	g.exited(t, 1)
	wantOutput(t, string(g.log.all()), "suitegate.yml:", "the service manager listens on "+unknown+` (socket "unknown"), and no listener has that address or name`)
}

// TestRestartUnderActivation has the test be the service manager: it listens,
// and gives the socket to one gateway after the other. Nobody is refused while
// there is none.
func TestRestartUnderActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	notified := listenNotify(t)
	c := echoConfig(t)
	c.Listeners[0].Address = l.Addr().String()
	first := launchGateway(t, c, "true") // writes the configuration, and ends
	<-first.process.done
	v := startCallers(t, l.Addr().String())
	const restarts = 4
	for range restarts {
		g := &gateway{file: first.file, storage: first.storage, log: newLogLines()}
		g.files = []*os.File{file}
		g.environment = []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=first", "NOTIFY_SOCKET=" + notified.path}
		g.run(t, []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, run.program, "serve", "--config", g.file})
		notified.await(t, "READY=1", fmt.Sprintf("MAINPID=%d", g.process.cmd.Process.Pid), "STATUS=1 listener")
		v.await(t, 150)
		g.process.signal(syscall.SIGHUP)
		notified.await(t, "RELOADING=1", "MONOTONIC_USEC=")
		notified.await(t, "READY=1", "STATUS=1 listener, reloaded")
		g.stop(t)
		notified.await(t, "STOPPING=1")
	}
	// The last callers wait for a gateway that does not come.
	v.enough.Store(true)
	g := &gateway{file: first.file, storage: first.storage, log: newLogLines(), files: []*os.File{file}}
	g.environment = []string{"LISTEN_FDS=1", "WATCHDOG_USEC=100000", "NOTIFY_SOCKET=" + notified.path}
	g.run(t, []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, run.program, "serve", "--config", g.file})
	notified.await(t, "READY=1")
	notified.await(t, "WATCHDOG=1")
	t.Logf("%d connections during %d restarts, refused or cut off: 0", v.stop(t), restarts)
	g.stop(t)
}

// notifySocket is where a service manager is told how its service fares.
type notifySocket struct {
	path string
	conn *net.UnixConn
}

func listenNotify(t *testing.T) *notifySocket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &notifySocket{path, conn}
}

// await reads the next message, which has lines that begin like these.
func (n *notifySocket) await(t *testing.T, lines ...string) {
	t.Helper()
	_ = n.conn.SetReadDeadline(time.Now().Add(patience))
	message := make([]byte, 4096)
	size, err := n.conn.Read(message)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if !strings.Contains("\n"+string(message[:size]), "\n"+line) {
			t.Errorf("notified of %q, want %s", message[:size], line)
		}
	}
}
