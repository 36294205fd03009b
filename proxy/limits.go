package proxy

import (
	"math/rand/v2"
	"time"

	"github.com/suitegate/suitegate/proxy/relay"
)

// relayLimits are those of a connection that began at start, once it reaches
// its broker.
func (r *route) relayLimits(start time.Time) relay.Limits {
	limits := relay.Limits{Idle: r.IdleTimeout}
	if r.MaxAge > 0 {
		jitter := rand.Float64() * float64(r.MaxAgeJitter) / 100
		limits.Until = start.Add(r.MaxAge - time.Duration(jitter*float64(r.MaxAge)))
	}
	return limits
}
