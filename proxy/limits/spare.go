package limits

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Spare is a processor more for the Go runtime than the machine has. It is in use
// while handshakes keep these busy and there are established connections to carry
// for: the kernel does not let one thread wait for another to finish, as Go does
// with goroutines.
//
// It is not there all the time because it costs. A thread that waits in the poller
// wakes for every packet of every handshake, in the middle of another's RSA; without
// it the runtime looks at the network between two handshakes, once for all that has
// come. And after a restart, when all clients come back at the same time, there is
// nobody whom it would serve.
type Spare struct {
	// Use is told when the processor is needed, and when it no longer is, one
	// call at a time. nil: there is none.
	Use func(needed bool)

	using    atomic.Bool
	mu       sync.Mutex   // held during Use
	neededAt atomic.Int64 // the last time, as that since epoch

	// Guarded by the gate's mutex: what handshakes computed in this window.
	window time.Time // its beginning
	spent  time.Duration

	// busyUntil is for how long what was found of the last window holds, if they
	// were busy in it; as the time since epoch, or 0.
	busyUntil atomic.Int64
}

const (
	// busyShare is the part of the processors' time, one in so many, from which on
	// handshakes keep others waiting.
	busyShare = 4

	busyWindow = 100 * time.Millisecond // at least
	busyFor    = time.Second            // after a window

	// settled is how long a connection must have been there to count. What a
	// client says to open one waits a little while others come, too.
	settled = 250 * time.Millisecond

	// spareFor is how long the processor is kept after it was last needed.
	spareFor = 5 * time.Second
)

var epoch = time.Now()

// computed counts what a handshake did on one of so many slots.
func (s *Spare) computed(took time.Duration, slots int) {
	s.spent += took
	length := time.Since(s.window)
	if length < busyWindow {
		return
	}
	var until int64
	if busyShare*s.spent > length*time.Duration(slots) {
		until = int64(time.Since(epoch) + busyFor)
	}
	s.busyUntil.Store(until)
	s.window, s.spent = time.Now(), 0
}

// Carried tells that something was carried for a connection that is established
// since then: that is what the spare processor is for.
func (s *Spare) Carried(since time.Time) {
	busyUntil := s.busyUntil.Load()
	if busyUntil == 0 || s.Use == nil {
		return
	}
	now := int64(time.Since(epoch))
	if now > busyUntil || time.Since(since) < settled {
		return
	}
	s.neededAt.Store(now)
	if !s.using.Swap(true) {
		go s.begin() // whoever carries does not wait
	}
}

func (s *Spare) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Use(true)
	time.AfterFunc(spareFor, s.look)
}

// look gives the processor back, or looks again later.
func (s *Spare) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := spareFor - (time.Since(epoch) - time.Duration(s.neededAt.Load())); left > 0 {
		time.AfterFunc(left, s.look)
		return
	}
	s.Use(false)
	s.using.Store(false)
}
