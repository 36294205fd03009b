package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/engine"
)

func TestCarriesAndLogs(t *testing.T) {
	node := broker(t, echo)
	for _, tt := range []struct {
		name    string
		version uint16
		want    map[string]any
	}{
		{"TLS 1.3", tls.VersionTLS13, map[string]any{
			"version": "TLSv1.3", "suite": "TLS_AES_256_GCM_SHA384", "group": "X25519MLKEM768", "key": "ECDSA-P256", "engine": "tls13"}},
		{"TLS 1.2", tls.VersionTLS12, map[string]any{
			"version": "TLSv1.2", "suite": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "group": "X25519", "key": "RSA", "engine": "tls12"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t, one("tcp", "rabbitmq", node, ", alpn: [mqtt]"))
			config := g.client()
			config.MaxVersion = tt.version
			config.NextProtos = []string{"mqtt"}
			conn, err := g.connect("front", config)
			if err != nil {
				t.Fatal(err)
			}
			sent := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
			go func() {
				_, _ = conn.Write(sent) // what is missing shows below
				_ = conn.CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes came back of %d, %v", len(got), len(sent), err)
			}
			line := g.line(1)
			if line["client"] != conn.LocalAddr().String() || line["duration"].(float64) <= 0 {
				t.Errorf("client %v, duration %v", line["client"], line["duration"])
			}
			if ja4, _ := line["ja4"].(string); len(ja4) != 36 { // the rest of it is for clienthello to test
				t.Errorf("JA4 %v", line["ja4"])
			}
			for _, key := range []string{"time", "client", "duration", "ja4"} {
				delete(line, key)
			}
			want := map[string]any{
				"level": "INFO", "msg": "connection", "listener": "front", "sni": "localhost", "alpn_offered": "mqtt", "alpn": "mqtt",
				"certificate": "default", "resumed": false, "upstream": "broker", "node": node,
				"bytes_from_client": 1048576.0, "bytes_from_backend": 1048576.0, "reason": "client_closed",
			}
			for key, value := range tt.want {
				want[key] = value
			}
			if diff := cmp.Diff(want, line); diff != "" {
				t.Errorf("log line (-want +got):\n%s", diff)
			}
			for _, series := range []string{
				`suitegate_connections_total{listener="front"} 1`,
				`suitegate_connections_active{listener="front"} 0`,
				`suitegate_connections_ended_total{listener="front",reason="client_closed"} 1`,
				`suitegate_bytes_total{direction="from_client",listener="front"} 1.048576e+06`,
				`suitegate_upstream_dials_total{node="` + node + `",result="ok",upstream="broker"} 1`,
			} {
				if !g.counted(series) {
					t.Errorf("not in the metrics: %s", series)
				}
			}
		})
	}
}

func TestReload(t *testing.T) {
	node := broker(t, echo)
	g := start(t, one("tcp", "rabbitmq", node, ""))
	address := g.Address("front").String()
	old, err := g.connect("front", g.client())
	if err != nil {
		t.Fatal(err)
	}
	echoes := func() {
		t.Helper()
		if _, err := old.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(old, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	only := func(suite uint16) error {
		config := g.client()
		config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{suite}
		conn, err := g.connect("front", config)
		conn.Close()
		return err
	}
	const refused = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	if err := only(refused); err != nil {
		t.Fatal(err)
	}

	// A failure changes nothing: here the admin address is taken.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := parse(t, "admin: {address: \""+taken.Addr().String()+"\"}\n"+one("tcp", "activemq", node, ""))
	err = g.Apply(bad)
	if want := ":3:18: cannot listen on " + taken.Addr().String() + ": bind: address already in use"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	var mistakes configs.Errors
	if !errors.As(err, &mistakes) {
		t.Errorf("%T", err)
	}
	if err := only(refused); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	if err := only(tls.TLS_RSA_WITH_AES_128_GCM_SHA256); err == nil {
		t.Error("the reload that failed took effect")
	}

	// A good one swaps the policy under the same socket.
	const narrow = "policies: {narrow: {tls12: [ECDHE-RSA-AES256-GCM-SHA384]}}\n"
	if err := g.Apply(parse(t, narrow+one("tcp", "narrow", node, ""))); err != nil {
		t.Fatal(err)
	}
	if got := g.Address("front").String(); got != address {
		t.Errorf("address %s became %s", address, got)
	}
	if err := only(refused); err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Errorf("suite outside the new policy: %v", err)
	}
	if _, err := g.connect("front", &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.3 under a policy without it: %v", err)
	}
	echoes() // the old connection is none the wiser

	// A listener that is gone lets its connections end.
	if err := g.Apply(parse(t, strings.Replace(one("tcp", "rabbitmq", node, ""), "front", "renamed", 1))); err != nil {
		t.Fatal(err)
	}
	if g.Address("front") != nil {
		t.Error("the listener is still there")
	}
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing the old address: %v", err)
	}
	echoes()
	old.Close()
	g.log.wait(t, 1, func(l map[string]any) bool { return l["msg"] == "listener left" && l["connections_cut"] == 0.0 })
	if !g.counted(`suitegate_config_reloads_total{result="failed"} 1`) || !g.counted(`suitegate_config_reloads_total{result="ok"} 3`) {
		t.Error("reloads are not counted right")
	}
}

