package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/audit"
)

func TestListensOn(t *testing.T) {
	for _, test := range []struct {
		bound, address string
		want           bool
	}{
		{"127.0.0.1:5671", "127.0.0.1:5671", true},
		{"127.0.0.1:5671", "localhost:5671", true},
		{"127.0.0.1:5671", "127.0.0.1:5672", false},
		{"127.0.0.1:5671", "127.0.0.2:5671", false},
		{"127.0.0.1:5671", ":5671", false},
		{"[::]:5671", ":5671", true},
		{"[::]:5671", "0.0.0.0:5671", true},
		{"0.0.0.0:5671", "[::]:5671", true},
		{"[::]:5671", "127.0.0.1:5671", false},
		{"[::1]:5671", "[::1]:5671", true},
		{"[::ffff:127.0.0.1]:5671", "127.0.0.1:5671", true},
		{"127.0.0.1:5671", "gateway.example:5671", false},
		{"127.0.0.1:5671", "127.0.0.1:0", false},
	} {
		bound, err := net.ResolveTCPAddr("tcp", test.bound)
		if err != nil {
			t.Fatal(err)
		}
		if got := listensOn(bound, test.address); got != test.want {
			t.Errorf("a socket on %s for %s: %t", test.bound, test.address, got)
		}
	}
}

// fileOf is a socket as another process gets it.
func fileOf(t *testing.T, network, address string) (file *os.File, bound string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err = l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	return file, l.Addr().String()
}

// A listener takes the socket that has its name, or its address, and keeps it
// through a reload that takes the listener away for a while.
func TestInheritedSockets(t *testing.T) {
	g := newGateway(t)
	named, front := fileOf(t, "tcp", "127.0.0.1:0")
	addressed, back := fileOf(t, "tcp", "127.0.0.1:0")
	for name, file := range map[string]*os.File{"front": named, "LISTEN_FD_4": addressed} {
		socket, err := NewSocket(name, file)
		if err != nil {
			t.Fatal(err)
		}
		g.Sockets = append(g.Sockets, socket)
	}
	node := broker(t, echo)
	both := one("tcp", "rabbitmq", node, "") + `  - {name: back, address: "` + back + `", protocol: tcp, policy: rabbitmq, upstream: broker}` + "\n"
	visit := func(listener, want string) {
		t.Helper()
		if got := g.Address(listener).String(); got != want {
			t.Errorf("%s is on %s, want %s", listener, got, want)
		}
		conn, err := g.connect(listener, g.client())
		if err != nil {
			t.Error(err)
		}
		conn.Close()
	}
	if err := g.Apply(parse(t, both)); err != nil {
		t.Fatal(err)
	}
	visit("front", front)
	visit("back", back)
	if err := g.Apply(parse(t, one("tcp", "rabbitmq", node, ""))); err != nil {
		t.Fatal(err)
	}
	g.log.wait(t, 1, func(l map[string]any) bool {
		return l["level"] == "WARN" && l["address"] == back && strings.Contains(l["msg"].(string), "clients wait there for nobody")
	})
	if err := g.Apply(parse(t, both)); err != nil {
		t.Fatal(err)
	}
	visit("back", back)
}

