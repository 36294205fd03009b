package metrics

import (
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// processMetrics are about the process as a whole.
type processMetrics struct {
	build    *prometheus.GaugeVec
	ready    *truthCollector
	panics   prometheus.Counter
	logLines *prometheus.CounterVec
}

func newProcessMetrics() processMetrics {
	return processMetrics{
		build:    gauge("build_info", "Always 1; the labels say which build this is.", "version", "goversion"),
		ready:    newTruthCollector("ready", "1 while the gateway wants new connections, as /readyz says, else 0."),
		panics:   single("panics_total", "Panics that closed one connection each. Always a defect: report it."),
		logLines: counter("log_lines_dropped_total", "Lines of the log that could not be written.", "cause"),
	}
}

func (p processMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{p.build, p.ready, p.panics, p.logLines}
}

// Built says which build this is.
func (m *Metrics) Built(version string) {
	if m == nil {
		return
	}
	m.process.build.Reset()
	m.process.build.WithLabelValues(version, runtime.Version()).Set(1)
}

// Panicked counts a panic that closed one connection.
func (m *Metrics) Panicked() {
	if m == nil {
		return
	}
	m.process.panics.Inc()
}

// LogLineDropped counts a line of the log that could not be written; cause is
// one of package logsink's.
func (m *Metrics) LogLineDropped(cause string) {
	if m == nil {
		return
	}
	m.process.logLines.WithLabelValues(cause).Inc()
}

// ServeReady has every scrape ask ready whether the gateway wants new
// connections, as /readyz does.
func (m *Metrics) ServeReady(ready func() bool) {
	if m == nil {
		return
	}
	m.process.ready.asks.Store(&ready)
}

// truthCollector implements [prometheus.Collector] for what is so or not.
type truthCollector struct {
	asks atomic.Pointer[func() bool]
	desc *prometheus.Desc
}

func newTruthCollector(name, help string) *truthCollector {
	return &truthCollector{desc: prometheus.NewDesc("suitegate_"+name, help, nil, nil)}
}

// Describe implements [prometheus.Collector].
func (c *truthCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements [prometheus.Collector].
func (c *truthCollector) Collect(ch chan<- prometheus.Metric) {
	ask := c.asks.Load()
	if ask == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, truth((*ask)()))
}
