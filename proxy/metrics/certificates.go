package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Certificate is the end of a certificate that is served.
type Certificate struct {
	Name     string // the configuration's entry
	Key      string // "RSA"
	NotAfter time.Time
}

// certificateMetrics are about certificates, and the storage that they are in.
type certificateMetrics struct {
	served  *certificateCollector
	orders  *prometheus.CounterVec
	reloads *prometheus.CounterVec
	storage *prometheus.CounterVec

	keys     *prometheus.CounterVec
	degraded *truthCollector
}

func newCertificateMetrics() certificateMetrics {
	return certificateMetrics{
		served: newCertificateCollector(),
		orders: counter("certificate_orders_total", "Tries to obtain a certificate by ACME, or to renew one.",
			"certificate", "key", "renewal", "result"),
		reloads: counter("certificate_reloads_total",
			"Certificate files that changed: taken over, or refused while the certificate in force stays.", "certificate", "result"),
		storage:  counter("storage_errors_total", "Operations of the storage that failed.", "operation", "cause"),
		keys:     counter("key_requests_total", "Requests to key encryption keys of the storage, each try counted.", "operation", "result"),
		degraded: newTruthCollector("storage_degraded", "1 while a key encryption key of the storage cannot be used, else 0."),
	}
}

func (c certificateMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.served, c.orders, c.reloads, c.storage, c.keys, c.degraded}
}

// CertificateOrdered counts a try to obtain a certificate, or to renew one.
func (m *Metrics) CertificateOrdered(certificate, key string, renewal, ok bool) {
	if m == nil {
		return
	}
	m.certificates.orders.WithLabelValues(certificate, key, strconv.FormatBool(renewal), resultOf(ok)).Inc()
}

// CertificateReloaded counts a change of a certificate's files that was taken
// over, or refused.
func (m *Metrics) CertificateReloaded(certificate string, ok bool) {
	if m == nil {
		return
	}
	m.certificates.reloads.WithLabelValues(certificate, resultOf(ok)).Inc()
}

// StorageFailed counts an operation of the storage that failed.
func (m *Metrics) StorageFailed(operation, cause string) {
	if m == nil {
		return
	}
	m.certificates.storage.WithLabelValues(operation, cause).Inc()
}

// KeyUsed counts a request to a key encryption key; result is "ok", or a cause of
// package seal's.
func (m *Metrics) KeyUsed(operation, result string) {
	if m == nil {
		return
	}
	m.certificates.keys.WithLabelValues(operation, result).Inc()
}

// ServeDegraded has every scrape ask degraded whether a key of the storage cannot
// be used.
func (m *Metrics) ServeDegraded(degraded func() bool) {
	if m == nil {
		return
	}
	m.certificates.degraded.asks.Store(&degraded)
}

// ServeCertificates has every scrape ask served for the certificates of that
// moment. An entry can have many, one for each of its names; the one that
// expires first is shown for each type of key, so that there are as many
// series as the configuration has entries and not as many as there are names.
func (m *Metrics) ServeCertificates(served func() []Certificate) {
	if m == nil {
		return
	}
	m.certificates.served.asks.Store(&served)
}

// certificateCollector implements [prometheus.Collector].
type certificateCollector struct {
	asks     atomic.Pointer[func() []Certificate]
	notAfter *prometheus.Desc
}

func newCertificateCollector() *certificateCollector {
	return &certificateCollector{notAfter: prometheus.NewDesc("suitegate_certificate_not_after_timestamp_seconds",
		"When the certificate expires, Unix time; of several with one kind of key, the first to do so.",
		[]string{"certificate", "key"}, nil)}
}

// Describe implements [prometheus.Collector].
func (c *certificateCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.notAfter }

// Collect implements [prometheus.Collector].
func (c *certificateCollector) Collect(ch chan<- prometheus.Metric) {
	served := c.asks.Load()
	if served == nil {
		return
	}
	type series struct{ name, key string }
	first := make(map[series]time.Time)
	for _, cert := range (*served)() {
		s := series{cert.Name, cert.Key}
		if t, ok := first[s]; !ok || cert.NotAfter.Before(t) {
			first[s] = cert.NotAfter
		}
	}
	for s, t := range first {
		ch <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(t.Unix()), s.name, s.key)
	}
}
