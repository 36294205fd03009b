// Package metrics holds every counter, gauge and histogram of the gateway, on
// a registry of its own. The label values are the same words that the
// connection log uses.
//
// A nil *Metrics is valid and counts nothing, so that code that measures needs
// no second path.
package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the handles. The zero value is not usable: see [New]; nil is.
type Metrics struct {
	registry *prometheus.Registry

	accepted     *prometheus.CounterVec
	active       *prometheus.GaugeVec
	handshakes   *prometheus.CounterVec
	handshakeSec *prometheus.HistogramVec
	ended        *prometheus.CounterVec
	bytes        *prometheus.CounterVec
	dials        *prometheus.CounterVec
	acceptErrors *prometheus.CounterVec
	panics       prometheus.Counter
	reloads      *prometheus.CounterVec
	reloadOK     prometheus.Gauge
	reloadTime   prometheus.Gauge
	replacements *prometheus.CounterVec
	orders       *prometheus.CounterVec
	certificates *certificateCollector
	clients      clientMetrics
	storage      *prometheus.CounterVec
}

// New returns handles on a fresh registry, with the Go runtime's and the
// process's own metrics beside the gateway's.
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "suitegate", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "suitegate", Name: name, Help: help})
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		accepted: counter("connections_total", "Connections accepted.", "listener"),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "suitegate", Name: "connections_active", Help: "Connections that are open now.",
		}, []string{"listener"}),
		handshakes: counter("handshakes_total", "TLS handshakes completed.",
			"listener", "version", "suite", "group", "engine", "resumed"),
		handshakeSec: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "suitegate", Name: "handshake_seconds",
			Help:    "Time from accept to the end of a completed TLS handshake.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"listener", "version"}),
		ended: counter("connections_ended_total",
			"Connections that ended, by the reason that the connection log gives.", "listener", "reason"),
		bytes:        counter("bytes_total", "Payload bytes carried, after decryption.", "listener", "direction"),
		dials:        counter("upstream_dials_total", "Attempts to connect to a broker node.", "upstream", "node", "result"),
		acceptErrors: counter("accept_errors_total", "Errors of accept, after which the listener went on.", "listener"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "suitegate", Name: "panics_total", Help: "Panics that closed one connection each. Always a defect: report it.",
		}),
		reloads:    counter("config_reloads_total", "Attempts to reload the configuration.", "result"),
		reloadOK:   gauge("config_last_reload_successful", "1 if the newest attempt to load the configuration succeeded, else 0."),
		storage:    counter("storage_errors_total", "Operations of the storage that failed.", "operation", "cause"),
		reloadTime: gauge("config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded, Unix time."),
		orders:     counter("certificate_orders_total", "Tries to obtain a certificate by ACME, or to renew one.", "certificate", "key", "renewal", "result"),
		replacements: counter("certificate_reloads_total",
			"Certificate files that changed: taken over, or refused while the certificate in force stays.", "certificate", "result"),
		certificates: newCertificateCollector(),
		clients:      newClientMetrics(),
	}
	m.registry.MustRegister(
		m.accepted, m.active, m.handshakes, m.handshakeSec, m.ended, m.bytes, m.dials,
		m.acceptErrors, m.panics, m.reloads, m.reloadOK, m.reloadTime, m.replacements, m.storage, m.orders, m.certificates, m.clients.reloads, m.clients.nextUpdate,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Registry is what /metrics serves. It is nil for a nil Metrics.
func (m *Metrics) Registry() *prometheus.Registry {
	if m == nil {
		return nil
	}
	return m.registry
}

// Accepted counts a connection in. Every call owes one to [Metrics.Ended].
func (m *Metrics) Accepted(listener string) {
	if m == nil {
		return
	}
	m.accepted.WithLabelValues(listener).Inc()
	m.active.WithLabelValues(listener).Inc()
}

// Ended counts a connection out, with the bytes that it carried each way and
// the reason that its log line gives.
func (m *Metrics) Ended(listener, reason string, fromClient, fromBackend int64) {
	if m == nil {
		return
	}
	m.active.WithLabelValues(listener).Dec()
	m.ended.WithLabelValues(listener, reason).Inc()
	m.bytes.WithLabelValues(listener, "from_client").Add(float64(fromClient))
	m.bytes.WithLabelValues(listener, "from_backend").Add(float64(fromBackend))
}

// Handshake is a completed TLS handshake as it is counted.
type Handshake struct {
	Listener string
	Version  string // "TLSv1.3"
	Suite    string // IANA name
	Group    string // "X25519", "" with RSA key exchange
	Engine   string // "crypto/tls"
	Resumed  bool
}

// HandshakeDone counts a completed handshake that took d since accept.
func (m *Metrics) HandshakeDone(h Handshake, d time.Duration) {
	if m == nil {
		return
	}
	m.handshakes.WithLabelValues(h.Listener, h.Version, h.Suite, h.Group, h.Engine, strconv.FormatBool(h.Resumed)).Inc()
	m.handshakeSec.WithLabelValues(h.Listener, h.Version).Observe(d.Seconds())
}

// Dialed counts an attempt to reach a node; result is "ok" or the named
// reason of the failure.
func (m *Metrics) Dialed(upstream, node, result string) {
	if m == nil {
		return
	}
	m.dials.WithLabelValues(upstream, node, result).Inc()
}

// AcceptFailed counts an error of accept.
func (m *Metrics) AcceptFailed(listener string) {
	if m == nil {
		return
	}
	m.acceptErrors.WithLabelValues(listener).Inc()
}

// Panicked counts a panic that closed one connection.
func (m *Metrics) Panicked() {
	if m == nil {
		return
	}
	m.panics.Inc()
}

// Reloaded counts an attempt to load a configuration, the first included.
func (m *Metrics) Reloaded(ok bool, now time.Time) {
	if m == nil {
		return
	}
	if !ok {
		m.reloads.WithLabelValues("failed").Inc()
		m.reloadOK.Set(0)
		return
	}
	m.reloads.WithLabelValues("ok").Inc()
	m.reloadOK.Set(1)
	m.reloadTime.Set(float64(now.UnixNano()) / 1e9)
}

// CertificateOrdered counts a try to obtain a certificate, or to renew one.
func (m *Metrics) CertificateOrdered(certificate, key string, renewal, ok bool) {
	if m == nil {
		return
	}
	m.orders.WithLabelValues(certificate, key, strconv.FormatBool(renewal), resultOf(ok)).Inc()
}

// CertificateReloaded counts a change of a certificate's files that was taken
// over, or refused.
func (m *Metrics) CertificateReloaded(certificate string, ok bool) {
	if m == nil {
		return
	}
	m.replacements.WithLabelValues(certificate, resultOf(ok)).Inc()
}

func resultOf(ok bool) string {
	if ok {
		return "ok"
	}
	return "failed"
}

// StorageFailed counts an operation of the storage that failed.
func (m *Metrics) StorageFailed(operation, cause string) {
	if m == nil {
		return
	}
	m.storage.WithLabelValues(operation, cause).Inc()
}
