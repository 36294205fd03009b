package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A world is where nodes live in tests that have a clock of their own.
type world struct {
	mu     sync.Mutex
	nodes  map[string]behaviour // those that are not here refuse
	asked  map[string][]time.Duration
	began  time.Time
	names  map[string][]netip.Addr // those that are not here do not exist
	looked int
	log    bytes.Buffer
}

// behaviour is what becomes of a connection to a node.
type behaviour func(ctx context.Context) (net.Conn, error)

// accepts is a node that does something with its connections.
func accepts(serve func(net.Conn)) behaviour {
	return func(context.Context) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			serve(there)
		}()
		return here, nil
	}
}

// works answers the header of AMQP with another, which is an answer.
func works(conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, 8)); err == nil {
		_, _ = io.WriteString(conn, "AMQP\x00\x01\x00\x00")
	}
}

func mute(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func blackHole(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
}

func failing(err error) behaviour {
	return func(context.Context) (net.Conn, error) { return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err} }
}

// client is a connection of the only kind that Dial returns.
func client(context.Context) (net.Conn, error) { return new(net.TCPConn), nil }

// set changes how a node behaves.
func (w *world) set(node string, b behaviour) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[node] = b
}

// times are when connections to a node began.
func (w *world) times(node string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked[node])
}

// pool is a pool in the world, started, until stop is called.
func (w *world) pool(t *testing.T, settings Settings, nodes ...string) (p *Pool, stop func()) {
	t.Helper()
	w.asked, w.began = make(map[string][]time.Duration), time.Now()
	if w.nodes == nil {
		w.nodes = make(map[string]behaviour)
	}
	for _, n := range nodes {
		settings.Nodes = append(settings.Nodes, Node{Address: n})
	}
	p = &Pool{Name: "rabbit", Log: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "error" || a.Key == "for" {
				return slog.Attr{}
			}
			return a
		},
	}))}
	p.dial = func(ctx context.Context, address string) (net.Conn, error) {
		w.mu.Lock()
		behave := w.nodes[address]
		w.asked[address] = append(w.asked[address], time.Since(w.began))
		w.mu.Unlock()
		if behave == nil {
			behave = failing(syscall.ECONNREFUSED)
		}
		return behave(ctx)
	}
	p.lookup = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.looked++
		if found, ok := w.names[host]; ok {
			return slices.Clone(found), nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	p.Configure(settings)
	p.Start()
	return p, p.Stop
}

// states are those of the nodes, in order: "up down".
func states(p *Pool) string {
	var words []string
	for _, n := range p.Status().Nodes {
		words = append(words, string(n.State))
	}
	return strings.Join(words, " ")
}

// until is how long it takes until the nodes are in these states, to 10 ms.
func until(t *testing.T, p *Pool, want string) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if states(p) == want {
			return time.Since(began)
		}
		if time.Since(began) > time.Hour {
			t.Fatalf("the nodes are %q, want %q", states(p), want)
		}
	}
}

func between(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high+10*time.Millisecond {
		t.Errorf("%s took %v, want %v to %v", what, got, low, high)
	}
}

// A node that accepts and says nothing is down in time, comes back when it
// answers again, and the log has one line for each.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{nodes: map[string]behaviour{"1.1.1.1:1": accepts(works)}}
		p, stop := w.pool(t, Settings{Check: Checker{Protocol: AMQP}}, "1.1.1.1:1")
		defer stop()
		time.Sleep(time.Minute)
		if n := len(w.times("1.1.1.1:1")); n < 30 || n > 35 {
			t.Errorf("%d checks in a minute, every two seconds", n)
		}
		w.set("1.1.1.1:1", accepts(mute))
		between(t, "the fall", until(t, p, "down"), 3*2*time.Second+2*1800*time.Millisecond, 3*4*time.Second)
		if n := p.Status().Nodes[0]; n.Reason != "check_no_answer" || n.Up() || n.CheckMillis < 1999 || n.CheckedAt.IsZero() {
			t.Errorf("%+v", n)
		}
		w.set("1.1.1.1:1", accepts(works))
		between(t, "the rise", until(t, p, "up"), 1800*time.Millisecond, 2*2*time.Second+2*time.Second)
		time.Sleep(time.Minute)
		if got, want := w.log.String(), `level=WARN msg="node is down" upstream=rabbit node=1.1.1.1:1 state=down was=up reason=check_no_answer
level=INFO msg="node is up" upstream=rabbit node=1.1.1.1:1 state=up was=down
`; got != want {
			t.Errorf("log:\n%s\nwant:\n%s", got, want)
		}
	})
}

