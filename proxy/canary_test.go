package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suitegate/suitegate/configs"
)

func canaryOf(c configs.Canary) *canary {
	c.Policy = "rabbitmq"
	return &canary{Canary: &c, under: &route{Listener: configs.Listener{Name: "front"}}, trial: new(trial)}
}

// A client is always among the share or never, whatever its port or the rest of
// its IPv6 address, and the share is what it says.
func TestCanaryShare(t *testing.T) {
	now := time.Now()
	for _, share := range []int{1, 10, 50, 99} {
		c := canaryOf(configs.Canary{Share: share})
		var four, six int
		const clients = 20_000
		for i := range clients {
			v4 := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			if c.takes(v4, now) {
				four++
			}
			if c.takes(v4, now) != c.takes(netip.AddrFrom16(v4.As16()), now) {
				t.Fatalf("%s is another client as IPv6", v4)
			}
			site := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i >> 8), byte(i), 1})
			other := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i >> 8), byte(i), 2})
			if c.takes(site, now) {
				six++
			}
			if c.takes(site, now) != c.takes(other, now) {
				t.Fatalf("%s and %s are one client", site, other)
			}
		}
		for _, n := range []int{four, six} {
			if want := clients * share / 100; n < want-300 || n > want+300 {
				t.Errorf("%d%% of %d clients are %d", share, clients, n)
			}
		}
	}
}

func TestCanaryTakes(t *testing.T) {
	noon := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	inside, outside := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	c := canaryOf(configs.Canary{Share: 100, Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, From: noon, Until: noon.Add(time.Hour)})
	for _, test := range []struct {
		client netip.Addr
		at     time.Time
		want   bool
		state  string
	}{
		{inside, noon.Add(-time.Nanosecond), false, "waits"},
		{inside, noon, true, "on"},
		{outside, noon, false, "on"},
		{inside, noon.Add(time.Hour - time.Nanosecond), true, "on"},
		{inside, noon.Add(time.Hour), false, "over"},
		{netip.Addr{}, noon, false, "on"},
	} {
		if got := c.takes(test.client, test.at); got != test.want || c.state(test.at) != test.state {
			t.Errorf("%s at %s: %t, %s", test.client, test.at, got, c.state(test.at))
		}
	}
	c.returned.Store(true)
	if c.takes(inside, noon) || c.state(noon) != "returned" {
		t.Error("it is in force after it has returned")
	}
	if (*canary)(nil).takes(inside, noon) {
		t.Error("none takes somebody")
	}
}

// canaryConfig is a listener with a canary, and an audit log.
func canaryConfig(t *testing.T, dir, node, canary string) *configs.Config {
	return parseWhole(t, fmt.Sprintf(`
storage: %s
audit: {file: %s}
certificates: [{name: default, self_signed: {names: [localhost, 127.0.0.1]}}]
upstreams: {broker: {nodes: [%q]}}
listeners: [{name: front, address: "127.0.0.1:0", protocol: tcp, policy: activemq, upstream: broker, canary: {policy: rabbitmq, %s}}]
`, dir, filepath.Join(dir, "audit.log"), node, canary))
}

// connectOld is a client that activemq lets in, and rabbitmq does not.
func (g *gateway) connectOld() error {
	old := g.client()
	old.MaxVersion, old.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	conn, err := g.connect("front", old)
	conn.NetConn().Close()
	return err
}

// audited waits for the entries of an action in the audit log.
func audited(t *testing.T, dir, action string, n int) (entries []map[string]any) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(dir, "audit.log"))
		if err != nil {
			t.Fatal(err)
		}
		entries = nil
		for line := range strings.Lines(string(text)) {
			var entry map[string]any
			if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == action {
				entries = append(entries, entry)
			}
		}
		if len(entries) == n {
			return entries
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d entries of %s, want %d, in\n%s", len(entries), action, n, text)
		}
	}
}

