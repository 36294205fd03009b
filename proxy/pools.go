package proxy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/metrics"
	"github.com/suitegate/suitegate/proxy/proxyheader"
	"github.com/suitegate/suitegate/proxy/upstream"
)

// ErrUnknownUpstream is returned by [Server.DrainNode].
var ErrUnknownUpstream = errors.New("proxy: there is no such upstream")

// pools are the upstreams of a configuration, by name. Those that are there in the
// previous generation stay as they are until keepPools; new ones are still at rest.
func (s *Server) pools(config *configs.Config, previous *generation) map[string]*upstream.Pool {
	pools := make(map[string]*upstream.Pool)
	for name, u := range config.Upstreams {
		if previous != nil && previous.pools[name] != nil {
			pools[name] = previous.pools[name]
			continue
		}
		pools[name] = &upstream.Pool{Name: name, Log: s.log(), Metrics: s.Metrics}
		pools[name].Configure(poolSettings(u))
	}
	return pools
}

// keepPools gives the current generation's upstreams its settings, and has them
// look after their nodes. Those that it no longer has only finish what they
// have begun.
func (s *Server) keepPools(previous *generation) {
	for name, pool := range s.current.pools {
		pool.Configure(poolSettings(s.current.config.Upstreams[name]))
		pool.Start()
	}
	if previous == nil {
		s.Metrics.ServeNodes(s.nodes)
		return
	}
	for name, pool := range previous.pools {
		if s.current.pools[name] == nil {
			pool.Stop()
		}
	}
}

// stopPools ends the care for nodes.
func (g *generation) stopPools() {
	for _, pool := range g.pools {
		pool.Stop()
	}
}

func poolSettings(u configs.Upstream) upstream.Settings {
	settings := upstream.Settings{
		Balance: upstream.Balance(u.Balance), ConnectTimeout: u.ConnectTimeout, DialTimeout: u.DialTimeout,
		SlowStart: u.SlowStart, ResolveInterval: u.ResolveInterval, ProxyProtocol: proxyheader.Version(u.ProxyProtocol),
	}
	for _, n := range u.Nodes {
		settings.Nodes = append(settings.Nodes, upstream.Node{Address: n.Address, Weight: n.Weight})
	}
	if c := u.HealthCheck; c != nil {
		settings.Check = upstream.Checker{Protocol: upstream.Protocol(c.Protocol), Interval: c.Interval, Timeout: c.Timeout,
			Rise: c.Rise, Fall: c.Fall}
	}
	return settings
}

// Upstreams tells how the nodes of all upstreams are, sorted by name.
func (s *Server) Upstreams() []upstream.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil
	}
	return s.current.upstreams()
}

func (g *generation) upstreams() []upstream.Status {
	list := make([]upstream.Status, 0, len(g.pools))
	for _, name := range slices.Sorted(maps.Keys(g.pools)) {
		list = append(list, g.pools[name].Status())
	}
	return list
}

// nodes are all nodes as the metrics show them: by address, and by name those
// that have none.
func (s *Server) nodes() []metrics.Node {
	var nodes []metrics.Node
	for _, u := range s.Upstreams() {
		for _, n := range u.Nodes {
			address := n.Address
			if address == "" {
				address = n.Name
			}
			nodes = append(nodes, metrics.Node{Upstream: u.Name, Node: address, Up: n.State == upstream.StateUp,
				Draining: n.Draining, Connections: n.Connections})
		}
	}
	return nodes
}

// DrainNode sends no new client to a node, or does so again, see
// [upstream.Pool.Drain]. The error is ErrUnknownUpstream or
// [upstream.ErrUnknownNode].
func (s *Server) DrainNode(name, node string, on bool) (upstream.Drained, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.pools[name] == nil {
		return upstream.Drained{}, ErrUnknownUpstream
	}
	return s.current.pools[name].Drain(node, on)
}

// upstreamsReady says which of the upstreams that are required have no node that
// is up.
func (g *generation) upstreamsReady() error {
	var down []string
	for _, name := range slices.Sorted(maps.Keys(g.pools)) {
		if g.config.Upstreams[name].Required && !g.pools[name].Up() {
			down = append(down, name)
		}
	}
	if len(down) > 0 {
		return fmt.Errorf("no node is up of upstreams: %s", strings.Join(down, ", "))
	}
	return nil
}
