package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sharedStorage is what the gateways of a fleet share.
type sharedStorage struct {
	name    string
	use     func(*config)
	locked  func() bool   // somebody makes the root
	bounded time.Duration // a lock outlives its holder for no longer
}

func sharedDirectory(t *testing.T) sharedStorage {
	dir := filepath.Join(t.TempDir(), "storage")
	return sharedStorage{"directory", func(c *config) { c.Storage = dir }, func() bool {
		f, err := os.OpenFile(filepath.Join(dir, "locks", "authority.flock"), os.O_RDWR, 0)
		if err != nil {
			return false
		}
		defer f.Close()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == syscall.EWOULDBLOCK
	}, time.Second}
}

func sharedRedis(t *testing.T) sharedStorage {
	program, dir, address := requireProgram(t, "redis-server"), t.TempDir(), loopback(freePorts.next())
	_, port, _ := net.SplitHostPort(address)
	server, err := start("redis", dir, exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.signal(syscall.SIGKILL)
		<-server.done
	})
	ask := func(question, answer string) bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		fmt.Fprint(conn, question+"\r\n")
		text := make([]byte, 16)
		n, _ := conn.Read(text)
		return strings.HasPrefix(string(text[:n]), answer)
	}
	for deadline := time.Now().Add(patience); !ask("PING", "+PONG"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("Redis does not answer:\n%s", server.output())
		}
	}
	return sharedStorage{"redis", func(c *config) { c.Redis = address }, func() bool {
		return ask("EXISTS suitegate:lock:authority", ":1")
	}, 10 * time.Second}
}

// TestFleet shows that gateways with one storage have one root, one set of
// certificates and one set of ticket keys, although one of them is killed while
// it makes the root: the others wait for no longer than its lock is good for.
func TestFleet(t *testing.T) {
	for _, storage := range []func(*testing.T) sharedStorage{sharedDirectory, sharedRedis} {
		shared := storage(t)
		t.Run(shared.name, func(t *testing.T) {
			t.Parallel()
			c := echoConfig(t)
			shared.use(&c)
			c.Upstreams["echo"] = upstreamConfig{Nodes: []string{stubBroker(t, echoLine)}}
			c.Listeners[0].Address = ""
			c.Certificates = []certificateConfig{{Name: "own", SelfSigned: map[string][]string{"names": {"localhost", "127.0.0.1"}}}}
			c.Tickets = map[string]any{"shared": true, "rotation": "10s", "lifetime": "1m"}

			killWithLock(t, c, shared)
			killed := time.Now()
			first := startGateway(t, c)
			made := time.Since(killed)
			t.Logf("the other gateway was ready %v after the holder of the lock was killed", made)
			if made > shared.bounded+patience/2 {
				t.Errorf("ready after %v, and the lock is good for %v", made, shared.bounded)
			}
			second := startGateway(t, c)
			for message, n := range map[string]int{"made a self-signed root": 1, "issued a self-signed certificate": 2} {
				one, other := count(first, message), count(second, message)
				if one != n || other != 0 {
					t.Errorf("%q: %d and %d times, want %d and none", message, one, other, n)
				}
			}
			root := filepath.Join(t.TempDir(), "root.pem")
			if out, err := runClient(t, exec.Command(run.program, "certs", "export-root", "--config", second.file, "--output", root)); err != nil {
				t.Fatal(err, out)
			}
			resumeAcross(t, c, first, second, root)
		})
	}
}

func count(g *gateway, message string) int {
	return strings.Count(string(g.log.all()), fmt.Sprintf(`"msg":%q`, message))
}

// killWithLock starts a gateway on an empty storage, and kills it while it has
// the lock for making the root.
func killWithLock(t *testing.T, c config, shared sharedStorage) {
	t.Helper()
	g := launchGateway(t, c)
	for deadline := time.Now().Add(patience); !shared.locked(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no lock:\n%s", g.log.all())
		}
	}
	// Stopped first, to be sure that it has the lock still when it is killed:
	// making the key takes it a tenth of a second or more.
	if err := g.process.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if !shared.locked() || count(g, "made a self-signed root") > 0 {
		t.Fatalf("the gateway was too fast:\n%s", g.log.all())
	}
	if err := g.process.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-g.process.done
}

// resumeAcross takes sessions from one gateway to the other, in both
// versions, at once and when the key has rotated; and to one that
// shares nothing but certificates.
func resumeAcross(t *testing.T, c config, first, second *gateway, root string) {
	t.Helper()
	c.Tickets = nil
	apart := startGateway(t, c)
	ways := [][]string{
		{"-tls1_3"},
		{"-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"},
		{"-tls1_2", "-cipher", "DHE-RSA-AES256-SHA256"}, // CBC
	}
	dir := t.TempDir()
	visit := func(g *gateway, i int, resumed bool, args ...string) {
		t.Helper()
		out := sClient(t, g, "first", append(append(ways[i], "-CAfile", root, "-servername", "localhost"), args...)...)
		reused := "New, TLSv1."
		if resumed {
			reused = "Reused, TLSv1."
		}
		wantOutput(t, out, reused, greeting)
		g.connection(t).want(t, record{"resumed": resumed})
	}
	session := func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
	for i := range ways {
		visit(first, i, false, "-sess_out", session(i))
		visit(second, i, true, "-sess_in", session(i))
		visit(apart, i, false, "-sess_in", session(i))
	}
	const rotation = 10 * time.Second
	time.Sleep(time.Until(time.Now().Truncate(rotation).Add(rotation + time.Second)))
	for i := range ways {
		visit(second, i, true, "-sess_in", session(i))
	}
}
