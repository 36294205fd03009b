package clienthello

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// Alert descriptions (RFC 8446 §6, RFC 5246 §7.2).
const (
	alertCloseNotify       = 0
	alertUnexpectedMessage = 10
	alertRecordOverflow    = 22
	alertHandshakeFailure  = 40
	alertIllegalParameter  = 47
	alertDecodeError       = 50
	alertProtocolVersion   = 70
	alertUserCanceled      = 90
	alertMissingExtension  = 109
)

const (
	levelWarning = 1
	levelFatal   = 2
)

// Refusal is what every error of [Read] and [Parse] is.
type Refusal interface {
	error

	// Reason is a stable snake_case name, for a log field or metric label.
	Reason() string

	// Alert is the TLS AlertDescription (RFC 8446 §6) in Answer, and 0 if there
	// is none in it.
	Alert() uint8

	// Answer is what to write to the client before the connection is closed:
	// most often a TLS alert record, and nil where nothing would be understood
	// or nobody is left to tell. To make sure that it arrives, give the write a
	// deadline of its own, close the write side, and read on for a bounded time
	// until the client has closed too.
	Answer() []byte
}

// unknownVersion is the record version for clients whose hello nobody could
// read: clients of every version take TLS 1.0's (RFC 5246 appendix E.1).
const unknownVersion = 0x0301

// AlertRecord returns a TLS record with a fatal alert, as it is sent before a
// version is negotiated, for a client whose hello has the given legacy_version.
//
// The record's version is the hello's, between SSL 3.0 and TLS 1.2: clients of
// one fixed version take an alert record of any other for garbage, and their
// users never see which alert it was.
func AlertRecord(legacyVersion uint16, description uint8) []byte {
	return appendAlert(nil, min(max(legacyVersion, 0x0300), 0x0303), levelFatal, description)
}

func appendAlert(b []byte, version uint16, level, description uint8) []byte {
	return append(b, recordAlert, byte(version>>8), byte(version), 0, 2, level, description)
}

// ParseError refuses what began as TLS and is no ClientHello that this package
// accepts.
type ParseError struct {
	// Detail says which rule was broken, and by what. What the client sent is
	// escaped.
	Detail string

	alert    uint8
	tooLarge bool
}

func (e *ParseError) Error() string {
	if e.tooLarge {
		return "clienthello: hello too large: " + e.Detail
	}
	return "clienthello: malformed hello: " + e.Detail
}

// Reason is "hello_too_large" if the limit given to [Read] was passed, and
// "malformed_hello" otherwise.
func (e *ParseError) Reason() string {
	if e.tooLarge {
		return "hello_too_large"
	}
	return "malformed_hello"
}

// Alert is the alert that the RFC of the broken rule asks for; decode_error if
// it names none, and illegal_parameter for a hello that is too large, as
// OpenSSL and BoringSSL answer it.
func (e *ParseError) Alert() uint8 { return e.alert }

// Answer is the alert record of [ParseError.Alert].
func (e *ParseError) Answer() []byte { return AlertRecord(unknownVersion, e.alert) }

func refuse(alert uint8, format string, args ...any) *ParseError {
	return &ParseError{alert: alert, Detail: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *ParseError {
	return &ParseError{alert: alertIllegalParameter, tooLarge: true, Detail: fmt.Sprintf(format, args...)}
}

// PartialError says that the connection failed before the hello was complete.
// It wraps the error of the connection, [io.EOF] included.
type PartialError struct {
	Received int   // bytes that came before; 0 for a client that said nothing
	Err      error // of the connection's Read
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("clienthello: after %d bytes of a hello: %v", e.Received, e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// Reason is "handshake_timeout" when a deadline passed, "handshake_canceled"
// when the connection was closed on this side, and "client_closed" when the
// client ended it: by a FIN, a reset, or by being gone.
func (e *PartialError) Reason() string {
	switch {
	case e.timeout():
		return "handshake_timeout"
	case errors.Is(e.Err, net.ErrClosed), errors.Is(e.Err, io.ErrClosedPipe):
		return "handshake_canceled"
	default:
		return "client_closed"
	}
}

func (e *PartialError) timeout() bool {
	var netErr net.Error
	return errors.As(e.Err, &netErr) && netErr.Timeout()
}

// Alert is user_canceled after a timeout ("canceling the handshake for some
// reason unrelated to a protocol failure", RFC 8446 §6.1), and 0 otherwise.
func (e *PartialError) Alert() uint8 {
	if e.timeout() {
		return alertUserCanceled
	}
	return 0
}

// Answer is user_canceled and the close_notify that has to follow it after a
// timeout (RFC 8446 §6.1), and nil otherwise.
func (e *PartialError) Answer() []byte {
	if !e.timeout() {
		return nil
	}
	return appendAlert(appendAlert(nil, unknownVersion, levelWarning, alertUserCanceled), unknownVersion, levelWarning, alertCloseNotify)
}
