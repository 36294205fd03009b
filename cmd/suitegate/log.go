package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/suitegate/suitegate/configs"
)

// newLogger returns a logger to w as the configuration wants it, and its
// level, which a reload may change.
func newLogger(w io.Writer, cfg configs.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(levelOf(cfg))
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options)), level
	}
	return slog.New(slog.NewJSONHandler(w, options)), level
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
