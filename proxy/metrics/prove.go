package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// proveMetrics are about the proofs that listeners do as their policies say.
type proveMetrics struct {
	asPolicy *prometheus.GaugeVec
	offers   *prometheus.CounterVec
	duration prometheus.Gauge
}

func newProveMetrics() proveMetrics {
	return proveMetrics{
		asPolicy: gauge("prove_as_policy", "1 if the listener gave every answer that its policy says in the newest proof, else 0.", "listener"),
		offers:   counter("prove_offers_total", "Offers that the gateway has made to its own listeners.", "listener", "result"),
		duration: gauge("prove_duration_seconds", "How long the newest proof of all listeners took.").WithLabelValues(),
	}
}

func (p proveMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{p.asPolicy, p.offers, p.duration}
}

// ProofsReset forgets the listeners of the proof before.
func (m *Metrics) ProofsReset() {
	if m == nil {
		return
	}
	m.prove.asPolicy.Reset()
}

// Proved takes note of a listener's proof.
func (m *Metrics) Proved(listener string, offers, differences int) {
	if m == nil {
		return
	}
	m.prove.asPolicy.WithLabelValues(listener).Set(truth(differences == 0))
	m.prove.offers.WithLabelValues(listener, "as_policy").Add(float64(offers - differences))
	m.prove.offers.WithLabelValues(listener, "differs").Add(float64(differences))
}

// ProofTook takes note of how long that of all listeners was.
func (m *Metrics) ProofTook(d time.Duration) {
	if m == nil {
		return
	}
	m.prove.duration.Set(d.Seconds())
}
