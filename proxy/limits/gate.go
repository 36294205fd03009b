package limits

import (
	"container/list"
	"net"
	"runtime"
	"sync"
	"time"
)

// A Gate lets only so many handshakes compute at the same time, and keeps the
// others waiting, so that a flood of handshakes leaves established connections
// the processor. The zero value is ready to use.
//
// A handshake is a millisecond of RSA, and Go runs goroutines to the end of their
// work in the order in which they became ready: behind a thousand handshakes
// every message waits for all of them. Nor does it look for what has come from
// the network while any goroutine is ready to run, but every ten milliseconds.
// So one processor stays free when there is somebody to carry for, the spare one:
// there its threads wait in the poller, and carry what comes at once.
//
// Handshakes that have begun go first, since what was spent on them is lost
// otherwise, and so that they make room. The new ones are next in the order in
// which they came, as long as none waits for longer than half a second. Of those
// that do the newest goes first, behind all others: in a queue that grows, those in
// front are the ones whose clients give up before they are served, and every
// millisecond would be spent on them.
type Gate struct {
	// Slots is how many compute at a time. 0 means as many as GOMAXPROCS without
	// Spare, or, where that has no Use, one less, and at least one.
	Slots int

	// Spare is the processor that they leave free.
	Spare Spare

	mu    sync.Mutex
	busy  int
	begun list.List // of *Turn, first come first served
	fresh list.List // of *Turn, first come first served
	late  list.List // of *Turn that were fresh for too long, the newest in front
}

// patience is for how long a new handshake waits in turn.
const patience = 500 * time.Millisecond

func (g *Gate) slots() int {
	if g.Slots > 0 {
		return g.Slots
	}
	free := 1
	if g.Spare.Use != nil && !g.Spare.using.Load() { // they have all
		free = 0
	}
	return max(1, runtime.GOMAXPROCS(0)-free)
}

// A Turn is one handshake's way through a gate. It belongs to one goroutine, but
// for Cancel.
type Turn struct {
	gate     *Gate
	deadline time.Time
	over     bool // of the handshake: there is nothing to wait for any more

	// Guarded by gate.mu.
	computing bool
	admitted  time.Time     // when it last began to compute
	since     time.Time     // it waits
	waiting   *list.Element // in queue
	queue     *list.List
	ready     chan struct{} // closed when waiting is over
	err       error         // of Cancel
}

// Turn returns that of a new handshake.
func (g *Gate) Turn() *Turn { return &Turn{gate: g} }

// Begin returns when the handshake may compute. It has to end before deadline.
// The error is that of Cancel, or a [*Refusal] if the deadline comes first.
func (t *Turn) Begin(deadline time.Time) error {
	t.deadline = deadline
	return t.wait(&t.gate.fresh)
}

// End says that the handshake is over, in one way or another.
func (t *Turn) End() {
	t.pause()
	t.over = true
}

// Cancel makes a wait that is under way, and all later ones, fail with err. It
// may be called at any time by anyone; the first error stays.
func (t *Turn) Cancel(err error) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
	if t.waiting != nil {
		t.endWaitLocked()
	}
}

// wait returns when the handshake may compute.
func (t *Turn) wait(queue *list.List) error {
	g := t.gate
	g.mu.Lock()
	if t.err != nil || t.computing {
		defer g.mu.Unlock()
		return t.err
	}
	if g.busy < g.slots() { // then nobody waits
		g.admitLocked(t)
		g.mu.Unlock()
		return nil
	}
	t.ready, t.queue, t.since = make(chan struct{}), queue, time.Now()
	t.waiting = queue.PushBack(t)
	ready := t.ready
	g.mu.Unlock()

	timer := time.AfterFunc(time.Until(t.deadline), func() {
		t.Cancel(refuse(reasonOverloaded, "the processors were busy with other handshakes until its time was over"))
	})
	defer timer.Stop()
	<-ready
	g.mu.Lock()
	err := t.err
	g.mu.Unlock()
	if err != nil {
		t.pause() // the slot may have come first
	}
	return err
}

// pause gives the slot to whoever is next.
func (t *Turn) pause() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if !t.computing {
		return
	}
	t.computing = false
	g.busy--
	slots := g.slots() // asks the Go runtime, under a lock of its own
	g.Spare.computed(time.Since(t.admitted), slots)
	for g.busy < slots {
		next := g.nextLocked()
		if next == nil {
			return
		}
		g.admitLocked(next)
		next.endWaitLocked()
	}
}

// nextLocked is whose turn it is; nil if nobody waits.
func (g *Gate) nextLocked() *Turn {
	if first := g.begun.Front(); first != nil {
		return first.Value.(*Turn)
	}
	for first := g.fresh.Front(); first != nil; first = g.fresh.Front() {
		t := first.Value.(*Turn)
		if time.Since(t.since) < patience {
			return t
		}
		g.fresh.Remove(first)
		t.queue, t.waiting = &g.late, g.late.PushFront(t)
	}
	if newest := g.late.Front(); newest != nil {
		return newest.Value.(*Turn)
	}
	return nil
}

// admitLocked gives t a slot.
func (g *Gate) admitLocked(t *Turn) {
	g.busy++
	t.computing, t.admitted = true, time.Now()
}

func (t *Turn) endWaitLocked() {
	t.queue.Remove(t.waiting)
	t.waiting = nil
	close(t.ready)
}

// Conn returns conn for the handshake to use, which has no slot while it waits
// for the network. So a client that is slow keeps nobody from computing.
func (t *Turn) Conn(conn net.Conn) net.Conn { return &turnConn{Conn: conn, turn: t} }

type turnConn struct {
	net.Conn
	turn *Turn
}

// NetConn returns the connection below.
func (c *turnConn) NetConn() net.Conn { return c.Conn }

func (c *turnConn) Read(b []byte) (int, error) {
	if c.turn.over {
		return c.Conn.Read(b)
	}
	c.turn.pause()
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	if err := c.turn.wait(&c.turn.gate.begun); err != nil {
		return 0, err
	}
	return n, nil
}

// Write ends what there is to compute: a flight is written as a whole, and after
// it the client has to answer.
func (c *turnConn) Write(b []byte) (int, error) {
	if !c.turn.over {
		c.turn.pause()
	}
	return c.Conn.Write(b)
}
