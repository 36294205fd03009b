package upstream

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// source is a node of the configuration, which backends are made of: one, or
// those of a name.
type source struct {
	Node
	host, port string
	literal    bool // host is an address, or localhost: there is nothing to resolve

	addresses []netip.Addr // that host has, sorted; none until it was resolved
	failing   bool         // the newest resolution did
	since     time.Time    // it is known
	settled   bool         // what is new from now on has come up

	interval time.Duration // of the goroutine that resolves
	stop     context.CancelFunc
}

func newSource(n Node) *source {
	s := &source{Node: n, since: time.Now()}
	var err error
	s.host, s.port, err = net.SplitHostPort(n.Address)
	_, notIP := netip.ParseAddr(s.host)
	s.literal = err != nil || notIP == nil || s.host == "localhost" // what is no host:port fails when it is dialed
	s.settled = s.literal
	return s
}

// resource makes the sources those of the settings, and keeps what is known of
// those that stay.
func (p *Pool) resource() {
	var sources []*source
	for _, n := range p.settings.Nodes {
		i := slices.IndexFunc(p.sources, func(s *source) bool { return s.Address == n.Address })
		if i < 0 {
			sources = append(sources, newSource(n))
			continue
		}
		p.sources[i].Weight = n.Weight
		sources = append(sources, p.sources[i])
	}
	for _, s := range p.sources {
		if s.stop != nil && !slices.Contains(sources, s) {
			s.stop()
		}
	}
	p.sources = sources
	for _, s := range p.sources {
		p.startSource(s)
	}
}

// startSource has a name resolved every interval, if the pool is started.
func (p *Pool) startSource(s *source) {
	interval := cmp.Or(p.settings.ResolveInterval, DefaultResolveInterval)
	if p.running == nil || s.literal || s.stop != nil && s.interval == interval {
		return
	}
	if s.stop != nil {
		s.stop()
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(p.running)
	s.interval = interval
	p.tasks.Go(func() { p.keepResolving(ctx, s, interval) })
}

// keepResolving resolves a name at once and then every interval, and more often
// while that fails.
func (p *Pool) keepResolving(ctx context.Context, s *source, interval time.Duration) {
	const soonest = time.Second
	retry := soonest
	for {
		wait := jitter(interval)
		if _, err, _ := p.lookups.Do(s.host, func() (any, error) { return nil, p.resolve(s.host) }); err != nil {
			wait = jitter(min(retry, interval))
			retry = min(2*retry, interval)
		} else {
			retry = soonest
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// jitter shortens a time by up to a tenth, so that what begins together does
// not go on together.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

// resolve looks a host up, and gives all nodes of that name its addresses. When
// that fails they keep those that they have.
func (p *Pool) resolve(host string) error {
	p.mu.Lock()
	ctx, timeout, lookup := p.running, p.settings.connectTimeout(), p.lookup
	p.mu.Unlock()
	if ctx == nil {
		ctx = context.Background()
	}
	if lookup == nil {
		lookup = cmp.Or(p.Resolver, net.DefaultResolver).LookupNetIP
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := lookup(limited, "ip", host)
	if ctx.Err() != nil {
		return err // the pool has stopped
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)

	p.mu.Lock()
	defer p.mu.Unlock()
	changed := false
	for _, s := range p.sources {
		if s.host == host && !s.literal {
			changed = p.learn(s, found, err) || changed
		}
	}
	if changed {
		p.rebuild(time.Now())
	}
	return err
}

// learn takes note of a resolution, and says whether there is something new.
func (p *Pool) learn(s *source, found []netip.Addr, err error) bool {
	log := p.log().With("upstream", p.Name, "node", s.Address)
	p.Metrics.Resolved(p.Name, s.Address, err == nil)
	was := s.failing
	s.failing = err != nil
	switch {
	case err != nil && !was:
		log.Warn("name cannot be resolved", "addresses_kept", len(s.addresses), "error", err)
	case err == nil && was:
		log.Info("name is resolved again")
	}
	if err != nil || slices.Equal(found, s.addresses) {
		return false
	}
	log.Info("name has addresses", "addresses", found, "before", s.addresses)
	s.settled, s.addresses = s.settled || len(s.addresses) > 0, found
	return true
}

// resolveMissing resolves, for a client that waits, the names that have no
// address yet, until a deadline. Clients that wait together share one attempt.
func (p *Pool) resolveMissing(ctx context.Context, deadline time.Time) (failed []NodeError) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	asked := make(map[string]bool)
	for _, s := range p.missing() {
		if asked[s.host] {
			continue
		}
		asked[s.host] = true
		result := p.lookups.DoChan(s.host, func() (any, error) { return nil, p.resolve(s.host) })
		var err error
		select {
		case r := <-result:
			err = r.Err
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			p.Metrics.Dialed(p.Name, s.Address, reason(err))
			failed = append(failed, NodeError{Node: s.Address, Err: err})
		}
	}
	return failed
}

// missing are the names that have no address, unless they drain.
func (p *Pool) missing() (list []*source) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sources {
		if !s.literal && len(s.addresses) == 0 && !p.draining[s.Address] {
			list = append(list, s)
		}
	}
	return list
}

// rebuild makes the backends those of the sources. One that is still there is
// the same as before.
func (p *Pool) rebuild(now time.Time) {
	var backends []*Backend
	for _, s := range p.sources {
		addresses := []string{s.Address}
		if !s.literal {
			addresses = nil
			for _, a := range s.addresses {
				addresses = append(addresses, net.JoinHostPort(a.String(), s.port))
			}
		}
		for _, address := range addresses {
			if !slices.ContainsFunc(backends, func(b *Backend) bool { return b.Address == address }) {
				backends = append(backends, p.backend(s, address, now))
			}
		}
	}
	for _, b := range p.backends {
		if slices.Contains(backends, b) {
			continue
		}
		if b.stop != nil {
			b.stop()
		}
		if !slices.ContainsFunc(backends, func(other *Backend) bool { return other.Address == b.Address }) {
			p.Metrics.NodeLeft(p.Name, b.Address)
		}
	}
	p.backends = backends
	p.forgetDraining()
}

// backend is the backend of a source with an address, a new one if there is
// none.
func (p *Pool) backend(s *source, address string, now time.Time) *Backend {
	weight := cmp.Or(s.Weight, 1)
	for _, b := range p.backends {
		if b.Node == s.Node.Address && b.Address == address {
			b.weight = weight
			return b
		}
	}
	b := &Backend{Address: address, Node: s.Node.Address, pool: p, weight: weight,
		state: StateUp, since: now, wake: make(chan struct{}, 1)}
	if p.began && s.settled {
		b.upSince = now
	}
	b.reconsider(&p.settings, now)
	p.startBackend(b)
	return b
}
