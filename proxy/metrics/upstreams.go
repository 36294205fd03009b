package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Node is a node of an upstream as it is shown.
type Node struct {
	Upstream    string
	Node        string // its address
	Up          bool
	Draining    bool
	Connections int
}

// upstreamMetrics are about the nodes of upstreams.
type upstreamMetrics struct {
	dials       *prometheus.CounterVec
	checks      *prometheus.CounterVec
	ejections   *prometheus.CounterVec
	resolutions *prometheus.CounterVec
	nodes       *nodeCollector
}

func newUpstreamMetrics() upstreamMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return counter(name, help, append([]string{"upstream", "node"}, labels...)...)
	}
	return upstreamMetrics{
		dials:       counter("upstream_dials_total", "Attempts to connect to a broker node.", "result"),
		checks:      counter("upstream_checks_total", "Health checks of a broker node, and tries to reach one that was ejected.", "result"),
		ejections:   counter("upstream_ejections_total", "How often a node was taken out because a connection to it failed."),
		resolutions: counter("upstream_resolutions_total", "Attempts to resolve a node's name.", "result"),
		nodes:       newNodeCollector(),
	}
}

func (u upstreamMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{u.dials, u.checks, u.ejections, u.resolutions, u.nodes}
}

// Dialed counts an attempt to reach a node; result is "ok" or the named
// reason of the failure.
func (m *Metrics) Dialed(upstream, node, result string) {
	if m == nil {
		return
	}
	m.upstreams.dials.WithLabelValues(upstream, node, result).Inc()
}

// Checked counts a health check; result is "ok" or the named reason of the
// failure.
func (m *Metrics) Checked(upstream, node, result string) {
	if m == nil {
		return
	}
	m.upstreams.checks.WithLabelValues(upstream, node, result).Inc()
}

// Ejected counts a node that was taken out because a connection to it failed.
func (m *Metrics) Ejected(upstream, node string) {
	if m == nil {
		return
	}
	m.upstreams.ejections.WithLabelValues(upstream, node).Inc()
}

// Resolved counts an attempt to resolve the name of a node.
func (m *Metrics) Resolved(upstream, node string, ok bool) {
	if m == nil {
		return
	}
	m.upstreams.resolutions.WithLabelValues(upstream, node, resultOf(ok)).Inc()
}

// NodeLeft forgets a node: addresses of names come and go, and would otherwise
// leave series behind for ever.
func (m *Metrics) NodeLeft(upstream, node string) {
	if m == nil {
		return
	}
	of := prometheus.Labels{"upstream": upstream, "node": node}
	for _, counter := range []*prometheus.CounterVec{m.upstreams.dials, m.upstreams.checks, m.upstreams.ejections, m.upstreams.resolutions} {
		counter.DeletePartialMatch(of)
	}
}

// ServeNodes has every scrape ask nodes for those of that moment.
func (m *Metrics) ServeNodes(nodes func() []Node) {
	if m == nil {
		return
	}
	m.upstreams.nodes.nodes.Store(&nodes)
}

// nodeCollector implements [prometheus.Collector].
type nodeCollector struct {
	nodes                     atomic.Pointer[func() []Node]
	up, draining, connections *prometheus.Desc
}

func newNodeCollector() *nodeCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("suitegate_upstream_node_"+name, help, []string{"upstream", "node"}, nil)
	}
	return &nodeCollector{
		up:          desc("up", "1 if the node is up, 0 if health checks or a failed connection have taken it out."),
		draining:    desc("draining", "1 if the node gets no new connections because it drains, else 0."),
		connections: desc("connections", "Connections to the node that are open now, or being opened."),
	}
}

// Describe implements [prometheus.Collector].
func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.up
	ch <- c.draining
	ch <- c.connections
}

// Collect implements [prometheus.Collector].
func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	nodes := c.nodes.Load()
	if nodes == nil {
		return
	}
	for _, n := range (*nodes)() {
		gauge := func(d *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, n.Upstream, n.Node)
		}
		gauge(c.up, truth(n.Up))
		gauge(c.draining, truth(n.Draining))
		gauge(c.connections, float64(n.Connections))
	}
}
