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

	connections  connectionMetrics
	upstreams    upstreamMetrics
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
	build        *prometheus.GaugeVec
	ready        *readyCollector
	auditErrors  prometheus.Counter
	logLines     *prometheus.CounterVec
}

// New returns handles on a fresh registry, with the Go runtime's and the
// process's own metrics beside the gateway's.
func New() *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "suitegate", Name: name, Help: help})
	}
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		connections:  newConnectionMetrics(),
		upstreams:    newUpstreamMetrics(),
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
		build: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "suitegate", Name: "build_info", Help: "Always 1; the labels say which build this is.",
		}, []string{"version", "goversion"}),
		ready:    newReadyCollector(),
		logLines: newLogLines(),
		auditErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "suitegate", Name: "audit_errors_total", Help: "Entries of the audit log that could not be written to its file.",
		}),
	}
	m.registry.MustRegister(m.connections.all()...)
	m.registry.MustRegister(
		m.build, m.ready, m.acceptErrors, m.panics, m.reloads, m.reloadOK, m.reloadTime, m.replacements, m.storage, m.orders, m.certificates, m.clients.reloads, m.clients.nextUpdate, m.auditErrors, m.logLines,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.registry.MustRegister(m.upstreams.collectors()...)
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "suitegate", Name: name, Help: help}, labels)
}

// Registry is what /metrics serves. It is nil for a nil Metrics.
func (m *Metrics) Registry() *prometheus.Registry {
	if m == nil {
		return nil
	}
	return m.registry
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

// AuditFailed counts an entry of the audit log that could not be written.
func (m *Metrics) AuditFailed() {
	if m == nil {
		return
	}
	m.auditErrors.Inc()
}
