package configs

import (
	"strings"
	"testing"
	"time"
)

// What a health check speaks goes by the listeners, unless it says so itself.
func TestHealthChecks(t *testing.T) {
	for _, tt := range []struct {
		name, upstream, listeners, want string
	}{
		{"none by default", ``, `{protocol: amqp, upstream: u}`, "no health checks"},
		{"of the listener", `, health_check: {}`, `{protocol: mqtt, upstream: u}`, "health check mqtt every 2s"},
		{"of an opaque listener", `, health_check: {}`, `{protocol: tcp, upstream: u}`, "health check tcp every 2s"},
		{"of the same two", `, health_check: {}`, `{protocol: stomp, upstream: u}, {protocol: auto, upstreams: {stomp: u}}`, "health check stomp every 2s"},
		{"of different ones", `, health_check: {}`, `{protocol: stomp, upstream: u}, {protocol: auto, upstreams: {mqtt: u}}`, "health check tcp every 2s"},
		{"of a websocket", `, health_check: {}`, `{protocol: websocket, upstreams: {mqtt: u}}`, "health check tcp every 2s"},
		{"of both branches", `, health_check: {}`, `{protocol: auto, upstreams: {amqp: u, websocket: u}}`, "health check tcp every 2s"},
		{"its own", `, health_check: {protocol: openwire, interval: 5s}`, `{protocol: tcp, upstream: u}`, "health check openwire every 5s"},
		{"priority", `, balance: priority`, `{protocol: openwire, upstream: u}`, "health check tcp every 1s"},
		{"priority with a protocol", `, balance: priority, health_check: {}`, `{protocol: openwire, upstream: u}`, "health check openwire every 1s"},
		{"priority without", `, balance: priority, health_check: {protocol: none}`, `{protocol: openwire, upstream: u}`, "no health checks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listeners := strings.ReplaceAll(tt.listeners, "{protocol", "{name: NAME, address: ADDRESS, policy: rabbitmq, protocol")
			for _, n := range []string{"1", "2"} {
				listeners = strings.Replace(strings.Replace(listeners, "NAME", "l"+n, 1), "ADDRESS", `"127.0.0.1:567`+n+`"`, 1)
			}
			cfg := mustParse(t, `
certificates: [{name: default, self_signed: {}}]
upstreams: {u: {nodes: ["127.0.0.1:1"]`+tt.upstream+`}}
listeners: [`+listeners+`]
`)
			if got := cfg.Upstreams["u"].HealthCheck.String(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestUpstreamDefaults(t *testing.T) {
	text := strings.Replace(minimal, `nodes: ["127.0.0.1:5672"]`, `nodes: ["127.0.0.1:5672"], connect_timeout: 2s, balance: priority, slow_start: 3s`, 1)
	cfg := mustParse(t, text)
	u := cfg.Upstreams["rabbit"]
	if u.DialTimeout != 4*time.Second || *u.HealthCheck != (HealthCheck{"tcp", time.Second, time.Second, 1, 2}) {
		t.Errorf("%+v, %+v", u, u.HealthCheck)
	}
	if len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Error(), "slow_start: with balance priority") {
		t.Errorf("warnings %v", cfg.Warnings)
	}
}
