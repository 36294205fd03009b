package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/shadow"
)

// tightening is a listener that is to be tightened.
const tightening = `
admin: {address: "127.0.0.1:0"}
upstreams: {broker: {nodes: [%q]}}
listeners: [{name: front, address: "127.0.0.1:0", protocol: mqtt, policy: activemq, shadow: [rfc9325-2022-11, rabbitmq], upstream: broker}]
`

// TestShadow: two old clients and a new one, of which the old ones are named
// before anything is enforced, also after a restart.
func TestShadow(t *testing.T) {
	node := broker(t, echo)
	config := parseWhole(t, "storage: "+t.TempDir()+"\ncertificates: [{name: default, self_signed: {names: [localhost, 127.0.0.1]}}]\n"+fmt.Sprintf(tightening, node))
	g := startWith(t, config)
	for id, suites := range map[string][]uint16{
		"sensor-1": {tls.TLS_RSA_WITH_AES_128_CBC_SHA},
		"sensor-2": {tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA},
		"new":      nil,
	} {
		client := g.client()
		if suites != nil {
			client.MaxVersion, client.CipherSuites = tls.VersionTLS12, suites
		}
		conn, err := g.connect("front", client)
		if err != nil {
			t.Fatal(err)
		}
		hello := fmt.Sprintf("\x10%c\x00\x04MQTT\x04\x02\x00\x3c\x00%c%s", 12+len(id), len(id), id)
		if _, err := io.WriteString(conn, hello); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, len(hello))); err != nil {
			t.Fatal(err)
		}
	}
	// One that would not get in now, and one that breaks off, are nobody who would break.
	none := g.client()
	none.MinVersion, none.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := g.connect("front", none); err == nil {
		t.Fatal("TLS 1.1 was let in")
	}
	distrusts := g.client()
	distrusts.RootCAs, distrusts.MaxVersion, distrusts.CipherSuites = nil, tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
	if _, err := g.connect("front", distrusts); err == nil {
		t.Fatal("the root is trusted")
	}
	g.waitCounted(`suitegate_shadow_verdicts_total{listener="front",policy="rfc9325-2022-11",verdict="would_refuse"} 3`)
	g.waitCounted(`suitegate_shadow_verdicts_total{listener="front",policy="rfc9325-2022-11",verdict="same"} 2`)
	g.waitCounted(`suitegate_shadow_clients_broken 4`)

	impact := g.impact()
	if len(impact.Clients) != 4 || len(impact.Tallies) != 2 {
		t.Fatalf("%+v", impact)
	}
	for _, tally := range impact.Tallies {
		if tally.Judged != 5 || tally.Broken != 2 || tally.Admitted != 0 {
			t.Errorf("%+v", tally)
		}
	}
	for _, r := range impact.Clients {
		if r.Reason != "no_common_suite" || r.Network != "127.0.0.0/24" || r.ServerName != "localhost" || !strings.HasPrefix(r.JA4, "t12d") ||
			!strings.HasPrefix(r.Identity, "mqtt 3.1.1, client id ") || r.Count != 1 || !strings.HasPrefix(r.Detail, "TLSv1.2: client offers ") {
			t.Errorf("%+v", r)
		}
	}
	if bytes.Contains(g.log.raw(), []byte("sensor-1")) {
		t.Error("a client identifier is in the log")
	}
	if got := g.status().Shadow; len(got) != 2 || got[0].Policy != "rabbitmq" || got[0].Broken != 2 {
		t.Errorf("%+v", got)
	}
	g.Close()

	again := startWith(t, config)
	if after := again.impact(); !slices.Equal(after.Clients, impact.Clients) || !slices.Equal(after.Tallies, impact.Tallies) {
		t.Errorf("before the restart %+v\nafter it %+v", impact, after)
	}
}