func TestSocketMistakes(t *testing.T) {
	file, _ := fileOf(t, "unix", filepath.Join(t.TempDir(), "s"))
	if _, err := NewSocket("front", file); err == nil || err.Error() != `proxy: socket "front": a listener takes TCP, not unix` {
		t.Errorf("a Unix socket: %v", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSocket("front", null); err == nil || !strings.HasPrefix(err.Error(), `proxy: socket "front": `) {
		t.Errorf("no socket: %v", err)
	}
	// One that nobody accepts from.
	file, bound := fileOf(t, "tcp", "127.0.0.1:0")
	socket, err := NewSocket("nobody", file)
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(t)
	g.Sockets = []*Socket{socket}
	want := `:5:1: the service manager listens on ` + bound + ` (socket "nobody"), and no listener has that address or name`
	if err := g.Apply(parse(t, one("tcp", "rabbitmq", "127.0.0.1:1", ""))); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// One gateway takes over from another, which is none the worse for one that has
// given up before.
func TestTakeOver(t *testing.T) {
	old, dir, stopped := operated(t, func() (*configs.Config, error) { return nil, nil })
	path := filepath.Join(dir, "s")
	givenUp, err := TakeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	givenUp.Close()
	old.log.wait(t, 1, func(l map[string]any) bool { return l["msg"] == "the other process does not take over" })

	address, admin := old.Address("front").String(), old.AdminAddress().String()
	takeover, err := TakeOver(path)
	if err != nil {
		t.Fatal(err)
	}
	next := newGateway(t)
	next.Sockets, next.Replacing = takeover.Sockets, true
	if err := next.Apply(operatedConfig(t, dir, "")); err != nil {
		t.Fatal(err)
	}
	if err := takeover.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := <-stopped; err != nil || !old.HandedOver() || next.HandedOver() {
		t.Errorf("the old one: %v, handed over: %t", err, old.HandedOver())
	}
	if got := next.Address("front").String(); got != address {
		t.Errorf("listening on %s, want %s", got, address)
	}
	if got := next.AdminAddress().String(); got != admin {
		t.Errorf("the admin server is on %s, want %s", got, admin)
	}
	conn, err := next.connect("front", next.client())
	if err != nil {
		t.Error(err)
	}
	conn.Close()
	if status, answer := post(t, "http://"+admin+"/none", path, ""); status != 404 {
		t.Errorf("through the admin socket: %d %s", status, answer)
	}
	if status, answer := post(t, "http://"+admin+"/takeover", "", adminTokenText); status != 404 {
		t.Errorf("a gateway that cannot be stopped hands over: %d %s", status, answer)
	}
	log := strings.Join(auditLog(t, dir), "\n")
	for _, want := range []string{"hand_over refused by socket [] proxy: takeover: EOF", "hand_over ok by socket []"} {
		if !strings.Contains(log, want) {
			t.Errorf("audit log:\n%s\nwant %s", log, want)
		}
	}
	if _, err := TakeOver(filepath.Join(dir, "none")); !os.IsNotExist(err) && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("nobody there: %v", err)
	}
}

// Sockets are not for whoever has the token: they go through the Unix socket.
func TestTakeOverNeedsSocket(t *testing.T) {
	g, _, _ := operated(t, func() (*configs.Config, error) { return nil, nil })
	if status, answer := post(t, "http://"+g.AdminAddress().String()+"/takeover", "", adminTokenText); status != 403 || !strings.Contains(answer, "through admin.socket alone") {
		t.Errorf("%d %s", status, answer)
	}
}

// A listener moves, under its name, to an address that has the old one in it, or
// that the old one has in it, and back. Its connections are drained where they
// are, and a reload that is refused moves nothing.
func TestRebind(t *testing.T) {
	node, taken := broker(t, echo), broker(t, echo)
	_, port, err := net.SplitHostPort(closedPort(t))
	if err != nil {
		t.Fatal(err)
	}
	on := func(address, more string) *configs.Config {
		return parse(t, strings.Replace(one("tcp", "rabbitmq", node, ""), "127.0.0.1:0", address, 1)+more)
	}
	g := startWith(t, on("127.0.0.1:"+port, ""))
	var clients []*tls.Conn
	for i, address := range []string{":" + port, "127.0.0.1:" + port, "0.0.0.0:" + port, "localhost:" + port} {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+port, g.client())
		if err != nil {
			t.Fatalf("before %s: %v", address, err)
		}
		defer conn.Close()
		clients = append(clients, conn)
		refused := on(address, `  - {name: taken, address: "`+taken+`", protocol: tcp, policy: rabbitmq, upstream: broker}`+"\n")
		if err := g.Apply(refused); err == nil || !strings.Contains(err.Error(), "cannot listen on "+taken) {
			t.Errorf("to %s, with an address that is taken: %v", address, err)
		}
		changes, err := g.ApplyBy(audit.Operator{Via: audit.ViaFile}, on(address, ""))
		if err != nil {
			t.Fatalf("to %s: %v", address, err)
		}
		if len(changes) != 1 || !strings.HasSuffix(changes[0].String(), "→ "+address) {
			t.Errorf("changes: %v", changes)
		}
		g.log.wait(t, i+1, func(l map[string]any) bool { return l["msg"] == "listener leaves" })
	}
	// Nobody gets the port by mistake.
	if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
		l.Close()
		t.Error("another can listen there")
	}
	for _, conn := range clients {
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Error(err)
		}
	}
}