// What the first check says holds at once, and then it takes more than one.
func TestFirstCheckDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		p, stop := w.pool(t, Settings{Check: Checker{Protocol: TCP, Interval: 10 * time.Second}}, "1.1.1.1:1")
		defer stop()
		between(t, "the first check", until(t, p, "down"), 0, 2*time.Second)
		w.set("1.1.1.1:1", accepts(mute))
		until(t, p, "up")
		w.set("1.1.1.1:1", nil)
		between(t, "the fall", until(t, p, "down"), 2*9*time.Second, 3*10*time.Second)
	})
}

// Without checks a failed connection takes a node out; connections of the
// pool's own, further and further apart, bring it back.
func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{nodes: map[string]behaviour{"2.2.2.2:1": client}}
		p, stop := w.pool(t, Settings{}, "1.1.1.1:1", "2.2.2.2:1")
		defer stop()
		time.Sleep(time.Hour)
		if asked := w.times("1.1.1.1:1"); len(asked) > 0 {
			t.Errorf("a node that is well is asked: %v", asked)
		}
		w.began = time.Now()
		for range 10 {
			if _, b, err := p.Dial(t.Context(), somebody); err != nil || b.Address != "2.2.2.2:1" {
				t.Fatal(b, err)
			}
		}
		if n := len(w.times("1.1.1.1:1")); n != 1 || states(p) != "ejected up" {
			t.Errorf("%d clients tried the node that is down, want one: %s", n, states(p))
		}
		time.Sleep(time.Minute)
		for i, gap := range []time.Duration{1, 2, 4, 8, 10, 10} {
			asked := w.times("1.1.1.1:1")
			between(t, "a pause", asked[i+1]-asked[i], gap*900*time.Millisecond, gap*time.Second)
		}
		w.set("1.1.1.1:1", client)
		between(t, "the return", until(t, p, "up up"), 0, 10*time.Second)
		asked := len(w.times("1.1.1.1:1"))
		time.Sleep(time.Hour)
		if len(w.times("1.1.1.1:1")) != asked {
			t.Error("it is asked although it is well")
		}
		// The next time is short again.
		w.set("1.1.1.1:1", nil)
		for range 2 {
			_, _, _ = p.Dial(t.Context(), somebody)
		}
		w.set("1.1.1.1:1", client)
		between(t, "the second return", until(t, p, "up up"), 0, time.Second)
		if n := strings.Count(w.log.String(), "node is down"); n != 2 {
			t.Errorf("%d lines, want one for each time:\n%s", n, &w.log)
		}
	})
}

// When all nodes are out a client tries them all the same, in their order, and
// one that succeeds is up.
func TestAllNodesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		p, stop := w.pool(t, Settings{}, "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1")
		defer stop()
		for range 2 {
			_, _, err := p.Dial(t.Context(), somebody)
			var failed *DialError
			if !errors.As(err, &failed) || len(failed.Nodes) != 3 || failed.Reason() != "upstream_refused" {
				t.Fatal(err)
			}
		}
		w.set("2.2.2.2:1", client)
		if _, b, err := p.Dial(t.Context(), somebody); err != nil || b.Address != "2.2.2.2:1" || states(p) != "ejected up ejected" {
			t.Errorf("%v, %v, %s", b, err, states(p))
		}
	})
}

// ActiveMQ's pair: the standby's port is closed until it takes over.
func TestPriorityPair(t *testing.T) {
	const first, second = "1.1.1.1:1", "2.2.2.2:1"
	checker := Checker{Protocol: TCP, Interval: time.Second, Timeout: time.Second, Rise: 1, Fall: 2}
	synctest.Test(t, func(t *testing.T) {
		w := &world{nodes: map[string]behaviour{first: client}}
		p, stop := w.pool(t, Settings{Balance: Priority, Check: checker}, first, second)
		defer stop()
		dials := func(want string) {
			t.Helper()
			_, b, err := p.Dial(t.Context(), somebody)
			if err != nil || b.Address != want {
				t.Errorf("%v, %v, want %s", b, err, want)
			}
		}
		until(t, p, "up down")
		dials(first)

		// The active one stops: refused at once, and then by the checks.
		w.set(first, nil)
		w.set(second, client)
		dials(second)
		between(t, "the switch", until(t, p, "down up"), 0, 2*time.Second)

		// The other one is back, as standby, and takes over again; nobody dials.
		w.set(second, nil)
		w.set(first, client)
		between(t, "the switch back", until(t, p, "up down"), 0, 2*time.Second)
		dials(first)

		// The active one's machine is gone.
		w.set(first, blackHole)
		w.set(second, client)
		between(t, "the switch from a black hole", until(t, p, "down up"), 0, 4*time.Second)
		began := time.Now()
		dials(second)
		between(t, "a connection", time.Since(began), 0, 0)

		// Both are active: the first one has priority.
		w.set(first, client)
		until(t, p, "up up")
		dials(first)
	})
}

