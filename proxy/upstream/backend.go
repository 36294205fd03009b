package upstream

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Backend is one address that clients can be sent to. It is of one [Pool], whose
// lock guards what can change.
type Backend struct {
	// Address is "host:port", a literal address or localhost.
	Address string

	// Node is the node of the configuration that it is of: Address, or a name
	// that it was found under.
	Node string

	pool        *Pool
	weight      int
	connections int       // open, or being opened
	turn        float64   // of roundRobin
	upSince     time.Time // zero if it has been up from the beginning

	state     State
	since     time.Time // of state
	why       error     // of state, unless StateUp
	checked   bool      // at least once
	good, bad int       // results of checks in a row
	ejections int       // in a row, for the length of the next
	due       time.Time // for the next check; zero for none

	lastCheck time.Time
	checkTook time.Duration

	wake chan struct{}      // tells watch that due has changed
	stop context.CancelFunc // ends watch; nil where there is none
}

// State is what is known of a node.
type State string

// A node is one of these.
const (
	StateUp      State = "up"
	StateDown    State = "down"    // health checks fail
	StateEjected State = "ejected" // a connection to it failed

	// StateUnresolved is that of a name without any address yet.
	StateUnresolved State = "unresolved"
)

// How long a node is out when connections to it fail: shortestEjection, and
// twice as long with every failure in a row. Then a connection of the pool's
// own, and no client, finds out whether it is back.
const (
	shortestEjection = time.Second
	longestEjection  = 10 * time.Second
)

// Release ends a connection that [Pool.Dial] has returned, for the counters of
// the node. It must be called once for each.
func (b *Backend) Release() {
	b.pool.mu.Lock()
	defer b.pool.mu.Unlock()
	b.connections--
}

func (b *Backend) fit() bool { return b.state == StateUp }

// weightAt is the node's weight, less while it starts slowly.
func (b *Backend) weightAt(now time.Time, slowStart time.Duration) float64 {
	weight := float64(b.weight)
	up := now.Sub(b.upSince)
	if b.upSince.IsZero() || up >= slowStart {
		return weight
	}
	return weight * max(0.1, float64(up)/float64(slowStart))
}

// eject takes a node out for a while because a connection to it failed.
func (p *Pool) eject(b *Backend, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.state != StateUp {
		return // it is out already, and was tried for want of others
	}
	p.Metrics.Ejected(p.Name, b.Address)
	b.ejections = 1
	b.enter(StateEjected, why)
	b.soon(time.Now().Add(b.ejection()))
}

// ejection is how long a node is out this time.
func (b *Backend) ejection() time.Duration {
	if b.ejections > 4 {
		return longestEjection
	}
	return min(shortestEjection<<(b.ejections-1), longestEjection)
}

// reached takes note of a connection that succeeded. It brings back a node that
// was ejected; what checks say of one is for them to take back.
func (p *Pool) reached(b *Backend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.state == StateEjected {
		b.enter(StateUp, nil)
	}
}

// judge takes note of the result of a check, which is of the node and not for
// want of something here.
func (b *Backend) judge(err error, checker Checker) {
	if err == nil {
		b.good, b.bad = b.good+1, 0
	} else {
		b.good, b.bad = 0, b.bad+1
	}
	first := !b.checked
	b.checked = checker.enabled()
	switch {
	case err == nil:
		if b.state != StateDown || b.good >= checker.rise() {
			b.enter(StateUp, nil)
		}
	case checker.enabled() && (first || b.bad >= checker.fall()):
		b.enter(StateDown, err)
	case b.state == StateEjected:
		b.ejections++ // and is still
	}
}

// enter changes the state, and says so once.
func (b *Backend) enter(state State, why error) {
	if b.state == state {
		return
	}
	if state == StateDown && b.state == StateEjected {
		b.state, b.why = state, why // it is known that it is out
		return
	}
	now := time.Now()
	attrs := []slog.Attr{slog.String("upstream", b.pool.Name), slog.String("node", b.Address)}
	if b.Node != b.Address {
		attrs = append(attrs, slog.String("name", b.Node))
	}
	attrs = append(attrs, slog.String("state", string(state)), slog.String("was", string(b.state)),
		slog.Duration("for", now.Sub(b.since).Round(time.Millisecond)))
	level, message := slog.LevelInfo, "node is up"
	if state != StateUp {
		level, message = slog.LevelWarn, "node is down"
		attrs = append(attrs, slog.String("reason", reason(why)), slog.String("error", why.Error()))
	} else {
		b.upSince = now
		b.turn = 0 // it has nothing to catch up on
	}
	b.state, b.since, b.why = state, now, why
	b.pool.log().LogAttrs(context.Background(), level, message, attrs...)
}

// reconsider fits the state to settings that may be new.
func (b *Backend) reconsider(settings *Settings, now time.Time) {
	if settings.Check.enabled() {
		b.soon(now.Add(settings.Check.first()))
		return
	}
	b.checked, b.good, b.bad = false, 0, 0
	if b.state == StateDown { // which nobody would take back
		b.ejections = 1
		b.enter(StateEjected, errors.Join(errNoChecks, b.why))
	}
	if b.due = (time.Time{}); b.state == StateEjected {
		b.soon(now.Add(b.ejection()))
	}
}

// soon has the next check not later than at.
func (b *Backend) soon(at time.Time) {
	if !b.due.IsZero() && b.due.Before(at) {
		return
	}
	b.due = at
	select {
	case b.wake <- struct{}{}:
	default: // it is told already
	}
}
