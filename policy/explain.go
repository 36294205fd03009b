package policy

import (
	"cmp"
	"slices"
)

// Trace is how a policy comes to decide on a client.
type Trace struct {
	Steps    []Step
	Unserved []Unserved // suites of the policy that the listener cannot serve, whoever asks
	Decision Decision   // zero if the client is refused
	Refusal  *Refusal   // nil if it is let in

	// Change is the smallest addition that would let a refused client in, and
	// After what it would get then. Nil if it needs none, or none would help.
	Change *Change
	After  Decision
}

// Change is an addition to a policy and to what a listener serves it with.
// Nobody needs more than one of each to be let in. A zero field adds nothing.
type Change struct {
	Suite Suite
	Group Group
	Key   KeyType // of one more certificate
}

// Explain binds the policy to what a listener has and decides on an offer, as
// [Policy.Bind] and [Policy.Select] do, and says how. It takes the very same
// steps as Select.
//
// A client that is refused has [Trace.Change], if there is one: the change of
// the fewest additions that lets this client in, found by trying. Of equal ones
// a group comes before a suite and a suite before a key, then what is forward
// secret and what is an AEAD. It is an answer to what would let the client in,
// not to whether that is wise.
func (p *Policy) Explain(have Have, o Offer) *Trace {
	bound, unserved := p.Bind(have)
	var tr tracer
	t := &Trace{Unserved: unserved}
	t.Decision, t.Refusal = bound.decide(&o, &tr)
	t.Steps = tr.steps
	if t.Refusal != nil {
		t.Change, t.After = p.smallestChange(have, &o)
	}
	return t
}

// With returns a copy of the policy with the change's suite and group, where it
// does not have them yet, behind its own in the order of preference. The key is
// the listener's matter.
//
// It can change what others get, too: a first suite of TLS 1.3 brings those who
// speak it there, a post-quantum group comes before any other, and a first
// finite field group takes the place of the usual ones.
func (p *Policy) With(c Change) *Policy {
	changed := *p
	if suite := c.Suite; suite.ID != 0 {
		if suite.TLS13() {
			changed.TLS13 = appended(p.TLS13, suite)
		} else {
			changed.TLS12 = appended(p.TLS12, suite)
			if p.order != nil {
				changed.order = appended(p.order, suite)
			}
		}
	}
	if c.Group != 0 {
		changed.Groups = appended(p.Groups, c.Group)
	}
	if p.fips {
		return changed.FIPS()
	}
	return &changed
}

// appended leaves the list as it is.
func appended[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	return append(slices.Clone(list), item)
}

// with is what a listener has after the change.
func (h Have) with(c Change) Have {
	if c.Key != NoKey {
		h.Keys = appended(h.Keys, c.Key)
	}
	return h
}

// size is the number of additions.
func (c Change) size() int {
	n := 0
	for _, adds := range []bool{c.Suite.ID != 0, c.Group != 0, c.Key != NoKey} {
		if adds {
			n++
		}
	}
	return n
}

// smallestChange tries all changes that could matter to the client, the
// smallest first.
func (p *Policy) smallestChange(have Have, o *Offer) (*Change, Decision) {
	suites, groups, keys := p.missing(have, o)
	for size := 1; size <= 3; size++ {
		for _, key := range keys {
			for _, suite := range suites {
				for _, group := range groups {
					c := Change{suite, group, key}
					if c.size() != size {
						continue
					}
					bound, _ := p.With(c).Bind(have.with(c))
					if after, refusal := bound.decide(o, nil); refusal == nil {
						return &c, after
					}
				}
			}
		}
	}
	return nil, Decision{}
}

// missing is what the client offers and the policy does not have, and the keys
// that the listener does not have, the best first, but each behind nothing at
// all.
func (p *Policy) missing(have Have, o *Offer) (suites []Suite, listed []Group, keys []KeyType) {
	suites, listed, keys = []Suite{{}}, []Group{0}, []KeyType{NoKey}
	for _, s := range registry {
		if p.fips && !s.FIPS() {
			continue
		}
		if slices.Contains(o.Suites, s.ID) && !slices.Contains(p.TLS12, s) && !slices.Contains(p.TLS13, s) {
			suites = append(suites, s)
		}
	}
	slices.SortStableFunc(suites[1:], func(a, b Suite) int { return cmp.Compare(weakness(a), weakness(b)) })
	for i := range groups {
		if g := groups[i].group; p.fips && !g.FIPS() {
			continue
		} else if slices.Contains(o.Groups, g) && !slices.Contains(p.Groups, g) {
			listed = append(listed, g)
		}
	}
	for _, k := range keyPreference {
		if !slices.Contains(have.Keys, k) {
			keys = append(keys, k)
		}
	}
	return suites, listed, keys
}
