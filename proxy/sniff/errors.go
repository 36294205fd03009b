package sniff

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// MismatchError refuses a client that does not speak the listener's protocol,
// or none of its versions that there are brokers for.
type MismatchError struct {
	Want  Protocol // what the listener is for
	Found Protocol // what the client speaks

	// Detail says more where there is more to say. Of what the client sent it
	// holds version numbers, and the first four bytes of an unknown protocol,
	// escaped.
	Detail string

	answer []byte
}

// maxQuoted bounds what of an unknown protocol is shown, in bytes: a magic
// number's worth, and nothing of a payload.
const maxQuoted = 4

func newMismatch(found finding, want Protocol, b []byte) *MismatchError {
	e := &MismatchError{Want: want, Found: found.protocol}
	switch {
	case want == Any, want == found.protocol, want == WebSocket && found.protocol == HTTP:
		e.Detail, e.answer = found.fault, found.answer
	default:
		e.answer = answerFor(want, e.place())
	}
	if found.protocol == Unknown {
		e.Detail = fmt.Sprintf("begins with %q", b[:min(len(b), maxQuoted)])
	}
	return e
}

// Error reads like "sniff: MQTT on the AMQP listener".
func (e *MismatchError) Error() string {
	if e.Detail == "" {
		return "sniff: " + e.place()
	}
	return "sniff: " + e.place() + ": " + e.Detail
}

func (e *MismatchError) place() string {
	return e.Found.title() + " on the " + e.Want.title() + " listener"
}

// Reason is "wrong_protocol".
func (e *MismatchError) Reason() string { return "wrong_protocol" }

// Answer is what to write to the client before the connection is closed; nil if
// there is nothing that it would understand.
//
//   - An AMQP listener answers with a protocol header that brokers support:
//     that of 1.0 with SASL for an unknown version after 1.0, else that of 0-9-1.
//   - An MQTT listener answers an MQTT client whose protocol level is
//     unacceptable with a CONNACK: return code 1 before MQTT 5.0, 0x84 since.
//   - A STOMP listener answers with an ERROR frame.
//   - A WebSocket listener answers with status 400, or 426 to a request that
//     asks for no upgrade.
//   - An OpenWire listener has no answer.
//   - A listener for any of them answers clients that it recognises like the
//     listener for their protocol.
//
// Close the write side first and go on reading for a bounded time, so that the
// answer arrives.
func (e *MismatchError) Answer() []byte { return e.answer }

// PartialError says that the connection failed before its first bytes told
// which protocol it is. It wraps the error of the connection, [io.EOF] included.
type PartialError struct {
	Received int   // bytes that came before; 0 for a client that said nothing
	Err      error // of the connection's Read
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("sniff: no protocol after %d bytes: %v", e.Received, e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// Reason is "client_closed" when the client ended its stream,
// "client_truncated" when it did so inside a TLS record, "client_reset" when it
// was gone, "first_bytes_timeout" when a deadline passed, and "client_error"
// otherwise.
func (e *PartialError) Reason() string {
	switch {
	case errors.Is(e.Err, io.EOF):
		return "client_closed"
	case errors.Is(e.Err, io.ErrUnexpectedEOF):
		return "client_truncated"
	case errors.Is(e.Err, syscall.ECONNRESET), errors.Is(e.Err, syscall.EPIPE):
		return "client_reset"
	case errors.Is(e.Err, os.ErrDeadlineExceeded):
		return "first_bytes_timeout"
	default:
		return "client_error"
	}
}
