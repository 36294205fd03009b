package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// configurationMetrics are about the configuration file, and what operators do.
type configurationMetrics struct {
	reloads     *prometheus.CounterVec
	successful  prometheus.Gauge
	loaded      prometheus.Gauge
	auditErrors prometheus.Counter
}

func newConfigurationMetrics() configurationMetrics {
	return configurationMetrics{
		reloads:     counter("config_reloads_total", "Attempts to reload the configuration.", "result"),
		successful:  gauge("config_last_reload_successful", "1 if the newest attempt to load the configuration succeeded, else 0.").WithLabelValues(),
		loaded:      gauge("config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded, Unix time.").WithLabelValues(),
		auditErrors: single("audit_errors_total", "Entries of the audit log that could not be written to its file."),
	}
}

func (c configurationMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.reloads, c.successful, c.loaded, c.auditErrors}
}

// Reloaded counts an attempt to load a configuration, the first included.
func (m *Metrics) Reloaded(ok bool, now time.Time) {
	if m == nil {
		return
	}
	m.configuration.reloads.WithLabelValues(resultOf(ok)).Inc()
	m.configuration.successful.Set(truth(ok))
	if ok {
		m.configuration.loaded.Set(float64(now.UnixNano()) / 1e9)
	}
}

// AuditFailed counts an entry of the audit log that could not be written.
func (m *Metrics) AuditFailed() {
	if m == nil {
		return
	}
	m.configuration.auditErrors.Inc()
}
