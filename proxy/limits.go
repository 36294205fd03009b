package proxy

import (
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/suitegate/suitegate/proxy/limits"
	"github.com/suitegate/suitegate/proxy/relay"
)

// admit holds the connection against what the listener bears, whoever the client
// is.
func (c *connection) admit() error {
	active := c.listener.active.Add(1)
	if limit := c.route.MaxConnections; limit > 0 && active > int64(limit) {
		c.listener.active.Add(-1)
		return errConnectionLimit
	}
	c.admitted = true
	c.listener.server.Metrics.HandshakeBegan(c.route.Name)
	c.flight = c.listener.flights.Begin(c.route.MaxHandshakes, c.yield)
	hello := c.start.Add(min(c.route.HelloTimeout, c.route.HandshakeTimeout))
	return c.socket.SetDeadline(hello)
}

// admitClient holds it against what the client may do. The rate of all clients
// comes last, so that those who are refused for themselves take nothing from the
// others.
func (c *connection) admitClient() (err error) {
	who := c.source.Addr()
	if err := c.route.addresses.Check(who); err != nil {
		return err
	}
	if c.lease, err = c.listener.clients.Admit(who, c.route.clientLimits); err != nil {
		return err
	}
	if !c.listener.bucket.Take(c.route.handshakeRate) {
		return errHandshakeRate
	}
	return nil
}

// errAborted is for whoever waits; the connection ends with "shutdown".
var errAborted = errors.New("proxy: the gateway ends")

var errHandshakeRate = &refusal{reason: "handshake_rate", alert: alertInternalError,
	err: errors.New("proxy: connections come more often than handshake_rate allows")}

// nameHelloTimeout tells the hello's own timeout, where there is one, from that
// of the handshake.
func (c *connection) nameHelloTimeout(err error) error {
	if c.route.HelloTimeout == c.route.HandshakeTimeout || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return &refusal{reason: "hello_timeout", alert: alertOf(err), err: err}
}

func (c *connection) handshakeDeadline() time.Time { return c.start.Add(c.route.HandshakeTimeout) }

// yield ends the handshake for the sake of newer ones.
func (c *connection) yield(why error) {
	c.listener.server.Metrics.HandshakeOver(c.route.Name)
	c.turn.Cancel(why)
	_ = c.socket.SetReadDeadline(time.Unix(1, 0)) // what it was waiting for now fails
}

// handshakeOver takes the connection out of the handshakes in flight, whatever
// became of its own. It reports false if that had to yield before.
func (c *connection) handshakeOver() bool {
	c.lease.HandshakeOver()
	over := c.flight.Over()
	if over {
		c.listener.server.Metrics.HandshakeOver(c.route.Name)
	}
	return over
}

// limit takes the limits out of the route's configuration.
func (r *route) limit() {
	r.addresses = limits.Addresses{Allow: r.Allow, Deny: r.Deny}
	r.handshakeRate = limits.Rate(r.HandshakeRate)
	r.clientLimits = limits.ClientLimits{
		Connections:   r.MaxConnectionsPerClient,
		Handshakes:    r.MaxHandshakesPerClient,
		HandshakeRate: limits.Rate(r.HandshakeRatePerClient),
	}
}

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