// A client does not wait for the connect timeout of every node, and a node that
// had less than that is not to blame.
func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hole := map[string]behaviour{"1.1.1.1:1": blackHole, "2.2.2.2:1": blackHole, "3.3.3.3:1": blackHole}
		w := &world{nodes: hole}
		p, stop := w.pool(t, Settings{ConnectTimeout: 2 * time.Second, DialTimeout: 5 * time.Second}, "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1")
		began := time.Now()
		_, _, err := p.Dial(t.Context(), somebody)
		between(t, "it", time.Since(began), 5*time.Second, 5*time.Second)
		if failed, ok := errors.AsType[*DialError](err); !ok || failed.Reason() != "upstream_timeout" || len(failed.Nodes) != 3 {
			t.Error(err)
		}
		if states(p) != "ejected ejected up" {
			t.Error(states(p))
		}
		stop()

		w = &world{nodes: hole}
		p, stop = w.pool(t, Settings{ConnectTimeout: 2 * time.Second}, "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1")
		defer stop()
		began = time.Now()
		_, _, err = p.Dial(t.Context(), somebody)
		between(t, "by default it", time.Since(began), 4*time.Second, 4*time.Second)
		if failed, ok := errors.AsType[*DialError](err); !ok || len(failed.Nodes) != 2 {
			t.Error(err)
		}
	})
}

// What this machine lacks is no node's fault, and what a client's end cuts
// short is not either.
func TestNotTheNodesFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{nodes: map[string]behaviour{"1.1.1.1:1": failing(syscall.EMFILE)}}
		p, stop := w.pool(t, Settings{Check: Checker{Protocol: TCP}}, "1.1.1.1:1")
		defer stop()
		time.Sleep(time.Minute)
		if _, _, err := p.Dial(t.Context(), somebody); err == nil || states(p) != "up" {
			t.Errorf("%v: %s", err, states(p))
		}
		w.set("1.1.1.1:1", blackHole)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := p.Dial(ctx, somebody); err == nil || states(p) != "up" {
			t.Errorf("%v: %s", err, states(p))
		}
	})
}

// Checks of many nodes do not go off together, and those of a node do not pile
// up.
func TestChecksAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{nodes: make(map[string]behaviour)}
		var mu sync.Mutex
		open := make(map[string]int)
		var nodes []string
		for i := range 100 {
			node := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1).String()
			nodes = append(nodes, node)
			w.nodes[node] = accepts(func(conn net.Conn) {
				mu.Lock()
				if open[node]++; open[node] > 1 {
					t.Errorf("%d checks of %s at once", open[node], node)
				}
				mu.Unlock()
				mute(conn)
				mu.Lock()
				open[node]--
				mu.Unlock()
			})
		}
		_, stop := w.pool(t, Settings{Check: Checker{Protocol: STOMP, Interval: time.Second, Timeout: 3 * time.Second}}, nodes...)
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		firsts, late := make(map[time.Duration]bool), make(map[time.Duration]bool)
		for _, node := range nodes {
			asked := w.times(node)
			firsts[asked[0].Round(time.Millisecond)], late[asked[10].Round(time.Millisecond)] = true, true
			if asked[0] > time.Second || len(asked) < 14 || len(asked) > 16 {
				t.Errorf("%s was asked first after %v, and %d times", node, asked[0], len(asked))
			}
		}
		if len(firsts) < 50 || len(late) < 50 {
			t.Errorf("the checks of 100 nodes go off at %d, and later %d, different times", len(firsts), len(late))
		}
	})
}

