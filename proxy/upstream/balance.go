package upstream

import (
	"hash/fnv"
	"io"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Balance is a way to spread clients over nodes. Each goes by the nodes'
// weights, but for Priority.
type Balance string

// The ways there are.
const (
	// RoundRobin gives each node its turn, evenly interleaved.
	RoundRobin Balance = "round_robin"

	// LeastConnections takes the node with the fewest open connections, in
	// proportion to its weight, and round robin between equals.
	LeastConnections Balance = "least_connections"

	// SourceHash goes by the client's address, so that a client comes to the
	// same node again, whichever gateway it comes through. When a node is out,
	// its clients are spread over the others, and no other client moves.
	SourceHash Balance = "source_hash"

	// Priority takes the first node that is up, in the order of the
	// configuration.
	Priority Balance = "priority"
)

// take picks the node to try next, and counts a connection to it. It returns nil
// when all have been tried that do not drain.
func (p *Pool) take(client netip.Addr, tried []*Backend) *Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fit, out []*Backend
	for _, b := range p.backends {
		switch {
		case slices.Contains(tried, b) || p.drainsNode(b):
		case b.fit():
			fit = append(fit, b)
		default:
			out = append(out, b)
		}
	}
	var b *Backend
	switch {
	case len(fit) > 0:
		b = p.choose(fit, client, time.Now())
	case len(out) > 0:
		b = out[0]
	default:
		return nil
	}
	b.connections++
	return b
}

// choose picks one of several nodes.
func (p *Pool) choose(from []*Backend, client netip.Addr, now time.Time) *Backend {
	weight := func(b *Backend) float64 { return b.weightAt(now, p.settings.SlowStart) }
	switch p.settings.Balance {
	case Priority:
		return from[0]
	case SourceHash:
		return rendezvous(from, client, weight)
	case LeastConnections:
		from = leastLoaded(from, weight)
	}
	return roundRobin(from, weight)
}

// roundRobin interleaves nodes smoothly: each turn everyone gains what it
// weighs, and who has most pays for all. Weights 5, 1, 1 give a a b a c a a.
func roundRobin(from []*Backend, weight func(*Backend) float64) *Backend {
	var total float64
	var best *Backend
	for _, b := range from {
		w := weight(b)
		b.turn += w
		total += w
		if best == nil || b.turn > best.turn {
			best = b
		}
	}
	best.turn -= total
	return best
}

// leastLoaded are those that would have the fewest connections for their weight
// with one more.
func leastLoaded(from []*Backend, weight func(*Backend) float64) []*Backend {
	var least []*Backend
	lowest := math.Inf(1)
	for _, b := range from {
		load := float64(b.connections+1) / weight(b)
		if load < lowest {
			least, lowest = least[:0:0], load
		}
		if load == lowest {
			least = append(least, b)
		}
	}
	return least
}

// rendezvous gives every pair of client and node a number and takes the highest
// (highest random weight; with -weight/ln(u) for u uniform in (0,1), a node wins
// in proportion to its weight).
func rendezvous(from []*Backend, client netip.Addr, weight func(*Backend) float64) *Backend {
	var best *Backend
	var highest float64
	for _, b := range from {
		if score := -weight(b) / math.Log(uniform(client, b.Address)); best == nil || score > highest {
			best, highest = b, score
		}
	}
	return best
}

// uniform is a number between 0 and 1 for a pair, the same on every gateway.
func uniform(client netip.Addr, node string) float64 {
	h := fnv.New64a()
	address := client.As16()
	_, _ = h.Write(address[:]) // a hash.Hash never fails
	_, _ = io.WriteString(h, node)
	// FNV's upper bits depend little on what was written last; the finalizer of
	// MurmurHash3 mixes all with all.
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return (float64(x>>12) + 0.5) / (1 << 52) // neither 0 nor, by rounding, 1
}
