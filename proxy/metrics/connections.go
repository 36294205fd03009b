package metrics

import "github.com/prometheus/client_golang/prometheus"

// connectionMetrics are about connections, from accept to their end.
type connectionMetrics struct {
	accepted     *prometheus.CounterVec
	acceptErrors *prometheus.CounterVec
	active       *prometheus.GaugeVec
	ended        *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	bytes        *prometheus.CounterVec
}

func newConnectionMetrics() connectionMetrics {
	return connectionMetrics{
		accepted:     counter("connections_total", "Connections accepted.", "listener"),
		acceptErrors: counter("accept_errors_total", "Errors of accept, after which the listener went on.", "listener"),
		active:       gauge("connections_active", "Connections that are open now.", "listener"),
		ended: counter("connections_ended_total",
			"Connections that ended, by the reason that the connection log gives.", "listener", "reason"),
		refusals: counter("refusals_total",
			"Connections that got no further than the gateway, by reason; without those that only came to look.", "listener", "reason"),
		bytes: counter("bytes_total", "Payload bytes carried, after decryption.", "listener", "direction"),
	}
}

func (c connectionMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.accepted, c.acceptErrors, c.active, c.ended, c.refusals, c.bytes}
}

// Accepted counts a connection in. Every call owes one to [Metrics.Ended].
func (m *Metrics) Accepted(listener string) {
	if m == nil {
		return
	}
	m.connections.accepted.WithLabelValues(listener).Inc()
	m.connections.active.WithLabelValues(listener).Inc()
}

// AcceptFailed counts an error of accept.
func (m *Metrics) AcceptFailed(listener string) {
	if m == nil {
		return
	}
	m.connections.acceptErrors.WithLabelValues(listener).Inc()
}

// Ended counts a connection out, with the reason that its log line gives.
// refused says that it got no further than the gateway.
func (m *Metrics) Ended(listener, reason string, refused bool) {
	if m == nil {
		return
	}
	m.connections.active.WithLabelValues(listener).Dec()
	m.connections.ended.WithLabelValues(listener, reason).Inc()
	if refused {
		m.connections.refusals.WithLabelValues(listener, reason).Inc()
	}
}

// Carried are the counters of a listener's payload, in bytes. Its connections
// add to them as they carry it: they may live for weeks. nil are to be left
// alone.
func (m *Metrics) Carried(listener string) (fromClient, fromBackend prometheus.Counter) {
	if m == nil {
		return nil, nil
	}
	return m.connections.bytes.WithLabelValues(listener, "from_client"), m.connections.bytes.WithLabelValues(listener, "from_backend")
}
