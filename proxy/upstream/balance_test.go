package upstream

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// resting is a pool with nodes a, b, c, … of these weights that nobody dials.
func resting(balance Balance, weights ...int) *Pool {
	settings := Settings{Balance: balance}
	for i, w := range weights {
		settings.Nodes = append(settings.Nodes, Node{Address: string(rune('a'+i)) + ":1", Weight: w})
	}
	p := &Pool{Name: "rabbit"}
	// Literal addresses would do as well, and be harder to read.
	for _, n := range settings.Nodes {
		p.sources = append(p.sources, &source{Node: n, literal: true})
	}
	p.Configure(settings)
	return p
}

// name is a node without its port.
func name(b *Backend) string { return strings.TrimSuffix(b.Address, ":1") }

// turns are the next n nodes, whose connections stay.
func turns(p *Pool, n int) (names string) {
	for range n {
		names += name(p.take(somebody, nil))
	}
	return names
}

func TestWeightedRoundRobin(t *testing.T) {
	for _, test := range []struct {
		weights []int
		want    string
	}{
		{[]int{0, 0, 0}, "abcabcabc"},
		{[]int{5, 1, 1}, "aabacaaaabacaa"},
		{[]int{3, 2}, "ababaababa"},
		{[]int{1, 4}, "bbabbbbabb"},
		{[]int{7}, "aaa"},
	} {
		if got := turns(resting(RoundRobin, test.weights...), len(test.want)); got != test.want {
			t.Errorf("weights %v: %s, want %s", test.weights, got, test.want)
		}
	}
}

// Whatever weights nodes have, in any run of turns each gets its share, give or
// take less than one turn for each other node.
func TestRoundRobinShares(t *testing.T) {
	weights := []int{1, 17, 256, 3, 50}
	p := resting(RoundRobin, weights...)
	total, got := 0, make(map[string]int)
	for _, w := range weights {
		total += w
	}
	for n := 1; n <= 3*total; n++ {
		got[turns(p, 1)]++
		for i, w := range weights {
			node := string(rune('a' + i))
			if due := float64(n*w) / float64(total); math.Abs(float64(got[node])-due) >= float64(len(weights)) {
				t.Fatalf("after %d turns %s has %d, and is due %.1f", n, node, got[node], due)
			}
		}
	}
	for i, w := range weights {
		if node := string(rune('a' + i)); got[node] != 3*w {
			t.Errorf("%s has %d of %d turns, want %d", node, got[node], 3*total, 3*w)
		}
	}
}

func TestLeastConnections(t *testing.T) {
	p := resting(LeastConnections, 1, 1, 2)
	if got := turns(p, 8); count(got) != "a2 b2 c4" {
		t.Errorf("%s, want a2 b2 c4", got)
	}
	for range 2 {
		p.backends[1].Release()
	}
	if got := turns(p, 2); got != "bb" {
		t.Errorf("%s, want the node whose connections ended", got)
	}
	// Between equals it goes round, or the first would get everyone as long as
	// connections are short.
	p = resting(LeastConnections, 1, 1, 1)
	got := ""
	for range 6 {
		b := p.take(somebody, nil)
		got += name(b)
		b.Release()
	}
	if got != "abcabc" {
		t.Errorf("%s, want abcabc", got)
	}
}

// count says how often each letter is there.
func count(letters string) string {
	n := make(map[rune]int)
	for _, l := range letters {
		n[l]++
	}
	var words []string
	for _, l := range slices.Sorted(maps.Keys(n)) {
		words = append(words, fmt.Sprintf("%c%d", l, n[l]))
	}
	return strings.Join(words, " ")
}

func TestPriority(t *testing.T) {
	p := resting(Priority, 1, 100, 1)
	out := func(states ...State) {
		for i, s := range states {
			p.backends[i].state = s
		}
	}
	for _, test := range []struct {
		states []State
		want   string
	}{
		{[]State{StateUp, StateUp, StateUp}, "aaa"},
		{[]State{StateDown, StateUp, StateUp}, "bbb"},
		{[]State{StateEjected, StateDown, StateUp}, "ccc"},
		{[]State{StateDown, StateDown, StateDown}, "aaa"}, // tried all the same
		{[]State{StateUp, StateDown, StateUp}, "aaa"},     // it is back
	} {
		out(test.states...)
		if got := turns(p, 3); got != test.want {
			t.Errorf("%v: %s, want %s", test.states, got, test.want)
		}
	}
}

