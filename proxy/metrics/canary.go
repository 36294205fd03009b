package metrics

import "github.com/prometheus/client_golang/prometheus"

// canaryMetrics are about policies that are in force for some clients.
type canaryMetrics struct {
	active, returned *prometheus.GaugeVec
	judged           *prometheus.CounterVec
}

func newCanaryMetrics() canaryMetrics {
	return canaryMetrics{
		active:   gauge("canary_active", "1 while the canary policy is in force for its clients, 0 before its time, after it, and when it has refused too many.", "listener", "policy"),
		returned: gauge("canary_returned", "1 if the canary policy has refused too many and is no longer in force, else 0.", "listener", "policy"),
		judged: counter("canary_clients_total",
			"Clients that a canary policy decided on: admitted, or refused where the listener's policy would have let them in.", "listener", "policy", "result"),
	}
}

func (c canaryMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.active, c.returned, c.judged}
}

// CanaryActive sets whether a canary policy is in force.
func (m *Metrics) CanaryActive(listener, policy string, active bool) {
	if m == nil {
		return
	}
	m.canary.active.WithLabelValues(listener, policy).Set(truth(active))
	m.canary.returned.WithLabelValues(listener, policy).Set(0)
}

// CanaryReturned sets that a canary policy has refused too many.
func (m *Metrics) CanaryReturned(listener, policy string) {
	if m == nil {
		return
	}
	m.canary.active.WithLabelValues(listener, policy).Set(0)
	m.canary.returned.WithLabelValues(listener, policy).Set(1)
}

// CanariesReset forgets the canaries of a configuration that is gone.
func (m *Metrics) CanariesReset() {
	if m == nil {
		return
	}
	m.canary.active.Reset()
	m.canary.returned.Reset()
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
