// Package limits says who may connect, how many and how often, and in which
// order handshakes get the processor.
//
// What is counted lives with a listener's socket, and the limits it is held
// against come with each call: a reload changes these in place, and what is
// open stays counted.
package limits

import "fmt"

// Alerts of RFC 8446 §6.2.
//
// A client that may never come in is told access_denied, which is what an
// operator looks for in its log. One that came at the wrong moment is told
// internal_error, "an internal error unrelated to the peer or the correctness of
// the protocol (such as a memory allocation failure)": of all alerts the only
// one that finds no fault with what the client has offered, so that trying again
// makes sense. user_canceled would promise a close_notify behind it, and
// handshake_failure sends people to look at their cipher suites.
const (
	alertAccessDenied  = 49
	alertInternalError = 80
)

// What [Refusal.Reason] returns.
const (
	reasonDenied           = "client_denied"
	reasonConnections      = "client_connection_limit"
	reasonClientHandshakes = "client_handshake_limit"
	reasonClientRate       = "client_handshake_rate"
	reasonHandshakes       = "handshake_limit"
	reasonOverloaded       = "overloaded"
)

// A Refusal is why a connection is not let in.
type Refusal struct {
	reason string
	alert  uint8
	text   string
}

// Error says which limit it was.
func (r *Refusal) Error() string { return "limits: " + r.text }

// Reason is a word for logs and metrics:
//
//	client_denied            the address is denied, or not among those allowed
//	client_connection_limit  the client has as many connections as it may
//	client_handshake_limit   the client has as many handshakes in flight as it may
//	client_handshake_rate    the client comes more often than it may
//	handshake_limit          newer handshakes have taken the place of this one
//	overloaded               the processors were busy with others until its time was over
func (r *Refusal) Reason() string { return r.reason }

// Alert is what the client is told if TLS has not begun.
func (r *Refusal) Alert() uint8 { return r.alert }

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{reason: reason, alert: alertInternalError, text: fmt.Sprintf(format, args...)}
}
