package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/suitegate/suitegate/proxy/metrics"
)

// name gives a name its addresses; none takes it away.
func (w *world) name(host string, addresses ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.names, host)
	for _, a := range addresses {
		w.names[host] = append(w.names[host], netip.MustParseAddr(a))
	}
}

// nodesOf are the addresses of a pool, in order.
func nodesOf(p *Pool) string {
	var list []string
	for _, n := range p.Status().Nodes {
		list = append(list, n.Address)
	}
	return strings.Join(list, " ")
}

// The pods of a headless service come and go; those that stay keep what is
// known of them, and what is new starts slowly.
func TestHeadlessService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{names: make(map[string][]netip.Addr), nodes: map[string]behaviour{"10.0.0.1:1": client, "10.0.0.3:1": client}}
		w.name("rabbit.svc", "10.0.0.2", "2001:db8::1", "10.0.0.1", "::ffff:10.0.0.2")
		p, stop := w.pool(t, Settings{SlowStart: time.Hour, ResolveInterval: 10 * time.Second}, "rabbit.svc:1", "9.9.9.9:1")
		defer stop()
		synctest.Wait()
		if got, want := nodesOf(p), "10.0.0.1:1 10.0.0.2:1 [2001:db8::1]:1 9.9.9.9:1"; got != want {
			t.Fatalf("nodes %s, want %s", got, want)
		}
		if n := p.Status().Nodes; n[1].Name != "rabbit.svc:1" || n[3].Name != "" {
			t.Errorf("%+v", n)
		}
		for range 4 { // one turn each; all but the first are out then
			_, _, _ = p.Dial(t.Context(), somebody)
		}
		if got := states(p); got != "up ejected ejected ejected" {
			t.Error(got)
		}

		w.name("rabbit.svc", "10.0.0.3", "10.0.0.2")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got, want := nodesOf(p), "10.0.0.2:1 10.0.0.3:1 9.9.9.9:1"; got != want {
			t.Errorf("nodes %s, want %s", got, want)
		}
		if got := states(p); got != "ejected up ejected" {
			t.Error(got)
		}
		if b := p.backends[1]; b.upSince.IsZero() || p.backends[2].upSince != (time.Time{}) {
			t.Error("what is new does not start slowly, or what is old does")
		}

		// A failure changes nothing but the log, once.
		w.name("rabbit.svc")
		time.Sleep(time.Minute)
		if got, want := nodesOf(p), "10.0.0.2:1 10.0.0.3:1 9.9.9.9:1"; got != want {
			t.Errorf("nodes %s, want %s", got, want)
		}
		if n := strings.Count(w.log.String(), "name cannot be resolved"); n != 1 {
			t.Errorf("%d lines:\n%s", n, &w.log)
		}
		w.name("rabbit.svc", "10.0.0.3")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := nodesOf(p); got != "10.0.0.3:1 9.9.9.9:1" || !strings.Contains(w.log.String(), "name is resolved again") {
			t.Errorf("nodes %s", got)
		}
	})
}

// A name that does not exist at the beginning refuses clients, is asked for
// again soon, and by a client that waits at once.
func TestNameComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{names: make(map[string][]netip.Addr), nodes: map[string]behaviour{"10.0.0.1:1": client}}
		p, stop := w.pool(t, Settings{}, "late.svc:1")
		defer stop()
		_, _, err := p.Dial(t.Context(), somebody)
		if failed, ok := errors.AsType[*DialError](err); !ok || failed.Reason() != "upstream_dns" || !strings.Contains(err.Error(), "late.svc") {
			t.Error(err)
		}
		if n := p.Status().Nodes; len(n) != 1 || n[0].State != StateUnresolved || n[0].Name != "late.svc:1" || n[0].Up() {
			t.Errorf("%+v", n)
		}
		w.name("late.svc", "10.0.0.1")
		if _, b, err := p.Dial(t.Context(), somebody); err != nil || b.Address != "10.0.0.1:1" {
			t.Error(b, err)
		}

		w.name("later.svc")
		p.Configure(Settings{Nodes: []Node{{Address: "later.svc:1"}}})
		time.Sleep(10 * time.Second)
		w.name("later.svc", "10.0.0.1")
		between(t, "to find it", until(t, p, "up"), 0, 8*time.Second)
		if b := p.backends[0]; !b.upSince.IsZero() {
			t.Error("the first addresses of a name start slowly")
		}
	})
}

// Clients that wait for a name ask together, and addresses are never asked for.
func TestLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{names: make(map[string][]netip.Addr)}
		p, stop := w.pool(t, Settings{}, "1.1.1.1:1", "[::1]:1", "localhost:1", "[fe80::1%lo]:1")
		time.Sleep(time.Hour)
		_, _, _ = p.Dial(t.Context(), somebody)
		if w.looked > 0 {
			t.Errorf("%d lookups of addresses", w.looked)
		}
		stop()

		release := make(chan struct{})
		p = &Pool{Name: "rabbit"}
		p.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
			<-release
			w.mu.Lock()
			defer w.mu.Unlock()
			w.looked++
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}
		p.dial = func(ctx context.Context, _ string) (net.Conn, error) { return client(ctx) }
		p.Configure(Settings{Nodes: []Node{{Address: "slow.svc:1"}, {Address: "slow.svc:2"}}})
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				if _, _, err := p.Dial(t.Context(), somebody); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		waiting.Wait()
		if w.looked > 2 {
			t.Errorf("%d lookups for 100 clients of two nodes of one name", w.looked)
		}
	})
}

