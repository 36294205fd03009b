package metrics

import "github.com/prometheus/client_golang/prometheus"

func newHandshakesActive() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "suitegate", Name: "handshakes_active",
		Help: "Connections that are in their handshake now, from accept on.",
	}, []string{"listener"})
}

// HandshakeBegan counts a handshake in. Every call owes one to
// [Metrics.HandshakeOver].
func (m *Metrics) HandshakeBegan(listener string) {
	if m == nil {
		return
	}
	m.connections.handshakesActive.WithLabelValues(listener).Inc()
}

// HandshakeOver counts a handshake out, however it ended.
func (m *Metrics) HandshakeOver(listener string) {
	if m == nil {
		return
	}
	m.connections.handshakesActive.WithLabelValues(listener).Dec()
}
