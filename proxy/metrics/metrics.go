// Package metrics holds every counter, gauge and histogram of the gateway, on
// a registry of its own: a file for each of the things that they are about. The
// label values are the same words that the connection log uses.
//
// A nil *Metrics is valid and counts nothing, so that code that measures needs
// no second path.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the handles. The zero value is not usable: see [New]; nil is.
type Metrics struct {
	registry *prometheus.Registry

	connections   connectionMetrics
	handshakes    handshakeMetrics
	upstreams     upstreamMetrics
	certificates  certificateMetrics
	clients       clientMetrics
	configuration configurationMetrics
	prove         proveMetrics
	process       processMetrics
	shadow        shadowMetrics
	canary        canaryMetrics
}

// New returns handles on a fresh registry, with the Go runtime's and the
// process's own metrics beside the gateway's.
func New() *Metrics {
	m := &Metrics{
		registry:      prometheus.NewRegistry(),
		connections:   newConnectionMetrics(),
		handshakes:    newHandshakeMetrics(),
		upstreams:     newUpstreamMetrics(),
		certificates:  newCertificateMetrics(),
		clients:       newClientMetrics(),
		configuration: newConfigurationMetrics(),
		prove:         newProveMetrics(),
		process:       newProcessMetrics(),
		shadow:        newShadowMetrics(),
		canary:        newCanaryMetrics(),
	}
	for _, group := range []interface{ collectors() []prometheus.Collector }{
		m.connections, m.handshakes, m.upstreams, m.certificates, m.clients, m.configuration, m.prove, m.process, m.shadow, m.canary,
	} {
		m.registry.MustRegister(group.collectors()...)
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Registry is what /metrics serves. It is nil for a nil Metrics.
func (m *Metrics) Registry() *prometheus.Registry {
	if m == nil {
		return nil
	}
	return m.registry
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "suitegate", Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "suitegate", Name: name, Help: help}, labels)
}

// single is a counter without labels, which is there from the start.
func single(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "suitegate", Name: name, Help: help})
}

func resultOf(ok bool) string {
	if ok {
		return "ok"
	}
	return "failed"
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