// TestShadowAMQP: what a client of AMQP 0-9-1 calls itself comes after the
// broker's first word.
func TestShadowAMQP(t *testing.T) {
	node := broker(t, echo)
	g := start(t, strings.Replace(fmt.Sprintf(tightening, node), "protocol: mqtt", "protocol: amqp", 1))
	table := "\x07productS\x00\x00\x00\x05evil\x1b\x07versionS\x00\x00\x00\x051.3.2"
	startOk := fmt.Sprintf("\x01\x00\x00\x00\x00\x00%c\x00\x0a\x00\x0b\x00\x00\x00%c%s\xce", 8+len(table), len(table), table)
	for _, says := range []string{startOk, "\x08\x00\x00\x00\x00\x00\x00\xce", ""} {
		client := g.client()
		client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		conn, err := g.connect("front", client)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"AMQP\x00\x00\x09\x01", says} {
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, len(part))); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
	}
	g.waitCounted(`suitegate_shadow_verdicts_total{listener="front",policy="rabbitmq",verdict="would_refuse"} 3`)
	g.waitCounted(`suitegate_shadow_clients_broken 4`)
	var got []string
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got = nil
		seen := uint64(0)
		for _, r := range g.impact().Clients {
			if r.Policy == "rabbitmq" {
				got = append(got, r.Identity)
				seen += r.Count
			}
		}
		if seen == 3 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 3: %q", seen, got)
		}
	}
	slices.Sort(got)
	if want := []string{"amqp 0-9-1", "amqp 0-9-1, evil\x1b 1.3.2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// impact asks the admin server.
func (g *gateway) impact() (impact shadow.Impact) {
	g.t.Helper()
	response, err := http.Get("http://" + g.AdminAddress().String() + "/impact")
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if err := json.NewDecoder(response.Body).Decode(&impact); err != nil {
		g.t.Fatal(err)
	}
	return impact
}

// A shadow policy that the listener cannot serve is a mistake with its position.
func TestShadowUnservable(t *testing.T) {
	config := parse(t, `
upstreams: {broker: {nodes: ["127.0.0.1:1"]}}
policies: {curve: {tls12: [ECDHE-RSA-AES256-GCM-SHA384], groups: [ffdhe2048]}}
listeners: [{name: front, address: "127.0.0.1:0", protocol: mqtt, policy: activemq, shadow: [curve], upstream: broker}]
`)
	err := newGateway(t).Apply(config)
	if err == nil || !strings.Contains(err.Error(), "gateway.yml:6:93: policy curve: none of its TLSv1.2 suites can be served") {
		t.Error(err)
	}
}

// TestShadowVerdicts: what a shadow policy says of a client is what the client
// gets when the policy is enforced, with the same reason.
func TestShadowVerdicts(t *testing.T) {
	const each = 150
	node := broker(t, echo)
	random := rand.New(rand.NewPCG(6, 3))
	for _, candidate := range []string{"rabbitmq", "rfc9325-2022-11", "mozilla-modern-6.0", "bsi-tr-02102-2-2023-01", "odd"} {
		t.Run(candidate, func(t *testing.T) {
			g := start(t, fmt.Sprintf(`
log: {refusals_per_minute: 0}
policies: {odd: {tls12: [DHE-RSA-AES128-SHA256, ECDHE-ECDSA-AES128-GCM-SHA256], groups: [P-384, ffdhe3072]}}
upstreams: {broker: {nodes: [%q]}}
listeners:
  - {name: wide, address: "127.0.0.1:0", protocol: tcp, policy: activemq, shadow: [%s], upstream: broker}
  - {name: narrow, address: "127.0.0.1:0", protocol: tcp, policy: %s, upstream: broker}
`, node, candidate, candidate))
			admitted := 0
			for range each {
				hello := randomHello(random)
				for malformed(hello) { // which no policy has a say in
					hello = randomHello(random)
				}
				judged := g.judged("wide", hello)
				conn := g.dial("narrow")
				got := answerTo(t, conn, hello)
				if got == "" {
					admitted++
				} else {
					got = g.lineOf("narrow", conn.LocalAddr())["reason"].(string)
				}
				if string(judged) != got {
					t.Fatalf("hello %x\nis judged %q, and gets %q", hello, judged, got)
				}
			}
			if admitted < each/20 || admitted > each*19/20 {
				t.Errorf("%d of %d hellos are let in: the test shows little", admitted, each)
			}
		})
	}
}

// TestShadowHandshakes does the same with clients that end their handshakes.
func TestShadowHandshakes(t *testing.T) {
	node := broker(t, echo)
	g := start(t, fmt.Sprintf(`
upstreams: {broker: {nodes: [%q]}}
listeners:
  - {name: wide, address: "127.0.0.1:0", protocol: tcp, policy: activemq, shadow: [rfc9325-2022-11], upstream: broker}
  - {name: narrow, address: "127.0.0.1:0", protocol: tcp, policy: rfc9325-2022-11, upstream: broker}
`, node))
	random := rand.New(rand.NewPCG(6, 4))
	suites := []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	curves := []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768}
	broken := uint64(0)
	for range 100 {
		config := g.client()
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12+uint16(random.IntN(2))
		config.CipherSuites = some(random, suites)
		config.CurvePreferences = some(random, curves)
		wide, err := g.connect("wide", config)
		if err != nil {
			wide.NetConn().Close()
			continue // nobody's break
		}
		narrow, err := g.connect("narrow", config)
		if err != nil {
			broken++
		}
		wide.Close()
		narrow.NetConn().Close()
	}
	if broken == 0 {
		t.Fatal("no client breaks: the test shows nothing")
	}
	for deadline := time.Now().Add(patience); g.shadow.Tallies()[0].Broken != broken; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d clients break, and %+v", broken, g.shadow.Tallies())
		}
	}
}

func malformed(hello []byte) bool {
	_, err := clienthello.Read(bytes.NewReader(hello), clienthello.MaxSize)
	return err != nil
}

