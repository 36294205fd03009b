package configs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Rate is so many in so much time, all of which may come at once. The zero value
// is no limit.
type Rate struct {
	Count int
	Per   time.Duration // a second, a minute or an hour
}

// String is the rate as it is written: "100/s".
func (r Rate) String() string {
	switch r.Per {
	case time.Second:
		return fmt.Sprintf("%d/s", r.Count)
	case time.Minute:
		return fmt.Sprintf("%d/m", r.Count)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.Count)
	}
	return "none"
}

// ratePerTime is a Rate as it is written: a number, and the time it is for.
type ratePerTime Rate

func (*ratePerTime) kind() (tag, want string) { return "!!str", "a rate, such as 100/s" }

func (r *ratePerTime) parse(s string) error {
	const most = 1_000_000
	number, unit, _ := strings.Cut(s, "/")
	count, err := strconv.ParseUint(number, 10, 32)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || per == 0 || count == 0 || count > most {
		return fmt.Errorf("bad rate %s; want a number from 1 to %d, and /s, /m or /h, such as 100/s", quote(s), most)
	}
	*r = ratePerTime{Count: int(count), Per: per}
	return nil
}

// limits settles how much a listener bears, and for how long.
func (r *resolver) limits(k *listenerKeys, l *Listener) {
	l.Allow, l.Deny = networks(k.Allow.value), networks(k.Deny.value)
	l.MaxConnections = int(k.MaxConnections.or(DefaultMaxConnections))
	l.MaxConnectionsPerClient = int(k.MaxConnectionsPerClient.or(DefaultMaxConnectionsPerClient))
	l.MaxHandshakes = int(k.MaxHandshakes.or(DefaultMaxHandshakes))
	l.MaxHandshakesPerClient = int(k.MaxHandshakesPerClient.or(DefaultMaxHandshakesPerClient))
	l.HandshakeRate = Rate(k.HandshakeRate.value)
	l.HandshakeRatePerClient = Rate(k.HandshakeRatePerClient.value)

	l.HandshakeTimeout = durationOr(k.HandshakeTimeout, DefaultHandshakeTimeout)
	l.HelloTimeout = durationOr(k.HelloTimeout, l.HandshakeTimeout)
	l.FirstBytesTimeout = durationOr(k.FirstBytesTimeout, DefaultFirstBytesTimeout)
	l.IdleTimeout = durationOr(k.IdleTimeout, DefaultIdleTimeout)
	l.MaxAge = durationOr(k.MaxAge, DefaultMaxAge)
	l.MaxAgeJitter = int(k.MaxAgeJitter.or(DefaultMaxAgeJitter))
	if k.MaxAgeJitter.given() && !k.MaxAge.given() {
		r.errorf(k.MaxAgeJitter.key, "max_connection_age_jitter: there is no max_connection_age")
	}
	if l.HelloTimeout > l.HandshakeTimeout {
		r.errorf(k.HelloTimeout.node, "hello_timeout: %v is longer than handshake_timeout, which has it in it and is %v", l.HelloTimeout, l.HandshakeTimeout)
	}
}

func networks(list []field[network]) []netip.Prefix {
	var out []netip.Prefix
	for _, f := range valid(list) {
		out = append(out, netip.Prefix(f.value))
	}
	return out
}
