package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// connectionMetrics are about connections, from accept to their end.
type connectionMetrics struct {
	accepted     *prometheus.CounterVec
	active       *prometheus.GaugeVec
	ended        *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	clientAlerts *prometheus.CounterVec
	handshakes   *prometheus.CounterVec
	handshakeSec *prometheus.HistogramVec

	handshakesActive *prometheus.GaugeVec

	tickets *prometheus.CounterVec
	bytes   *prometheus.CounterVec
}

func newConnectionMetrics() connectionMetrics {
	return connectionMetrics{
		accepted: counter("connections_total", "Connections accepted.", "listener"),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "suitegate", Name: "connections_active", Help: "Connections that are open now.",
		}, []string{"listener"}),
		ended: counter("connections_ended_total",
			"Connections that ended, by the reason that the connection log gives.", "listener", "reason"),
		refusals: counter("refusals_total",
			"Connections that got no further than the gateway, by reason; without those that only came to look.", "listener", "reason"),
		clientAlerts: counter("client_alerts_total",
			"TLS alerts by which clients broke off the handshake.", "listener", "alert"),
		handshakes: counter("handshakes_total", "TLS handshakes completed.",
			"listener", "version", "suite", "group", "engine", "resumed"),
		// Classic buckets, and no native ones beside them: a Prometheus that takes
		// native histograms would drop these, and the queries on them.
		handshakeSec: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "suitegate", Name: "handshake_seconds",
			Help:    "Time from accept to the end of a completed TLS handshake.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"listener", "version"}),
		handshakesActive: newHandshakesActive(),
		tickets: counter("session_tickets_offered_total",
			"Completed handshakes whose client offered a session ticket: resumed, or declined and made in full.", "listener", "version", "result"),
		bytes: counter("bytes_total", "Payload bytes carried, after decryption.", "listener", "direction"),
	}
}

func (c *connectionMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{
		c.accepted, c.active, c.ended, c.refusals, c.clientAlerts, c.handshakes, c.handshakeSec, c.handshakesActive, c.tickets, c.bytes,
	}
}

// Accepted counts a connection in. Every call owes one to [Metrics.Ended].
func (m *Metrics) Accepted(listener string) {
	if m == nil {
		return
	}
	m.connections.accepted.WithLabelValues(listener).Inc()
	m.connections.active.WithLabelValues(listener).Inc()
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

// ClientAlerted counts an alert by which a client broke off the handshake, by
// its name in the RFC.
func (m *Metrics) ClientAlerted(listener, alert string) {
	if m == nil {
		return
	}
	m.connections.clientAlerts.WithLabelValues(listener, alert).Inc()
}

// Handshake is a completed TLS handshake as it is counted.
type Handshake struct {
	Listener string
	Version  string // "TLSv1.3"
	Suite    string // IANA name
	Group    string // "X25519", "" with RSA key exchange
	Engine   string // "crypto/tls"
	Ticket   bool   // the client offered a session ticket
	Resumed  bool
}

// HandshakeDone counts a completed handshake that took d since accept.
func (m *Metrics) HandshakeDone(h Handshake, d time.Duration) {
	if m == nil {
		return
	}
	c := &m.connections
	c.handshakes.WithLabelValues(h.Listener, h.Version, h.Suite, h.Group, h.Engine, strconv.FormatBool(h.Resumed)).Inc()
	c.handshakeSec.WithLabelValues(h.Listener, h.Version).Observe(d.Seconds())
	switch {
	case h.Resumed:
		c.tickets.WithLabelValues(h.Listener, h.Version, "resumed").Inc()
	case h.Ticket:
		c.tickets.WithLabelValues(h.Listener, h.Version, "declined").Inc()
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