// TestCanary: some clients get another policy, until it refuses too many of them;
// then everybody is let in again, also after a reload and a restart.
func TestCanary(t *testing.T) {
	dir, node := t.TempDir(), broker(t, echo)
	config := canaryConfig(t, dir, node, "clients: [127.0.0.0/8], max_refusals: 10%")
	g := startWith(t, config)
	audited(t, dir, "canary_begin", 1)
	g.waitCounted(`suitegate_canary_active{listener="front",policy="rabbitmq"} 1`)
	for n := range minCanaries - 1 {
		if n < 17 {
			conn, err := g.connect("front", g.client())
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		} else if err := g.connectOld(); err == nil {
			t.Fatal("an old client was let in under the canary policy")
		}
	}
	line := g.log.wait(t, 1, func(l map[string]any) bool { return l["reason"] == "no_common_suite" })
	if line["canary"] != "rabbitmq" || line["alert"] != "handshake_failure" || !strings.Contains(fmt.Sprint(line["error"]), "policy rabbitmq allows") {
		t.Errorf("%v", line)
	}
	// Whom nothing lets in says nothing of the canary.
	none := g.client()
	none.MaxVersion = tls.VersionTLS11
	for range minCanaries {
		conn, err := g.connect("front", none)
		if err == nil {
			t.Fatal("TLS 1.1 was let in")
		}
		conn.NetConn().Close()
	}
	if c := g.status().Listeners[0].Canary; c == nil || c.State != "on" || c.Judged != 19 || c.Refused != 2 {
		t.Fatalf("%+v", c)
	}
	// A reload that leaves it as it is goes on with it.
	if err := g.Apply(config); err != nil {
		t.Fatal(err)
	}
	if err := g.connectOld(); err == nil {
		t.Fatal("let in after the reload")
	}
	entry := audited(t, dir, "canary_return", 1)[0]
	if entry["refused"] != 3.0 || entry["judged"] != 20.0 || entry["policy"] != "rabbitmq" || entry["by"].(map[string]any)["via"] != "gateway" {
		t.Errorf("%v", entry)
	}
	if err := g.connectOld(); err != nil {
		t.Errorf("it has returned, and refuses: %v", err)
	}
	g.waitCounted(`suitegate_canary_active{listener="front",policy="rabbitmq"} 0`)
	g.waitCounted(`suitegate_canary_clients_total{listener="front",policy="rabbitmq",result="refused"} 3`)
	if err := g.Apply(config); err != nil {
		t.Fatal(err)
	}
	if err := g.connectOld(); err != nil {
		t.Errorf("a reload has begun anew: %v", err)
	}
	g.Close()

	again := startWith(t, config)
	if err := again.connectOld(); err != nil {
		t.Errorf("a restart has begun anew: %v", err)
	}
	if c := again.status().Listeners[0].Canary; c.State != "returned" {
		t.Errorf("%+v", c)
	}
	// Another limit is another canary.
	if err := again.Apply(canaryConfig(t, dir, node, "clients: [127.0.0.0/8], max_refusals: 90%")); err != nil {
		t.Fatal(err)
	}
	if err := again.connectOld(); err == nil {
		t.Error("let in under another canary")
	}
	audited(t, dir, "canary_begin", 2)
}

// Nobody resumes under the one policy what was begun under the other.
func TestCanaryResumption(t *testing.T) {
	dir, node := t.TempDir(), broker(t, echo)
	g := startWith(t, canaryConfig(t, dir, node, "clients: [203.0.113.0/24]"))
	client := g.client()
	client.MaxVersion, client.ClientSessionCache = tls.VersionTLS12, tls.NewLRUClientSessionCache(1)
	client.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	resumed := func() bool {
		conn, err := g.connect("front", client)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().DidResume
	}
	if resumed() || !resumed() {
		t.Fatal("sessions are not resumed: the test shows nothing")
	}
	config := canaryConfig(t, dir, node, "clients: [127.0.0.0/8]")
	if err := g.Apply(config); err != nil {
		t.Fatal(err)
	}
	if resumed() {
		t.Error("a session of the listener's policy goes on under the canary policy")
	}
	if !resumed() {
		t.Error("one of the canary policy does not")
	}
}

// Its time begins and ends, and both are written down once.
func TestCanaryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		book := &logBook{}
		g := &gateway{t: t, log: book, Server: &Server{Log: slog.New(slog.NewJSONHandler(book, nil))}}
		g.audit.Fallback = g.Log
		config := &configs.Config{Listeners: []configs.Listener{{Name: "front"}}}
		c := canaryOf(configs.Canary{Share: 100, From: begin.Add(time.Hour), Until: begin.Add(3 * time.Hour)})
		c.content = "1"
		g.current = &generation{config: config, routes: []*route{{Listener: config.Listeners[0], canary: c}}}
		var seen []string
		step := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
			seen = append(seen, fmt.Sprintf("%s %d %d", c.state(time.Now()),
				bytes.Count(book.raw(), []byte("canary_begin")), bytes.Count(book.raw(), []byte("canary_end"))))
		}
		g.loaded = begin
		g.watchCanaries(nil)
		step(time.Hour - time.Second)
		step(time.Second)
		step(2 * time.Hour)
		g.stopCanaries()
		g.departed.Wait()
		if want := []string{"waits 0 0", "on 1 0", "over 1 1"}; !slices.Equal(seen, want) {
			t.Errorf("%q, want %q; log\n%s", seen, want, book.raw())
		}
	})
}