func TestShutdown(t *testing.T) {
	g := start(t, one("tcp", "rabbitmq", broker(t, echo), ""))
	patient, err := g.connect("front", g.client())
	if err != nil {
		t.Fatal(err)
	}
	halfway := g.dial("front") // never sends a hello
	l := g.listeners["front 127.0.0.1:0"]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- g.Shutdown(ctx) }()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", halfway.RemoteAddr().String())
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			conn.Close()
		}
		if time.Now().After(deadline) {
			t.Fatal("still listening")
		}
	}
	for deadline := time.Now().Add(patience); l.active.Load() != 2; time.Sleep(time.Millisecond) { // those that came to look are gone
		if time.Now().After(deadline) {
			t.Fatal("more connections than two")
		}
	}
	if _, err := patient.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(patient, make([]byte, 4)); err != nil {
		t.Fatalf("draining: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 connections had to be ended") {
		t.Error(err)
	}
	if _, err := patient.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a client that was cut off should see an orderly end: %v", err)
	}
	if err := g.Apply(parse(t, one("tcp", "rabbitmq", "127.0.0.1:1", ""))); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply after Shutdown: %v", err)
	}
	if err := g.Shutdown(context.Background()); err != nil {
		t.Errorf("second Shutdown: %v", err)
	}
}

// An accept loop survives every error but the end of its socket.
func TestAcceptSurvives(t *testing.T) {
	g := start(t, one("tcp", "rabbitmq", broker(t, echo), ""))
	fake := &flakyListener{Listener: g.listeners["front 127.0.0.1:0"].socket, failures: []error{
		&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)},
		&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ECONNABORTED)},
		errors.New("something new"),
	}}
	r := g.listeners["front 127.0.0.1:0"].route.Load()
	l := &listener{server: g.Server, socket: fake, settingUp: map[*connection]struct{}{}}
	l.running, l.cut = context.WithCancel(context.Background())
	l.route.Store(r)
	l.start()
	conns := []*tls.Conn{}
	for range 3 { // either of the two loops on the socket may take a connection
		conn, err := g.connect("front", g.client())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for deadline := time.Now().Add(patience); !g.counted(`suitegate_accept_errors_total{listener="front"} 3`); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("errors of accept are not counted")
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	if cut := l.drain(context.Background()); cut != 0 {
		t.Errorf("%d connections were cut", cut)
	}
}

type flakyListener struct {
	net.Listener
	mu       sync.Mutex
	failures []error
}

func (l *flakyListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	if len(l.failures) > 0 {
		err := l.failures[0]
		l.failures = l.failures[1:]
		l.mu.Unlock()
		return nil, err
	}
	l.mu.Unlock()
	return l.Listener.Accept()
}

// saboteur is an engine that goes wrong in the worst ways.
type saboteur struct {
	engine.Engine
	server func(net.Conn, engine.Choice) engine.Conn
}

func (s saboteur) Server(conn net.Conn, choice engine.Choice) engine.Conn {
	return s.server(conn, choice)
}

func TestEngineThatGoesWrong(t *testing.T) {
	g := start(t, one("tcp", "rabbitmq", broker(t, echo), ""))
	l := g.listeners["front 127.0.0.1:0"]
	good := l.route.Load()
	of13 := good.engines.For(tls.TLS_AES_256_GCM_SHA384) // what the client gets
	sabotage := func(server func(net.Conn, engine.Choice) engine.Conn) {
		bad := *good
		bad.engines = engine.Dispatcher{saboteur{of13, server}}
		l.route.Store(&bad)
	}

	sabotage(func(net.Conn, engine.Choice) engine.Conn { panic("boom") })
	if _, err := g.connect("front", g.client()); err == nil {
		t.Error("connected through a panic")
	}
	line := g.line(1)
	if line["reason"] != "panic" || line["level"] != "ERROR" || !strings.Contains(line["error"].(string), "boom") {
		t.Errorf("%v", line)
	}
	if !g.counted("suitegate_panics_total 1") {
		t.Error("the panic is not counted")
	}

	// Whatever an engine negotiates beside the decision carries no byte.
	sabotage(func(conn net.Conn, choice engine.Choice) engine.Conn {
		choice.Group = tls.CurveP384
		return of13.Server(conn, choice)
	})
	config := g.client()
	if conn, err := g.connect("front", config); err == nil {
		_, _ = conn.Write([]byte("ping"))
		if n, err := conn.Read(make([]byte, 4)); err == nil {
			t.Errorf("%d bytes came back", n)
		}
	}
	if line := g.line(2); line["reason"] != "not_as_decided" || line["level"] != "ERROR" {
		t.Errorf("%v", line)
	}

	// The client of a gateway at fault is told so.
	bad := *good
	bad.Certificates, bad.defaults = []string{"lost"}, []string{"lost"}
	l.route.Store(&bad)
	if _, err := g.connect("front", g.client()); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("without a certificate: %v", err)
	}
	if line := g.line(3); line["reason"] != "no_certificate" || line["alert"] != "internal_error" {
		t.Errorf("%v", line)
	}

	l.route.Store(good)
	conn, err := g.connect("front", g.client())
	if err != nil {
		t.Fatalf("after all that: %v", err)
	}
	conn.Close()
}

func TestCheck(t *testing.T) {
	config := parse(t, `
upstreams: {broker: {nodes: ["127.0.0.1:1"]}}
listeners:
  - {name: a, address: "127.0.0.1:0", protocol: openwire, policy: activemq, upstream: broker}
`)
	effective, warnings, err := Check(config, nil)
	if err != nil || warnings != nil {
		t.Fatal(warnings, err)
	}
	e := effective[0]
	if len(e.Policy.TLS12) != 18 || len(e.Unserved) != 0 || len(e.Partly) != 0 || len(e.Policy.TLS13) != 2 {
		t.Errorf("%+v", e)
	}
	if diff := cmp.Diff([]string{"default (RSA, ECDSA-P256)"}, e.Certificates); diff != "" {
		t.Error(diff)
	}
}
