package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// handshakeMetrics are about TLS handshakes.
type handshakeMetrics struct {
	active       *prometheus.GaugeVec
	completed    *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	tickets      *prometheus.CounterVec
	clientAlerts *prometheus.CounterVec
}

func newHandshakeMetrics() handshakeMetrics {
	return handshakeMetrics{
		active: gauge("handshakes_active", "Connections that are in their handshake now, from accept on.", "listener"),
		completed: counter("handshakes_total", "TLS handshakes completed.",
			"listener", "version", "suite", "group", "engine", "resumed"),
		// Classic buckets, and no native ones beside them: a Prometheus that takes
		// native histograms would drop these, and the queries on them.
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "suitegate", Name: "handshake_seconds",
			Help:    "Time from accept to the end of a completed TLS handshake.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"listener", "version"}),
		tickets: counter("session_tickets_offered_total",
			"Completed handshakes whose client offered a session ticket: resumed, or declined and made in full.", "listener", "version", "result"),
		clientAlerts: counter("client_alerts_total",
			"TLS alerts by which clients broke off the handshake.", "listener", "alert"),
	}
}

func (h handshakeMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{h.active, h.completed, h.seconds, h.tickets, h.clientAlerts}
}

// HandshakeBegan counts a handshake in. Every call owes one to
// [Metrics.HandshakeOver].
func (m *Metrics) HandshakeBegan(listener string) {
	if m == nil {
		return
	}
	m.handshakes.active.WithLabelValues(listener).Inc()
}

// HandshakeOver counts a handshake out, however it ended.
func (m *Metrics) HandshakeOver(listener string) {
	if m == nil {
		return
	}
	m.handshakes.active.WithLabelValues(listener).Dec()
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
	of := &m.handshakes
	of.completed.WithLabelValues(h.Listener, h.Version, h.Suite, h.Group, h.Engine, strconv.FormatBool(h.Resumed)).Inc()
	of.seconds.WithLabelValues(h.Listener, h.Version).Observe(d.Seconds())
	switch {
	case h.Resumed:
		of.tickets.WithLabelValues(h.Listener, h.Version, "resumed").Inc()
	case h.Ticket:
		of.tickets.WithLabelValues(h.Listener, h.Version, "declined").Inc()
	}
}

// ClientAlerted counts an alert by which a client broke off the handshake, by
// its name in the RFC.
func (m *Metrics) ClientAlerted(listener, alert string) {
	if m == nil {
		return
	}
	m.handshakes.clientAlerts.WithLabelValues(listener, alert).Inc()
}