// What one client tries when nothing answers: who is up first, by the balance,
// and then who is out, in the order of the configuration; nobody who drains.
func TestOrderOfAttempts(t *testing.T) {
	for _, balance := range []Balance{RoundRobin, LeastConnections, SourceHash, Priority} {
		p := resting(balance, 1, 1, 1, 1, 1)
		p.backends[0].state, p.backends[2].state = StateDown, StateEjected
		p.draining = map[string]bool{"e:1": true}
		var tried []*Backend
		got := ""
		for b := p.take(somebody, tried); b != nil; b = p.take(somebody, tried) {
			tried = append(tried, b)
			got += name(b)
		}
		if got != "bdac" && got != "dbac" || balance == Priority && got != "bdac" {
			t.Errorf("%s: %s", balance, got)
		}
	}
}

// clients are many addresses, of both families.
func clients(n int) (list []netip.Addr) {
	for i := range n {
		if i%2 == 0 {
			list = append(list, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		} else {
			list = append(list, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)}))
		}
	}
	return list
}

// homes are the nodes of clients.
func homes(p *Pool, of []netip.Addr) map[netip.Addr]string {
	where := make(map[netip.Addr]string)
	for _, c := range of {
		b := p.take(c, nil)
		b.Release()
		where[c] = name(b)
	}
	return where
}

// The properties of rendezvous hashing: a client always comes to the same node,
// on every gateway and whatever the order of the nodes; shares go by weight; and
// when a node goes, comes or changes its weight, clients move from it or to it
// alone.
func TestSourceHash(t *testing.T) {
	const n = 20_000
	all := clients(n)
	p := resting(SourceHash, 1, 2, 3, 4)
	where := homes(p, all)
	if !maps.Equal(where, homes(p, all)) || !maps.Equal(where, homes(resting(SourceHash, 1, 2, 3, 4), all)) {
		t.Error("clients do not come to the same node again")
	}
	share := make(map[string]int)
	for _, node := range where {
		share[node]++
	}
	for i, node := range []string{"a", "b", "c", "d"} {
		// The hash is fixed, and so is what is counted: five standard deviations
		// are a bound on how good it is.
		q := float64(i+1) / 10
		if due, bound := q*n, 5*math.Sqrt(n*q*(1-q)); math.Abs(float64(share[node])-due) > bound {
			t.Errorf("%s has %d clients, and is due %.0f, give or take %.0f", node, share[node], due, bound)
		}
	}

	moved := func(why string, p *Pool, ok func(from, to string) bool) {
		t.Helper()
		moves := 0
		for c, to := range homes(p, all) {
			if from := where[c]; from != to {
				moves++
				if !ok(from, to) {
					t.Fatalf("%s: %v moved from %s to %s", why, c, from, to)
				}
			}
		}
		if moves == 0 {
			t.Errorf("%s: nobody moved", why)
		}
	}
	p.backends[2].state = StateDown
	moved("c is out", p, func(from, _ string) bool { return from == "c" })
	p.backends[2].state = StateUp
	p.draining = map[string]bool{"b:1": true}
	moved("b drains", p, func(from, _ string) bool { return from == "b" })
	moved("e is new", resting(SourceHash, 1, 2, 3, 4, 5), func(_, to string) bool { return to == "e" })
	moved("a weighs more", resting(SourceHash, 2, 2, 3, 4), func(_, to string) bool { return to == "a" })
	moved("d weighs less", resting(SourceHash, 1, 2, 3, 1), func(from, _ string) bool { return from == "d" })

	if got := uniform(somebody, "127.0.0.1:5672"); got != 0.41136137020382 {
		t.Errorf("the hash is another, %v: in a fleet with older gateways, clients have two homes", got)
	}
}

func TestSlowStart(t *testing.T) {
	p := resting(RoundRobin, 1, 4)
	now := time.Now()
	b := p.backends[1]
	for _, test := range []struct {
		up   time.Duration // for how long
		want float64
	}{
		{0, 0.4}, {time.Second, 0.4}, {5 * time.Second, 2}, {9 * time.Second, 3.6}, {10 * time.Second, 4}, {time.Hour, 4},
	} {
		b.upSince = now.Add(-test.up)
		if got := b.weightAt(now, 10*time.Second); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("up for %v it weighs %v, want %v", test.up, got, test.want)
		}
		if got := b.weightAt(now, 0); got != 4 {
			t.Errorf("without slow start it weighs %v", got)
		}
	}
	if got := p.backends[0].weightAt(now, time.Hour); got != 1 {
		t.Errorf("a node that was there from the beginning weighs %v", got)
	}

	// In its first second the node gets a tenth of its share: 0.4 to 1.
	p.settings.SlowStart, b.upSince = time.Hour, time.Now()
	if got := count(turns(p, 14)); got != "a10 b4" {
		t.Errorf("%s, want a10 b4", got)
	}
}
