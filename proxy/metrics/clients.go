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
		reloads: counter("client_auth_reloads_total",
			"Files about clients, authorities and CRLs, that changed: taken over, or refused while what was in force stays.", "listener", "result"),
		nextUpdate: gauge("client_crl_next_update_timestamp_seconds",
			"When the first of the listener's CRLs becomes stale, Unix time.", "listener"),
	}
}

func (c clientMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.reloads, c.nextUpdate}
}

// ClientAuthReloaded counts a change of a file about clients that was taken
// over, or refused.
func (m *Metrics) ClientAuthReloaded(listener string, ok bool) {
	if m == nil {
		return
	}
	m.clients.reloads.WithLabelValues(listener, resultOf(ok)).Inc()
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
