package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/suitegate/suitegate/policy"
)

// prober asks one server.
type prober struct {
	address string
	options Options
	slots   chan struct{}
	shares  func() ([]*keyShare, error) // for the groups that can be calculated, made once

	mu    sync.Mutex
	asked int
	seen  seen
}

// seen is what answers tell by the way.
type seen struct {
	chains  []*seenChain // each leaf once
	stapled bool
	asks    []policy.Version // in which a certificate of the client is asked for
	closed  int              // hellos that had the connection closed, twice, and no alert
	failed  int              // hellos that had alert internal_error, twice
	silent  int              // hellos that had no answer in time, twice
	notes   []string         // about what is hidden
}

// seenChain is a chain of certificates in DER, the leaf first.
type seenChain struct {
	chain    [][]byte
	versions []policy.Version // in which it is shown
}

// errRefused is the error of ask where the server accepts nothing of what a
// hello offers.
var errRefused = errors.New("refused")

// errSilent is what refuses a whole version, for the sake of time.
var errSilent = errors.New("no answer")

// ask makes a connection for one hello. A server that refuses in a way in
// which it may limit its clients is asked again a little later, once.
func (p *prober) ask(ctx context.Context, h *hello) (*answer, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	a, err := p.try(ctx, h)
	if mayPass(err) {
		select {
		case <-time.After(p.options.pause()):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		a, err = p.try(ctx, h)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.options.Progress != nil {
		p.options.Progress(p.asked)
	}
	var alert alertError
	switch {
	case err == nil:
		p.seen.note(a)
		return a, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &alert):
		if alert == alertInternalError {
			p.seen.failed++
		}
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	case isClosed(err):
		p.seen.closed++
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.seen.silent++
		return nil, fmt.Errorf("%w: %w within %s", errRefused, errSilent, p.options.timeout())
	}
	return nil, err
}

// try asks once.
func (p *prober) try(ctx context.Context, h *hello) (*answer, error) {
	wire, err := h.marshal()
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	deadline := time.Now().Add(p.options.timeout())
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire); err != nil && !isClosed(err) { // there may be an alert to read
		return nil, err
	}
	if h.whole {
		return finish(conn, h, wire)
	}
	return readAnswer(conn, h)
}

// mayPass reports whether another try is worth while: a server that limits its
// clients does not take the connection, closes it, or says internal_error.
func mayPass(err error) bool {
	var dial *net.OpError
	return errors.Is(err, alertError(alertInternalError)) || isClosed(err) || errors.As(err, &dial) && dial.Op == "dial" ||
		errors.Is(err, os.ErrDeadlineExceeded)
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (s *seen) note(a *answer) {
	s.stapled = s.stapled || a.stapled
	if a.asks && !slices.Contains(s.asks, a.version) {
		s.asks = append(s.asks, a.version)
	}
	if len(a.chain) == 0 {
		return
	}
	at := slices.IndexFunc(s.chains, func(c *seenChain) bool { return bytes.Equal(c.chain[0], a.chain[0]) })
	if at < 0 {
		at = len(s.chains)
		s.chains = append(s.chains, &seenChain{chain: a.chain})
	}
	if c := s.chains[at]; !slices.Contains(c.versions, a.version) {
		c.versions = append(c.versions, a.version)
	}
}

// note writes down that something is hidden.
func (p *prober) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.notes = append(p.seen.notes, fmt.Sprintf(format, args...))
}
