package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/proxy/logsink"
	"github.com/suitegate/suitegate/proxy/metrics"
)

// newLogger returns a logger to w as the configuration wants it, and its
// level, which a reload may change.
func newLogger(w io.Writer, cfg configs.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(levelOf(cfg))
	if cfg.Format == "text" {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), level
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: seconds})), level
}

// newSinkLogger returns a logger to w that never waits for w, with what stands
// between them, which the caller closes.
func newSinkLogger(w io.Writer, cfg configs.Log, counts *metrics.Metrics) (*logsink.Writer, *slog.Logger, *slog.LevelVar) {
	sink := &logsink.Writer{To: w, Lost: counts.LogLineDropped}
	log, level := newLogger(sink, cfg)
	sink.Recovered = func(lost map[string]int) {
		log.Error("lines of this log are lost here: it could not be written", "lost", lost)
	}
	sink.Start()
	return sink, log, level
}

// closeSink writes what is there. If that takes too long, there is nobody left to
// tell.
func closeSink(sink *logsink.Writer) {
	const patience = 2 * time.Second
	_ = sink.Close(patience)
}

// seconds makes durations numbers of seconds, the unit of the metrics: JSON
// would have nanoseconds otherwise. Text says "1.5ms".
func seconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

// levelOf is the level that the configuration names; configs has checked it.
func levelOf(cfg configs.Log) slog.Level {
	switch cfg.Level {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// logMistakes writes one line for each mistake or warning of a configuration
// file, with its position.
func logMistakes(log *slog.Logger, level slog.Level, mistakes configs.Errors) {
	for _, mistake := range mistakes {
		log.Log(context.Background(), level, "configuration", "at", mistake.Pos.String(), "reason", mistake.Reason)
	}
}