// judged is what the shadow policy of a listener says of a hello.
func (g *gateway) judged(listener string, hello []byte) policy.Reason {
	g.t.Helper()
	parsed, err := clienthello.Read(bytes.NewReader(hello), clienthello.MaxSize)
	if err != nil {
		g.t.Fatalf("%v in %x", err, hello)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.current.routes {
		if r.Name == listener {
			offer := OfferOf(parsed)
			from, _, err := r.candidatesFor(r.store, &offer)
			if err != nil {
				g.t.Fatal(err)
			}
			return r.shadows[0].byKeys[from.keys].Judge(&offer)
		}
	}
	g.t.Fatalf("no listener %s", listener)
	return ""
}

// answerTo sends a hello and returns "" for a ServerHello, or "alert".
func answerTo(t *testing.T, conn net.Conn, hello []byte) string {
	t.Helper()
	if _, err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	kind := make([]byte, 1)
	if _, err := io.ReadFull(conn, kind); err != nil {
		t.Fatalf("%v after %x", err, hello)
	}
	conn.Close()
	switch kind[0] {
	case 22:
		return ""
	case 21:
		return "alert"
	}
	t.Fatalf("record of type %d", kind[0])
	return ""
}

// some are a few of a list, at least one, in any order.
func some[T any](random *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:1+random.IntN(len(list))]
}

// randomHello is a hello that keeps the rules, as a record (RFC 8446 §4.1.2).
func randomHello(random *rand.Rand) []byte {
	suites := []uint16{0x1301, 0x1302, 0x1303, 0xC02F, 0xC030, 0xC02B, 0xC02C, 0xCCA8, 0xC013, 0xC014, 0xC027, 0xC028,
		0x009E, 0x009F, 0x0033, 0x0067, 0x006B, 0x009C, 0x002F, 0x003C, 0x5600, 0x00FF, 0x0A0A, 0x000A}
	versions := []uint16{0x0304, 0x0303, 0x0302, 0x1A1A}
	groups := []uint16{29, 23, 24, 25, 4588, 256, 257, 300, 0x2A2A, 30}
	schemes := []uint16{0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0807, 0x0201, 0x0203}
	likely := func(n int) bool { return random.IntN(n) > 0 }

	var b cryptobyte.Builder
	list := func(values []uint16) cryptobyte.BuilderContinuation {
		return func(b *cryptobyte.Builder) {
			for _, v := range values {
				b.AddUint16(v)
			}
		}
	}
	b.AddUint8(22)
	b.AddUint16(0x0301)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(1)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(0x0303)
			b.AddBytes(make([]byte, 32))
			b.AddUint8(0)
			b.AddUint16LengthPrefixed(list(some(random, suites)))
			b.AddBytes([]byte{1, 0})
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				extension := func(kind uint16, body func(*cryptobyte.Builder)) {
					b.AddUint16(kind)
					b.AddUint16LengthPrefixed(body)
				}
				if likely(12) {
					extension(10, func(b *cryptobyte.Builder) { b.AddUint16LengthPrefixed(list(some(random, groups))) })
				}
				if likely(2) {
					formats := some(random, []byte{0, 1, 2})
					extension(11, func(b *cryptobyte.Builder) {
						b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(formats) })
					})
				}
				if likely(12) {
					extension(13, func(b *cryptobyte.Builder) { b.AddUint16LengthPrefixed(list(some(random, schemes))) })
				}
				if likely(2) {
					extension(43, func(b *cryptobyte.Builder) { b.AddUint8LengthPrefixed(list(some(random, versions))) })
					extension(51, func(b *cryptobyte.Builder) { b.AddUint16(0) })
				}
			})
		})
	})
	return b.BytesOrPanic()
}

// BenchmarkShadow is what one shadow policy costs a hello, of a client that it
// lets in and of one that would break.
func BenchmarkShadow(b *testing.B) {
	const name = "rfc9325-2022-11"
	published, _ := policy.Builtin(name)
	keys := policy.Keys(policy.RSA, policy.ECDSAP256)
	bound, _ := published.Bind(policy.Have{Keys: keys.Types()})
	for client, suites := range map[string][]uint16{
		"same":         {0x0A0A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035},
		"would_refuse": {0x006B, 0x006A, 0x0067, 0x0040, 0x0039, 0x0038, 0x0033, 0x0032, 0x003D, 0x003C, 0x0035, 0x002F, 0x00FF},
	} {
		b.Run(client, func(b *testing.B) {
			c := &connection{listener: &listener{server: &Server{}}, route: &route{shadows: []candidate{{
				route: &route{byKeys: map[policy.KeySet]*policy.Policy{keys: bound}}, Candidate: shadow.Candidate{Listener: "front", Policy: name},
			}}}}
			c.route.shadows[0].countAs(nil)
			c.listener.server.shadow.Watch(map[shadow.Candidate]string{c.route.shadows[0].Candidate: ""}, time.Now())
			offer := policy.Offer{LegacyVersion: policy.TLS12, Suites: suites, Groups: []policy.Group{0x2A2A, 29, 23, 24},
				PointFormats: []uint8{0}, Signatures: []policy.SignatureScheme{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601}}
			b.ReportAllocs()
			for b.Loop() {
				c.broken = nil
				c.judge(&offer, keys, true)
			}
			if broken := len(c.broken) > 0; broken != (client == "would_refuse") {
				b.Errorf("broken: %t", broken)
			}
		})
	}
}
