package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"time"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clientauth"
	"github.com/suitegate/suitegate/proxy/clienthello"
	"github.com/suitegate/suitegate/proxy/engine"
	"github.com/suitegate/suitegate/proxy/relay"
)

// alertInternalError tells a client that the fault is not its own (RFC 8446 §6.2).
const alertInternalError = 80

// A refusal is an error of the gateway itself, with the same three faces as
// those of the packages below: a named reason, and what the client is told.
type refusal struct {
	reason string
	alert  uint8  // before TLS is up; 0 for none
	answer []byte // once it is; nil for none
	err    error
}

func (r *refusal) Error() string  { return r.err.Error() }
func (r *refusal) Unwrap() error  { return r.err }
func (r *refusal) Reason() string { return r.reason }
func (r *refusal) Alert() uint8   { return r.alert }
func (r *refusal) Answer() []byte { return r.answer }

// errConnectionLimit refuses a connection beyond max_connections.
var errConnectionLimit = &refusal{reason: "connection_limit", alert: alertInternalError,
	err: errors.New("proxy: the listener has as many connections as max_connections allows")}

// refuse tells the client why in the words of the protocol that it has reached,
// closes, and ends the connection.
func (c *connection) refuse(err error) {
	c.noteBroken()
	c.handshakeOver()
	if cause := c.flight.Err(); cause != nil {
		err = cause // of what has failed since
	}
	if c.aborted.Load() {
		err = &refusal{reason: "shutdown", err: err}
	}
	const patience = time.Second // for an alert or an answer to arrive
	_ = c.socket.SetDeadline(time.Now().Add(patience))
	c.tell(err)
	if c.listener.server.lingering.Add(1) <= maxLingering {
		c.linger()
	}
	c.listener.server.lingering.Add(-1)
	c.close()
	c.end(relay.Stats{}, err)
}

// maxLingering is how many refused connections wait for their alert to arrive.
// Those beyond are closed at once, which may cost their clients the alert: a
// refusal has to stay cheaper than a handshake, however many there are.
const maxLingering = 512

// tell says why in the words that the client understands now: an alert or an
// answer in the clear before TLS, nothing while an engine is at work (which has
// sent the alert, that of a verdict on the client's certificate for one), the
// protocol's answer after. The client may be gone, so errors of writing are
// nobody's.
func (c *connection) tell(err error) {
	var answers interface{ Answer() []byte }
	var answer []byte
	if errors.As(err, &answers) {
		answer = answers.Answer()
	}
	switch {
	case c.client != nil:
		_, _ = c.client.Write(answer)
		_ = c.client.CloseWrite()
	case c.engine != nil:
		if verdict, ok := errors.AsType[*clientauth.Refusal](err); ok {
			c.alert = engine.RefusalAlert(uint16(c.decision.Version), verdict)
		}
	default:
		c.alert = alertOf(err)
		if answer == nil && c.alert != 0 {
			answer = clienthello.AlertRecord(c.legacyVersion(), c.alert)
		}
		_, _ = c.socket.Write(answer)
	}
}

// legacyVersion is what the client's hello says, or TLS 1.0, which clients of
// every version take, if there was none.
func (c *connection) legacyVersion() uint16 {
	if c.hello == nil {
		return tls.VersionTLS10
	}
	return c.hello.LegacyVersion
}

// linger lets what was told arrive: closing a socket that has unread input
// sends a reset, which discards what is on its way (RFC 1122 §4.2.2.13). The
// deadline bounds the time, and the limit what a client can make us read.
func (c *connection) linger() {
	const limit = 256 << 10
	if half, ok := c.socket.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c.socket, limit)
	}
}

// reasonOf is the named reason of an error. Errors without one are the
// gateway's own fault.
func reasonOf(err error) string {
	var named interface{ Reason() string }
	switch {
	case errors.As(err, &named):
		return named.Reason()
	case errors.Is(err, engine.ErrNotAsDecided):
		return "not_as_decided"
	default:
		return "internal_error"
	}
}

// alertOf is the alert for an error before TLS: internal_error for those that
// name none, and 0 for those that name 0, whose client is told otherwise.
func alertOf(err error) uint8 {
	var refused *policy.Refusal
	var alerts interface{ Alert() uint8 }
	switch {
	case errors.As(err, &refused):
		return refused.Alert
	case errors.As(err, &alerts):
		return alerts.Alert()
	default:
		return alertInternalError
	}
}
