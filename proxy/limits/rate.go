package limits

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Rate is so many in so much time. All of them may come at once: 10 a second
// and 600 a minute are as much in the long run, and differ in that. The zero
// value is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

func (r Rate) limited() bool { return r.Count > 0 && r.Per > 0 }

// limit is the rate in events a second.
func (r Rate) limit() rate.Limit { return rate.Limit(float64(r.Count) / r.Per.Seconds()) }

// A Bucket holds what comes against a rate. The zero value is full.
type Bucket struct {
	mu      sync.Mutex
	rate    Rate
	limiter *rate.Limiter // nil before the first rate
}

// Take says whether r allows one more, and counts it if so.
func (b *Bucket) Take(r Rate) bool {
	if !r.limited() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.limiter == nil:
		b.limiter = rate.NewLimiter(r.limit(), r.Count)
	case b.rate != r:
		b.limiter.SetLimit(r.limit())
		b.limiter.SetBurst(r.Count)
	}
	b.rate = r
	return b.limiter.Allow()
}

// full says that the bucket is as good as new.
func (b *Bucket) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limiter == nil || b.limiter.Tokens() >= float64(b.rate.Count)
}