// A name drains with all of its addresses, those of tomorrow too; an address
// drains until it is gone.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{names: make(map[string][]netip.Addr), nodes: map[string]behaviour{"1.1.1.1:1": client, "10.0.0.1:1": client, "10.0.0.2:1": client}}
		w.name("rabbit.svc", "10.0.0.1")
		p, stop := w.pool(t, Settings{Balance: Priority, ResolveInterval: time.Second}, "rabbit.svc:1", "1.1.1.1:1")
		defer stop()
		synctest.Wait()
		dials := func(want string) *Backend {
			t.Helper()
			_, b, err := p.Dial(t.Context(), somebody)
			if err != nil {
				if failed, ok := errors.AsType[*DialError](err); !ok || failed.Reason() != want {
					t.Errorf("%v, want %s", err, want)
				}
			} else if b.Address != want {
				t.Errorf("%s, want %s", b.Address, want)
			}
			return b
		}
		drain := func(node string, on bool, want Drained) {
			t.Helper()
			if got, err := p.Drain(node, on); got != want || err != nil {
				t.Errorf("Drain(%s, %t) = %v, %v, want %v", node, on, got, err, want)
			}
		}
		stays := dials("10.0.0.1:1")
		drain("rabbit.svc:1", true, Drained{true, 1})
		drain("rabbit.svc:1", true, Drained{false, 1})
		if n := p.Status().Nodes[0]; !n.Draining || n.Connections != 1 || n.State != StateUp || n.Up() {
			t.Errorf("%+v", n)
		}
		w.name("rabbit.svc", "10.0.0.1", "10.0.0.2")
		time.Sleep(time.Second)
		dials("1.1.1.1:1").Release()
		drain("1.1.1.1:1", true, Drained{true, 0})
		dials("upstream_drained")
		drain("rabbit.svc:1", false, Drained{true, 1})
		stays.Release()

		drain("10.0.0.1:1", true, Drained{true, 0})
		dials("10.0.0.2:1").Release()
		w.name("rabbit.svc", "10.0.0.2")
		time.Sleep(time.Second)
		w.name("rabbit.svc", "10.0.0.1", "10.0.0.2")
		time.Sleep(time.Second)
		synctest.Wait()
		dials("10.0.0.1:1").Release()

		// Reloads keep it, as long as the node is there.
		p.Configure(Settings{Balance: Priority, Nodes: []Node{{Address: "1.1.1.1:1", Weight: 7}, {Address: "rabbit.svc:1"}}})
		if n := p.Status().Nodes; !n[0].Draining || n[0].Weight != 7 {
			t.Errorf("%+v", n)
		}
		p.Configure(Settings{Nodes: []Node{{Address: "rabbit.svc:1"}}})
		if _, err := p.Drain("1.1.1.1:1", false); !errors.Is(err, ErrUnknownNode) {
			t.Error(err)
		}
		p.Configure(Settings{Nodes: []Node{{Address: "1.1.1.1:1"}}})
		dials("1.1.1.1:1").Release()
		for _, n := range p.Status().Nodes {
			if n.Connections != 0 {
				t.Errorf("%+v", n)
			}
		}
	})
}

// Addresses that are gone leave no series behind.
func TestNodesLeaveTheMetrics(t *testing.T) {
	p := pool(listen(t, "127.0.0.1:0"))
	p.Metrics = metrics.New()
	dial(t, p)
	const dials = "suitegate_upstream_dials_total"
	if n, err := testutil.GatherAndCount(p.Metrics.Registry(), dials); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	p.Configure(Settings{Nodes: []Node{{Address: refusing(t)}}})
	if n, err := testutil.GatherAndCount(p.Metrics.Registry(), dials); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// Everything at once, for the race detector: clients, reloads, drains and
// scrapes. In the end no connection is counted.
func TestConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{names: make(map[string][]netip.Addr), nodes: map[string]behaviour{"1.1.1.1:1": client, "2.2.2.2:1": blackHole, "10.0.0.1:1": client}}
		w.name("rabbit.svc", "10.0.0.1", "10.0.0.2")
		settings := func(i int) Settings {
			nodes := []Node{{Address: "1.1.1.1:1"}, {Address: "2.2.2.2:1"}, {Address: "3.3.3.3:1"}, {Address: "rabbit.svc:1"}}
			balance := []Balance{RoundRobin, LeastConnections, SourceHash, Priority}[i%4]
			s := Settings{Nodes: slices.Concat(nodes[:1], nodes[1+i%3:]), Balance: balance, ConnectTimeout: time.Second, SlowStart: time.Duration(i%2) * time.Second}
			if i%3 == 0 {
				s.Check = Checker{Protocol: TCP, Interval: 100 * time.Millisecond}
			}
			return s
		}
		p, stop := w.pool(t, settings(0))
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				for range 50 {
					if _, b, err := p.Dial(t.Context(), netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})); err == nil {
						time.Sleep(100 * time.Millisecond)
						b.Release()
					}
				}
			})
		}
		all.Go(func() {
			for i := range 100 {
				p.Configure(settings(i))
				_, _ = p.Drain("1.1.1.1:1", i%2 == 0)
				w.name("rabbit.svc", fmt.Sprintf("10.0.0.%d", i%5))
				_ = p.Status()
				time.Sleep(137 * time.Millisecond)
			}
		})
		all.Wait()
		p.mu.Lock()
		for _, b := range p.backends {
			if b.connections != 0 {
				t.Errorf("%s has %d connections", b.Address, b.connections)
			}
		}
		p.mu.Unlock()
		stop()
	})
}
