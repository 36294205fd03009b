package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// clientMetrics are about the files that say which clients are let in.
type clientMetrics struct {
	reloads    *prometheus.CounterVec
	nextUpdate *prometheus.GaugeVec
}

func newClientMetrics() clientMetrics {
	return clientMetrics{
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "suitegate", Name: "client_auth_reloads_total",
			Help: "Files about clients, authorities and CRLs, that changed: taken over, or refused while what was in force stays.",
		}, []string{"listener", "result"}),
		nextUpdate: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "suitegate", Name: "client_crl_next_update_timestamp_seconds",
			Help: "When the first of the listener's CRLs becomes stale, Unix time.",
		}, []string{"listener"}),
	}
}

// ClientAuthReloaded counts a change of a file about clients that was taken
// over, or refused.
func (m *Metrics) ClientAuthReloaded(listener string, ok bool) {
	if m == nil {
		return
	}
	result := "ok"
	if !ok {
		result = "failed"
	}
	m.clients.reloads.WithLabelValues(listener, result).Inc()
}

// ClientCRLs says, by listener, when the first of its CRLs becomes stale.
// Listeners that are not named have none.
func (m *Metrics) ClientCRLs(nextUpdates map[string]time.Time) {
	if m == nil {
		return
	}
	m.clients.nextUpdate.Reset()
	for listener, at := range nextUpdates {
		m.clients.nextUpdate.WithLabelValues(listener).Set(float64(at.Unix()))
	}
}
