package certs

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

func TestZapLogger(t *testing.T) {
	var log logBuffer
	z := newZapLogger(log.logger(slog.LevelDebug)).Named("maintenance").With(zap.String("certificate", "x"))
	z.Debug("details", zap.Strings("names", []string{"a", "b"}))
	z.Info("steps", zap.Int("n", 1))
	z.Warn("trouble")
	z.Error("failure", zap.Error(errors.New("why")))
	want := `level=DEBUG msg="certmagic: details" certificate=x logger=maintenance names="[a b]"
level=DEBUG msg="certmagic: steps" certificate=x logger=maintenance n=1
level=WARN msg="certmagic: trouble" certificate=x logger=maintenance
level=ERROR msg="certmagic: failure" certificate=x logger=maintenance error=why
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Error(diff)
	}

	var quiet logBuffer
	newZapLogger(quiet.logger(slog.LevelInfo)).Info("steps")
	if quiet.String() != "" {
		t.Errorf("logged %q", quiet.String())
	}
}
