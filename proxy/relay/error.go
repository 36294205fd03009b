package relay

import (
	"errors"
	"io"
	"syscall"
)

// Side names one end of a connection.
type Side string

// The two sides.
const (
	Client  Side = "client"
	Backend Side = "backend"
)

// An Error says why a connection ended otherwise than by each side closing in
// its turn.
type Error struct {
	Side Side  // whose connection failed; empty if the relay made the end
	Err  error // what happened

	reason string // set where there is no Side to tell it from
}

var (
	errLinger   = &Error{reason: "linger_timeout", Err: errors.New("the other side did not end in time after the first had")}
	errShutdown = &Error{reason: "shutdown", Err: errors.New("the relay was closed")}
	errIdle     = &Error{reason: "idle_timeout", Err: errors.New("nothing was carried for as long as Limits.Idle allows")}
	errMaxAge   = &Error{reason: "max_age", Err: errors.New("the connection was open for as long as Limits.Until allows")}
)

// Error implements error.
func (e *Error) Error() string {
	if e.Side == "" {
		return "relay: " + e.Err.Error()
	}
	return "relay: " + string(e.Side) + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Reason returns what happened as a word for logs and metrics:
//
//	client_reset, backend_reset          the peer's RST, or it was gone when we wrote
//	client_timeout, backend_timeout      TCP gave the peer up (keep-alive, retransmissions)
//	client_truncated, backend_truncated  the stream ended inside a TLS record
//	client_error, backend_error          anything else, a TLS alert for one
//	linger_timeout                       one side ended, the other neither sent, took nor ended for Linger
//	shutdown                             the relay was closed
//	idle_timeout, max_age                a limit of Limits was reached
//	panic                                Read, Write or CloseWrite panicked; Err holds the stack
//
// If the error of a Conn has a Reason of its own, that is it.
func (e *Error) Reason() string {
	if e.reason != "" {
		return e.reason
	}
	var named interface{ Reason() string }
	if errors.As(e.Err, &named) {
		return named.Reason()
	}
	return string(e.Side) + "_" + failure(e.Err)
}

func failure(err error) string {
	switch {
	case gone(err):
		return "reset"
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "timeout"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "truncated"
	default:
		return "error"
	}
}

func gone(err error) bool {
	return wasReset(err) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

func wasReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNABORTED)
}

// endOfStream reports whether err leaves the connection able to carry the
// other direction on. A TLS stream that ends with no close_notify does:
// crypto/tls reports it as io.EOF between records, and as
// io.ErrUnexpectedEOF inside one, and the peer can still be written to.
func endOfStream(err error) bool {
	return err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)
}

// verdict weighs how reading p ended against the failure that writing to it
// met before, and returns what became of p; nil is a close in good order.
//
// Reading knows more, except of RST: the system reports that once, to whoever
// comes first, and to the other an end of stream.
func (p *peer) verdict(readErr error) error {
	switch {
	case p.err != nil && wasReset(p.err):
		return p.err
	case readErr == io.EOF:
		return nil
	default:
		return readErr
	}
}
