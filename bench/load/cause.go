package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"sync"
	"syscall"

	"github.com/suitegate/suitegate/proxy/engine"
)

// connectError is an error from before there was a connection.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// brokerError is an error of a protocol behind TLS, before a message was sent.
type brokerError struct{ err error }

func (e *brokerError) Error() string { return e.err.Error() }
func (e *brokerError) Unwrap() error { return e.err }

// errTooLate is a handshake that could not begin before it had timed out.
var errTooLate = errors.New("load: there was no connection left to begin it with in time")

// An ErrorCount says how many connections failed for one cause.
type ErrorCount struct {
	// Cause is a name: "connect refused", "connect timeout", "timeout", "not
	// begun in time", "alert NAME" (the server's), "alert sent: NAME" (ours),
	// "not resumed", "no ticket", "another suite", "another group", "certificate",
	// "broker refused", "not TLS", "closed by server", "reset by server", "no local port", "too many
	// open files", "lost bytes", "wrong answer", "unreachable", "other".
	Cause string `json:"cause"`
	Count int64  `json:"count"`
	// Example is the text of the first such error.
	Example string `json:"example"`
}

// Cause names the cause of an error of a connection, as in [ErrorCount].
func Cause(err error) string {
	_, connecting := errors.AsType[*connectError](err)
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errNotResumed):
		return "not resumed"
	case errors.Is(err, errNoTicket):
		return "no ticket"
	case errors.Is(err, errAnotherSuite):
		return "another suite"
	case errors.Is(err, errAnotherGroup):
		return "another group"
	case errors.Is(err, errTooLate):
		return "not begun in time"
	case errors.Is(err, errLost):
		return "lost bytes"
	case errors.Is(err, errWrongAnswer):
		return "wrong answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connect refused"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no local port"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isNet && netErr.Timeout():
		if connecting {
			return "connect timeout"
		}
		return "timeout"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset by server"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by server"
	}
	return tlsCause(err)
}

func tlsCause(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "not TLS"
	}
	// Before the alert that was sent for it: what is wrong says more.
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "certificate"
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok {
		if _, refused := errors.AsType[*brokerError](err); refused {
			return "broker refused"
		}
		return "other"
	}
	switch op.Op {
	case "remote error":
		// Both clients keep it as a number of a type that they do not export.
		if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
			return "alert " + engine.AlertName(uint8(v.Uint()))
		}
	case "local error":
		if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
			return "alert sent: " + engine.AlertName(uint8(v.Uint()))
		}
		if fault, ok := errors.AsType[interface {
			error
			Alert() uint8
		}](op.Err); ok {
			return "alert sent: " + engine.AlertName(fault.Alert())
		}
	}
	return "other"
}

// tally counts errors by their cause.
type tally struct {
	mu     sync.Mutex
	total  int64
	causes map[string]*ErrorCount
}

func (t *tally) add(err error) {
	cause := Cause(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	if t.causes == nil {
		t.causes = make(map[string]*ErrorCount)
	}
	if t.causes[cause] == nil {
		t.causes[cause] = &ErrorCount{Cause: cause, Example: err.Error()}
	}
	t.causes[cause].Count++
}

func (t *tally) sum() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// counts returns the causes, the most frequent first, and never nil: for JSON.
func (t *tally) counts() []ErrorCount {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []ErrorCount{}
	for _, c := range t.causes {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	return list
}
