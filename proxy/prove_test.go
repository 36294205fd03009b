package proxy

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/engine"
	"github.com/suitegate/suitegate/proxy/prove"
)

// liar serves one suite in place of another.
type liar struct {
	engine.Engine
	asked, served uint16
}

func (l liar) Server(conn net.Conn, choice engine.Choice) engine.Conn {
	if choice.Suite == l.asked {
		choice.Suite = l.served
	}
	return l.Engine.Server(conn, choice)
}

// lie makes every listener of a generation a liar.
func lie(next *generation) {
	for _, r := range next.routes {
		for i, e := range r.engines {
			r.engines[i] = liar{liar{e, 0xC030, 0xC02F}, 0xC02C, 0xC02B}
		}
	}
}

func proofConfig(t *testing.T, policy, more string) *configs.Config {
	return parse(t, "prove: {evidence: proof/evidence.json}\n"+one("tcp", policy, closedPort(t), more))
}

func TestProveAtStartAndReload(t *testing.T) {
	g := newGateway(t)
	config := proofConfig(t, "activemq", ", max_connections: 1, deny: [0.0.0.0/0]")
	kept := config.Prove.Evidence
	if err := os.Mkdir(filepath.Dir(kept), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(config); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	e, err := prove.Verify(text)
	if err != nil || e.Offers != len(prove.Offers(""))+len(prove.Offers("localhost")) || e.Differences != 0 || e.ConfigSHA256 != config.SHA256() {
		t.Fatalf("%v, %d offers, %d differences", err, e.Offers, e.Differences)
	}
	g.waitCounted(`suitegate_prove_as_policy{listener="front"} 1`)
	g.waitCounted(fmt.Sprintf(`suitegate_prove_offers_total{listener="front",result="as_policy"} %d`, e.Offers))
	if bytes.Contains(g.log.raw(), []byte(`"msg":"connection"`)) || g.Metrics.Totals().Accepted["front"] != 0 {
		t.Error("the proof is among the clients")
	}

	// What is the same in everything that matters is not asked again.
	if err := g.Apply(config); err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile(kept); err != nil {
		t.Fatal(err)
	}
	again, err := prove.Verify(text)
	if err != nil || again.Offers != e.Offers || !again.Time.After(e.Time) || !again.Listeners[0].ProvedAt.Equal(e.Listeners[0].ProvedAt) {
		t.Errorf("%v, %d offers at %s, of %s", err, again.Offers, again.Time, again.Listeners[0].ProvedAt)
	}
	g.waitCounted(fmt.Sprintf(`suitegate_prove_offers_total{listener="front",result="as_policy"} %d`, e.Offers))

	// A reload that would do something else than its policy says changes nothing.
	g.built = lie
	before := g.current
	other := proofConfig(t, "rabbitmq", "")
	other.Prove.Evidence = kept
	err = g.Apply(other)
	mistakes, ok := errors.AsType[configs.Errors](err)
	if !ok || len(mistakes) != 1 || mistakes[0].Pos != other.Position("listeners", "front", "policy") ||
		!strings.Contains(mistakes[0].Reason, "suites TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384") {
		t.Fatal(err)
	}
	if g.current != before || g.ready() != nil {
		t.Error("the running configuration is another")
	}
	if now, err := os.ReadFile(kept); err != nil || !bytes.Equal(now, text) {
		t.Errorf("the evidence of what is in force has changed, %v", err)
	}
	g.waitCounted(`suitegate_prove_as_policy{listener="front"} 0`)

	// Unless that is only to be told.
	other.Prove.Mode = configs.ProveWarn
	if err := g.Apply(other); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(kept); err != nil || bytes.Equal(now, text) {
		t.Errorf("the evidence has not changed, %v", err)
	}
}

func TestProveRefusesStart(t *testing.T) {
	g := newGateway(t)
	g.built = lie
	if err := g.Apply(proofConfig(t, "rabbitmq", "")); err == nil || g.Address("front") != nil {
		t.Error(err)
	}
}

// Whom a server name refuses is part of the proof, and so is who gets fewer
// suites, and what comes before TLS.
func TestProveOverTCP(t *testing.T) {
	for _, more := range []string{"", ", server_name: known", ", server_name: required", ", proxy_protocol: {from: [127.0.0.0/8]}", ", client_certificates: {mode: request, ca: ca.pem}",
		", canary: {policy: activemq, clients: [127.0.0.0/8]}", ", canary: {policy: activemq, clients: [192.0.2.0/24]}"} {
		config := proofConfig(t, "rabbitmq", more)
		config.Prove.Evidence = ""
		g := newGateway(t)
		if strings.Contains(more, "ca.pem") {
			start(t, one("tcp", "rabbitmq", closedPort(t), "")) // makes the root
			root, err := os.ReadFile(filepath.Join(storage, "root.pem"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(config.Listeners[0].ClientCertificates.CA, root, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Apply(config); err != nil {
			t.Fatal(err)
		}
		config.Listeners[0].Address = g.Address("front").String()
		e, err := Prove(context.Background(), config, "test")
		if err != nil || e.Differences != 0 || e.Offers == 0 {
			t.Errorf("%s: %v, %+v", more, err, differences(config, e))
		}
		if c := g.current.routes[0].canary; c != nil {
			l := e.Listeners[0]
			if mine := len(c.Clients) > 0 && c.has(netip.MustParseAddr("127.0.0.1")); l.Policy.Name == "activemq" != mine || len(l.NotProved) != 1 {
				t.Errorf("%s: proved %s, not %q", more, l.Policy.Name, l.NotProved)
			}
			c.returned.Store(true) // which the configuration does not say
			if e, err := Prove(context.Background(), config, "test"); err != nil || e.Differences != 0 || e.Listeners[0].Policy.Name != "rabbitmq" {
				t.Errorf("%s: %v, proved %s: %+v", more, err, e.Listeners[0].Policy.Name, differences(config, e))
			}
		}
	}
}

// A name whose certificates have fewer types of key stands for itself; those
// that are like another do not.
func TestClientKinds(t *testing.T) {
	r := &route{Listener: configs.Listener{ServerName: configs.ServerNameKnown}}
	both, ecdsa := policy.Keys(policy.RSA, policy.ECDSAP256), policy.Keys(policy.ECDSAP256)
	kinds, missing := r.clientKinds([]nameKeys{{"127.0.0.1", both}, {"*.a.example", both}, {"b.example", both}, {"c.example", ecdsa}}, func() policy.KeySet { return 0 })
	var names []string
	for _, k := range kinds {
		names = append(names, k.serverName)
	}
	if got := fmt.Sprint(names); got != "[suitegate-prove.a.example c.example suitegate-prove.invalid]" || missing == "" {
		t.Errorf("%s, missing %q", got, missing)
	}
}

// What is kept of a proof is all of it.
func TestProofsAreKept(t *testing.T) {
	l := prove.Listener{Name: "a", Policy: prove.Policy{Name: "p", TLS13: []string{"x"}}, ProvedAt: time.Unix(1, 0).UTC(), NotProved: []string{"n"},
		Clients: []prove.Clients{{ServerName: "s", Keys: []string{"RSA"}, Cells: []prove.Cell{{Version: "TLSv1.3", Suites: []string{"x"}, Groups: []string{"g"}, Expected: "e", Got: "e"}}}}}
	var kept proofs
	content := func(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }
	kept.keep(content(1), l)
	if got, ok := kept.find(content(1)); !ok || !cmp.Equal(got, l) {
		t.Errorf("%t: %s", ok, cmp.Diff(l, got))
	}
	if _, ok := kept.find(content(2)); ok {
		t.Error("what was not kept is found")
	}
	for i := range 2 * maxProofs {
		kept.keep(content(i), l)
	}
	if len(kept) > maxProofs {
		t.Errorf("%d are kept", len(kept))
	}
	l.Clients[0].Cells[0].Got = "other"
	kept = nil
	if kept.keep(content(1), l); len(kept) > 0 {
		t.Error("one with a difference is kept")
	}
}

func BenchmarkProve(b *testing.B) {
	config, err := configs.Parse("gateway.yml", []byte("storage: "+storage+"\ncertificates: [{name: default, self_signed: {}}]\n"+one("tcp", "activemq", "127.0.0.1:1", "")))
	if err != nil {
		b.Fatal(err)
	}
	s := new(Server)
	next, err := s.build(context.Background(), config, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer next.close()
	for b.Loop() {
		s.proofs = nil
		e, err := s.prove(context.Background(), next)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(e.Offers), "offers")
	}
}

// What a listener can do changes with its certificates, after the start too: it
// is proved anew, and the gateway is unready if that shows a difference.
func TestProveAgain(t *testing.T) {
	entry, other := fileCertificate(t, "default", newKey(t, policy.RSA), x509.Certificate{}, "a.example"),
		fileCertificate(t, "default", newKey(t, policy.RSA), x509.Certificate{}, "b.example")
	config := parseWith(t, []string{entry}, one("tcp", "activemq", closedPort(t), ""))
	g := newGateway(t)
	if err := g.Apply(config); err != nil {
		t.Fatal(err)
	}
	before := *g.status().Proof
	g.proveAgain(t.Context())
	if *g.status().Proof != before {
		t.Error("nothing has changed, and it is proved again")
	}

	from, to := strings.Split(other, `"`), strings.Split(entry, `"`)
	for _, i := range []int{1, 3} {
		if err := os.Rename(from[i], to[i]); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); slices.Equal(g.current.proved, g.current.toProve()); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the new certificate is not served: %s", g.log.raw())
		}
	}
	g.proveAgain(t.Context())
	after := *g.status().Proof
	if after.SHA256 == before.SHA256 || after.Differences != 0 || after.Offers != before.Offers || g.ready() != nil {
		t.Errorf("%+v, %v", after, g.ready())
	}

	// It was right, and is not.
	lie(g.current)
	g.current.proved, g.proofs = nil, nil
	g.proveAgain(t.Context())
	if wrong := *g.status().Proof; wrong.Differences == 0 || g.ready() == nil {
		t.Errorf("%+v, %v", wrong, g.ready())
	}
	g.waitCounted(`suitegate_prove_as_policy{listener="front"} 0`)

	// A configuration that is as it says puts it right.
	if err := g.Apply(config); err != nil || g.ready() != nil {
		t.Errorf("%v, %v", err, g.ready())
	}
}
