package metrics

import (
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Built says which build this is.
func (m *Metrics) Built(version string) {
	if m == nil {
		return
	}
	m.build.Reset()
	m.build.WithLabelValues(version, runtime.Version()).Set(1)
}

// ServeReady has every scrape ask ready whether the gateway wants new
// connections, as /readyz does.
func (m *Metrics) ServeReady(ready func() bool) {
	if m == nil {
		return
	}
	m.ready.asks.Store(&ready)
}

// readyCollector implements [prometheus.Collector].
type readyCollector struct {
	asks atomic.Pointer[func() bool]
	desc *prometheus.Desc
}

func newReadyCollector() *readyCollector {
	return &readyCollector{desc: prometheus.NewDesc("suitegate_ready",
		"1 while the gateway wants new connections, as /readyz says, else 0.", nil, nil)}
}

// Describe implements [prometheus.Collector].
func (c *readyCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements [prometheus.Collector].
func (c *readyCollector) Collect(ch chan<- prometheus.Metric) {
	ask := c.asks.Load()
	if ask == nil {
		return
	}
	value := 0.0
	if (*ask)() {
		value = 1
	}
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value)
}
