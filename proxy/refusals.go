package proxy

import (
	"sync"
	"time"
)

// refusals remembers the last refused connection of each kind, for people who
// want to know why. How many there were is in the metrics. Its zero value is
// ready for use.
type refusals struct {
	mu   sync.Mutex
	last map[refusalKind]lastRefusal
}

// refusalKind are the labels of the metric: there are as many as listeners have
// names, and reasons.
type refusalKind struct{ listener, reason string }

type lastRefusal struct {
	at            time.Time
	client, error string
}

func (r *refusals) note(kind refusalKind, last lastRefusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = make(map[refusalKind]lastRefusal)
	}
	r.last[kind] = last
}

func (r *refusals) of(kind refusalKind) lastRefusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[kind]
}
