package proxy

import (
	"sync"
	"sync/atomic"
)

// maxIdle is how many goroutines of a crew wait at most. Their stacks, some 32 KiB
// each until the next collection, are all that they cost.
const maxIdle = 16

// A crew are the goroutines that connections are set up on. A few stay when they
// are done, for the next connections: to grow a new stack to what a handshake
// takes is a thirtieth of a resumed one.
//
// Its zero value has none that stay.
type crew struct {
	jobs chan func()
	idle atomic.Int32

	over  chan struct{}
	close func() // has those go that wait
}

func (c *crew) open() {
	c.jobs, c.over = make(chan func()), make(chan struct{})
	c.close = sync.OnceFunc(func() { close(c.over) })
}

// do has a job done by somebody.
func (c *crew) do(job func()) {
	select {
	case c.jobs <- job:
	default:
		go c.work(job)
	}
}

func (c *crew) work(job func()) {
	for {
		job()
		if c.idle.Add(1) > maxIdle || c.jobs == nil {
			c.idle.Add(-1)
			return
		}
		select {
		case job = <-c.jobs:
			c.idle.Add(-1)
		case <-c.over:
			return
		}
	}
}
