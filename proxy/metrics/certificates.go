package metrics

import (
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

// ServeCertificates has every scrape ask served for the certificates of that
// moment. An entry can have many, one for each of its names; the one that
// expires first is shown for each type of key, so that there are as many
// series as the configuration has entries and not as many as there are names.
func (m *Metrics) ServeCertificates(served func() []Certificate) {
	if m == nil {
		return
	}
	m.certificates.served.Store(&served)
}

// certificateCollector implements [prometheus.Collector].
type certificateCollector struct {
	served   atomic.Pointer[func() []Certificate]
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
	served := c.served.Load()
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
