//go:build !linux

package main

import (
	"log/slog"

	"github.com/suitegate/suitegate/configs"
)

// giveUp and confine are for Linux.
func giveUp(configs.Hardening, *slog.Logger) {}

func confine(cfg *configs.Config, _ *slog.Logger) (*confinement, error) {
	if cfg.Hardening.Landlock == configs.LandlockRequired {
		return nil, configs.Errors{{Pos: cfg.Position("hardening", "", "landlock"), Reason: "landlock: only Linux has it"}}
	}
	return &confinement{}, nil
}

func warnOpenFiles(*configs.Config, *slog.Logger) {}
