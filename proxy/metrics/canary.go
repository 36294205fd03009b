package metrics

import "github.com/prometheus/client_golang/prometheus"

// canaryMetrics are about policies that are in force for some clients.
type canaryMetrics struct {
	active *prometheus.GaugeVec
	judged *prometheus.CounterVec
}

func newCanaryMetrics() canaryMetrics {
	return canaryMetrics{
		active: gauge("canary_active", "1 while the canary policy is in force for its clients, 0 before its time, after it, and when it has refused too many.", "listener", "policy"),
		judged: counter("canary_clients_total",
			"Clients that a canary policy decided on: admitted, or refused where the listener's policy would have let them in.", "listener", "policy", "result"),
	}
}

func (c canaryMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.active, c.judged}
}

// CanaryActive sets whether a canary policy is in force.
func (m *Metrics) CanaryActive(listener, policy string, active bool) {
	if m == nil {
		return
	}
	m.canary.active.WithLabelValues(listener, policy).Set(truth(active))
}

// CanariesReset forgets the canaries of a configuration that is gone.
func (m *Metrics) CanariesReset() {
	if m == nil {
		return
	}
	m.canary.active.Reset()
}

// CanaryJudged counts a client.
func (m *Metrics) CanaryJudged(listener, policy string, admitted bool) {
	if m == nil {
		return
	}
	result := "refused"
	if admitted {
		result = "admitted"
	}
	m.canary.judged.WithLabelValues(listener, policy, result).Inc()
}
