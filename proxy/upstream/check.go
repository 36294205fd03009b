package upstream

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// What holds for a [Checker] that leaves it out.
const (
	DefaultCheckInterval = 2 * time.Second
	DefaultCheckTimeout  = 2 * time.Second
	DefaultCheckRise     = 2
	DefaultCheckFall     = 3
)

// Checker says how nodes are checked. The zero value does not.
//
// Each node is checked by a goroutine of its own, one check after the other, at
// times that differ from node to node. What the first one says holds at once.
// A node that accepts connections and says nothing is down after
// Fall x (Interval + Timeout) at most.
type Checker struct {
	// Protocol is what the node has to speak. Default: "", there are no checks.
	Protocol Protocol

	// Interval is the time between two checks, less up to a tenth that is left to
	// chance. Default: DefaultCheckInterval (2 s).
	Interval time.Duration

	// Timeout bounds a check, from the TCP handshake to the end of the answer.
	// Default: DefaultCheckTimeout (2 s).
	Timeout time.Duration

	// Rise is how many checks in a row have to succeed until a node that is down
	// is up. Default: DefaultCheckRise (2).
	Rise int

	// Fall is how many checks in a row have to fail until a node that is up is
	// down. Default: DefaultCheckFall (3).
	Fall int
}

func (c Checker) enabled() bool           { return c.Protocol != "" }
func (c Checker) interval() time.Duration { return cmp.Or(c.Interval, DefaultCheckInterval) }
func (c Checker) timeout() time.Duration  { return cmp.Or(c.Timeout, DefaultCheckTimeout) }
func (c Checker) rise() int               { return cmp.Or(c.Rise, DefaultCheckRise) }
func (c Checker) fall() int               { return cmp.Or(c.Fall, DefaultCheckFall) }

// first is the time until a node's first check: soon, because nothing is known
// of it, and for each node another, so that a hundred are not checked at once.
func (c Checker) first() time.Duration { return rand.N(min(c.interval(), DefaultCheckInterval)) }

// errNoChecks goes with the reason of a node that was down when checks were
// switched off.
var errNoChecks = errors.New("upstream: health checks were switched off")

// startBackend has a node watched, if the pool is started.
func (p *Pool) startBackend(b *Backend) {
	if p.running == nil {
		return
	}
	var ctx context.Context
	ctx, b.stop = context.WithCancel(p.running)
	p.tasks.Go(func() { p.watch(ctx, b) })
}

// watch checks a node whenever a check is due.
func (p *Pool) watch(ctx context.Context, b *Backend) {
	for ctx.Err() == nil {
		p.mu.Lock()
		due := b.due
		p.mu.Unlock()
		var alarm <-chan time.Time
		if !due.IsZero() {
			alarm = time.After(time.Until(due))
		}
		select {
		case <-ctx.Done():
		case <-b.wake: // due has changed
		case <-alarm:
			p.check(ctx, b)
		}
	}
}

// check asks a node whether it is well: in the protocol of the checks, or where
// there are none whether a connection succeeds.
func (p *Pool) check(ctx context.Context, b *Backend) {
	p.mu.Lock()
	settings := p.settings
	p.mu.Unlock()
	protocol, timeout := settings.Check.Protocol, settings.Check.timeout()
	if !settings.Check.enabled() {
		protocol, timeout = TCP, settings.connectTimeout()
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	err := p.probe(limited, b, protocol, &settings)
	if ctx.Err() != nil {
		return
	}
	p.Metrics.Checked(p.Name, b.Address, resultOf(err))

	p.mu.Lock()
	defer p.mu.Unlock()
	b.lastCheck, b.checkTook = began, time.Since(began)
	if resultOf(err) != reasonResources { // which says nothing of the node
		b.judge(err, p.settings.Check)
	}
	b.due = b.next(p.settings.Check)
}

// next is when to check again.
func (b *Backend) next(checker Checker) time.Time {
	var wait time.Duration
	switch ejected := b.state == StateEjected; {
	case checker.enabled() && ejected:
		wait = min(checker.interval(), b.ejection())
	case checker.enabled():
		wait = checker.interval()
	case ejected:
		wait = b.ejection()
	default:
		return time.Time{}
	}
	return time.Now().Add(jitter(wait))
}

func resultOf(err error) string {
	if err == nil {
		return "ok"
	}
	return reason(err)
}
