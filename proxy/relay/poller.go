package relay

import (
	"runtime"
	"sync"
	"time"
)

// A Poller waits for all connections of its relays at once, in a few goroutines:
// one for each processor that Go uses. A connection that idles costs none, and one
// that carries much costs fewer calls of the system than one with goroutines of its
// own.
//
// The zero value is ready for use. It begins by Open, or with the first connection,
// and ends by Close. On systems other than Linux it takes no connection.
type Poller struct {
	// coolAfter is for how long a connection that has fallen silent keeps the
	// buffers that its TLS has grown; 0 means a second. It is another in tests.
	coolAfter time.Duration

	mu     sync.Mutex
	loops  []*loop
	next   int
	closed bool
	ended  sync.WaitGroup
}

// Open begins, so that what it needs of the system is there before anything else
// needs much.
func (p *Poller) Open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.openLocked()
}

func (p *Poller) openLocked() {
	if p.loops != nil || p.closed {
		return
	}
	p.loops = []*loop{}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop(p.coolAfter)
		if err != nil {
			return // with those that there are; without any, goroutines do it
		}
		p.loops = append(p.loops, l)
		p.ended.Go(l.run)
	}
}

// pick returns the loop for another connection, or nil if there is none.
func (p *Poller) pick() *loop {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.openLocked()
	if p.closed || len(p.loops) == 0 {
		return nil
	}
	p.next++
	return p.loops[p.next%len(p.loops)]
}

// Close ends the loops. Connections that they still have go on with goroutines.
func (p *Poller) Close() {
	p.mu.Lock()
	p.closed = true
	loops := p.loops
	p.mu.Unlock()
	for _, l := range loops {
		l.close()
	}
	p.ended.Wait()
}
