package metrics

import "github.com/prometheus/client_golang/prometheus"

func newLogLines() *prometheus.CounterVec {
	return counter("log_lines_dropped_total", "Lines of the log that could not be written.", "cause")
}

// LogLineDropped counts a line of the log that could not be written; cause is
// one of package logsink's.
func (m *Metrics) LogLineDropped(cause string) {
	if m == nil {
		return
	}
	m.logLines.WithLabelValues(cause).Inc()
}
