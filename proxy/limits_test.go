package proxy

import (
	"io"
	"testing"
	"time"

	"github.com/suitegate/suitegate/configs"
)

// Limits on the time of a connection end it as the client would: with
// close_notify, and under their names.
func TestTimeLimits(t *testing.T) {
	for reason, keys := range map[string]string{
		"idle_timeout": ", idle_timeout: 300ms",
		"max_age":      ", max_connection_age: 300ms, max_connection_age_jitter: 50%",
	} {
		t.Run(reason, func(t *testing.T) {
			g := start(t, one("tcp", "rabbitmq", broker(t, echo), keys))
			conn, err := g.connect("front", g.client())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if told, err := io.ReadAll(conn); err != nil || string(told) != "x" {
				t.Errorf("told %q, %v, want the echo and an orderly end", told, err)
			}
			line := g.line(1)
			if line["reason"] != reason || line["level"] != "INFO" {
				t.Errorf("log line %v, want reason %s", line, reason)
			}
			if !g.counted(`suitegate_connections_ended_total{listener="front",reason="` + reason + `"} 1`) {
				t.Error("not in the metrics")
			}
		})
	}
}

// Jitter takes from a connection's time, and never adds to it.
func TestJitter(t *testing.T) {
	start := time.Unix(1, 0)
	r := &route{Listener: configs.Listener{IdleTimeout: time.Minute, MaxAge: time.Hour, MaxAgeJitter: 10}}
	distinct := map[time.Time]bool{}
	for range 1000 {
		limits := r.relayLimits(start)
		if age := limits.Until.Sub(start); age > time.Hour || age < 54*time.Minute || limits.Idle != time.Minute {
			t.Fatalf("age %v, idle %v, want 54m to 60m, and 1m", age, limits.Idle)
		}
		distinct[limits.Until] = true
	}
	if len(distinct) < 900 {
		t.Errorf("%d different ends of 1000", len(distinct))
	}
	r.MaxAgeJitter = 0
	if until := r.relayLimits(start).Until; !until.Equal(start.Add(time.Hour)) {
		t.Errorf("without jitter the end is at %v", until)
	}
	if limits := (&route{}).relayLimits(start); limits.Idle != 0 || !limits.Until.IsZero() {
		t.Errorf("limits %v where none is set", limits)
	}
}
