package limits

import (
	"container/list"
	"sync"
)

// Flights are the handshakes in flight, in the order in which they began. The
// zero value is ready to use.
//
// When there are too many, the one that began first has to go, and not the one
// that comes: a handshake that is good is over within moments, and one that is
// not, from a client that says nothing or one byte a second, is soon the oldest.
// So nobody can keep others out by holding on to places. When all of them are
// good and there are too many for the processors, the oldest are those whose
// clients are about to give up.
type Flights struct {
	mu  sync.Mutex
	all list.List // of *Flight, the oldest in front
}

// A Flight is one handshake.
type Flight struct {
	flights *Flights
	at      *list.Element // nil when it is over
	yield   func(error)
	err     error // why it was sent away
}

// Begin counts a handshake, and sends the oldest away for it if there are limit
// of them already: yield is called with Err, once at most, by whoever comes after,
// perhaps before Begin has returned. 0 is no limit.
func (f *Flights) Begin(limit int, yield func(error)) *Flight {
	next := &Flight{flights: f, yield: yield}
	var leaving []*Flight
	f.mu.Lock()
	for limit > 0 && f.all.Len() >= limit { // several after a reload that lowers it
		oldest := f.all.Front().Value.(*Flight)
		oldest.removeLocked()
		oldest.err = refuse(reasonHandshakes, "of max_handshakes, which is %d, all had begun later", limit)
		leaving = append(leaving, oldest)
	}
	next.at = f.all.PushBack(next)
	f.mu.Unlock()
	for _, oldest := range leaving {
		oldest.yield(oldest.err)
	}
	return next
}

// Over says that the handshake has ended, and reports whether it had not been
// sent away before. It may be called again, and for nil.
func (f *Flight) Over() bool {
	if f == nil {
		return false
	}
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	return f.removeLocked()
}

// Err is a [*Refusal] if the handshake was sent away, and nil otherwise, and for
// nil.
func (f *Flight) Err() error {
	if f == nil {
		return nil
	}
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	return f.err
}

func (f *Flight) removeLocked() bool {
	if f.at == nil {
		return false
	}
	f.flights.all.Remove(f.at)
	f.at = nil
	return true
}

// Len is how many handshakes are in flight.
func (f *Flights) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all.Len()
}
