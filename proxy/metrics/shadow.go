package metrics

import "github.com/prometheus/client_golang/prometheus"

// shadowMetrics are about policies that clients are judged by without effect.
type shadowMetrics struct {
	verdicts *prometheus.CounterVec
	clients  *prometheus.GaugeVec
}

func newShadowMetrics() shadowMetrics {
	return shadowMetrics{
		verdicts: counter("shadow_verdicts_total",
			"Clients judged by a shadow policy: same as the policy in force, would_refuse, or would_admit.", "listener", "policy", "verdict"),
		clients: gauge("shadow_clients_broken", "Kinds of clients that are remembered because a shadow policy would refuse them."),
	}
}

func (s shadowMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.verdicts, s.clients}
}

// ShadowVerdict is the counter of one verdict of a listener's shadow policy. Its
// lookup costs more than a verdict: keep it.
func (m *Metrics) ShadowVerdict(listener, policy, verdict string) prometheus.Counter {
	if m == nil {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "nil"}) // that nobody reads
	}
	return m.shadow.verdicts.WithLabelValues(listener, policy, verdict)
}

// ShadowClients sets how many kinds of clients are remembered.
func (m *Metrics) ShadowClients(n int) {
	if m == nil {
		return
	}
	m.shadow.clients.WithLabelValues().Set(float64(n))
}
