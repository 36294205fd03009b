package main

import (
	"testing"

	"github.com/suitegate/suitegate/configs"
)

func TestConnectionsWanted(t *testing.T) {
	for _, tt := range []struct {
		limits []int
		want   int64
	}{
		{[]int{100}, 100},
		{[]int{100, 20_000}, 20_100},
		{[]int{100, 0}, fewConnections},
		{[]int{0, 5000}, 5000},
	} {
		cfg := &configs.Config{}
		for _, limit := range tt.limits {
			cfg.Listeners = append(cfg.Listeners, configs.Listener{MaxConnections: limit})
		}
		if got := connectionsWanted(cfg); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.limits, got, tt.want)
		}
	}
}