// Settings change in place: a check that goes takes its verdict with it.
func TestChecksSwitched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{nodes: map[string]behaviour{"1.1.1.1:1": accepts(mute)}}
		nodes := []Node{{Address: "1.1.1.1:1"}}
		p, stop := w.pool(t, Settings{Check: Checker{Protocol: MQTT}}, "1.1.1.1:1")
		defer stop()
		until(t, p, "down")
		p.Configure(Settings{Nodes: nodes})
		if p.Status().Check != nil {
			t.Error("the check is not gone")
		}
		between(t, "the return", until(t, p, "up"), 0, time.Second)
		p.Configure(Settings{Nodes: nodes, Check: Checker{Protocol: AMQP, Interval: time.Minute}})
		between(t, "the fall", until(t, p, "down"), 0, 2*time.Second+2*time.Second)
		w.set("1.1.1.1:1", accepts(works))
		p.Configure(Settings{Nodes: nodes, Check: Checker{Protocol: AMQP, Interval: time.Second, Rise: 1}})
		between(t, "the new interval", until(t, p, "up"), 0, time.Second)
	})
}

// Every check, in turn, of a broker that does what is right and of one that
// does not.
func TestProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := func(answer string) behaviour {
			return accepts(func(conn net.Conn) {
				go func() { _, _ = io.WriteString(conn, answer) }()
				_, _ = io.Copy(io.Discard, bufio.NewReader(conn))
			})
		}
		for _, test := range []struct {
			protocol Protocol
			node     behaviour
			want     string
		}{
			{TCP, accepts(mute), "ok"},
			{TCP, failing(syscall.ECONNREFUSED), "upstream_refused"},
			{TCP, blackHole, "upstream_timeout"},
			{AMQP, accepts(works), "ok"},
			{AMQP, accepts(func(net.Conn) {}), "check_closed"},
			{MQTT, says("\x20\x02\x00\x05"), "ok"},
			{MQTT, says("HTTP/1.1 400"), "check_wrong_answer"},
			{MQTT, says("\x20\x02"), "check_no_answer"},
			{STOMP, says("ERROR\nmessage:no\n\nwho are you?\x00"), "ok"},
			{STOMP, accepts(mute), "check_no_answer"},
			{OpenWire, says(openWireInfo), "ok"},
			{OpenWire, says("\x00\x00\x00\x01\x1e"), "check_wrong_answer"},
		} {
			w := &world{nodes: map[string]behaviour{"1.1.1.1:1": test.node}}
			p, stop := w.pool(t, Settings{}, "1.1.1.1:1")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if got := resultOf(p.probe(ctx, p.backends[0], test.protocol, &p.settings)); got != test.want {
				t.Errorf("%s: %s, want %s", test.protocol, got, test.want)
			}
			cancel()
			stop()
		}
	})
}

// Rise and fall count checks in a row.
func TestRiseAndFall(t *testing.T) {
	for _, test := range []struct {
		checks string // + and -
		want   string // u, d after each
	}{
		{"+--+--+---", "uuuuuuuuud"},
		{"-+-++", "ddddu"},
		{"--+", "ddd"},
		{"+++---+-++", "uuuuuddddu"},
	} {
		p := resting(RoundRobin, 1)
		got := ""
		for _, result := range test.checks {
			var err error
			if result == '-' {
				err = errAnswer
			}
			p.backends[0].judge(err, Checker{Protocol: AMQP, Rise: 2, Fall: 3})
			got += string(p.backends[0].state)[:1]
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.checks, got, test.want)
		}
		if back := strings.Contains(test.want, "du"); back == p.backends[0].upSince.IsZero() {
			t.Errorf("%s: up since %v", test.checks, p.backends[0].upSince)
		}
	}
}

// Nobody asks for a node that is gone.
func TestNodeGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		p, stop := w.pool(t, Settings{Check: Checker{Protocol: TCP}}, "1.1.1.1:1", "2.2.2.2:1")
		defer stop()
		time.Sleep(time.Minute)
		p.Configure(Settings{Nodes: []Node{{Address: "2.2.2.2:1"}}, Check: Checker{Protocol: TCP}})
		synctest.Wait()
		gone, stays := len(w.times("1.1.1.1:1")), len(w.times("2.2.2.2:1"))
		time.Sleep(time.Minute)
		if n := len(w.times("1.1.1.1:1")); n != gone {
			t.Errorf("%d checks of a node that is gone", n-gone)
		}
		if n := len(w.times("2.2.2.2:1")); n < stays+30 {
			t.Errorf("%d checks of the other one", n-stays)
		}
	})
}
