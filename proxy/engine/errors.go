package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

// alertNames are the AlertDescriptions that a server sends before it has an
// engine at work, and those for a client's certificate (RFC 8446 §6, RFC 7507
// §2).
var alertNames = map[uint8]string{
	10:  "unexpected_message",
	22:  "record_overflow",
	40:  "handshake_failure",
	42:  "bad_certificate",
	43:  "unsupported_certificate",
	44:  "certificate_revoked",
	45:  "certificate_expired",
	46:  "certificate_unknown",
	47:  "illegal_parameter",
	48:  "unknown_ca",
	49:  "access_denied",
	50:  "decode_error",
	70:  "protocol_version",
	71:  "insufficient_security",
	80:  "internal_error",
	86:  "inappropriate_fallback",
	109: "missing_extension",
	112: "unrecognized_name",
	116: "certificate_required",
	120: "no_application_protocol",
}

// AlertName is the RFC's name of an AlertDescription.
func AlertName(alert uint8) string {
	if name, ok := alertNames[alert]; ok {
		return name
	}
	return "alert_" + strconv.Itoa(int(alert))
}

// Reasons that [HandshakeError] gives where a [ClientAuth] has not given its own.
const (
	ReasonClientAlert      = "client_alert"      // the client sent a fatal alert: it refuses us
	ReasonClientClosed     = "client_closed"     // the client went away
	ReasonHandshakeTimeout = "handshake_timeout" // the client took too long
	ReasonHandshakeFailed  = "handshake_failed"  // a message of the client's was wrong; it was told by alert
)

// HandshakeError is a handshake that failed, with a named reason.
type HandshakeError struct {
	reason string
	err    error
}

// NewHandshakeError names the reason of an error of [Conn.HandshakeContext].
func NewHandshakeError(err error) *HandshakeError {
	return &HandshakeError{reason: reasonOf(err), err: err}
}

func (e *HandshakeError) Error() string { return fmt.Sprintf("engine: handshake: %v", e.err) }
func (e *HandshakeError) Unwrap() error { return e.err }

// Reason is one of the Reason constants, or that of the [ClientAuth]'s error.
func (e *HandshakeError) Reason() string { return e.reason }

func reasonOf(err error) string {
	var op *net.OpError
	var named interface{ Reason() string }
	switch {
	case errors.As(err, &named):
		return named.Reason()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonHandshakeTimeout
	// crypto/tls marks alerts that it received and sent by the Op alone.
	case errors.As(err, &op) && op.Op == "remote error":
		return ReasonClientAlert
	case errors.As(err, &op) && op.Op == "local error":
		return ReasonHandshakeFailed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &op):
		return ReasonClientClosed
	default:
		return ReasonHandshakeFailed
	}
}
