package engine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strconv"
)

// alertNames are the AlertDescriptions that a server or a client may send (RFC
// 8446 §6, RFC 5246 §7.2, RFC 7507 §2).
var alertNames = map[uint8]string{
	0:   "close_notify",
	10:  "unexpected_message",
	20:  "bad_record_mac",
	21:  "decryption_failed",
	22:  "record_overflow",
	30:  "decompression_failure",
	40:  "handshake_failure",
	41:  "no_certificate",
	42:  "bad_certificate",
	43:  "unsupported_certificate",
	44:  "certificate_revoked",
	45:  "certificate_expired",
	46:  "certificate_unknown",
	47:  "illegal_parameter",
	48:  "unknown_ca",
	49:  "access_denied",
	50:  "decode_error",
	51:  "decrypt_error",
	60:  "export_restriction",
	70:  "protocol_version",
	71:  "insufficient_security",
	80:  "internal_error",
	86:  "inappropriate_fallback",
	90:  "user_canceled",
	100: "no_renegotiation",
	109: "missing_extension",
	110: "unsupported_extension",
	111: "certificate_unobtainable",
	112: "unrecognized_name",
	113: "bad_certificate_status_response",
	114: "bad_certificate_hash_value",
	115: "unknown_psk_identity",
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

// ClientAlert is the AlertDescription by which the client broke off a handshake
// whose error is [ReasonClientAlert].
func ClientAlert(err error) (alert uint8, ok bool) {
	failed, ok := errors.AsType[*HandshakeError](err)
	if !ok || failed.reason != ReasonClientAlert {
		return 0, false
	}
	// All engines keep it as a number of a type that they do not export.
	op, ok := errors.AsType[*net.OpError](failed.err)
	if !ok {
		return 0, false
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		return uint8(v.Uint()), true
	}
	return 0, false
}

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
