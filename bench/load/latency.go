package load

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is how long something took, in milliseconds; percentiles are exact to
// three digits.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

const (
	leastLatency = time.Microsecond
	mostLatency  = time.Hour // longer ones count as this
	digits       = 3
)

// A recorder collects latencies, from many goroutines: each takes the next of
// several histograms, so that they do not wait for one another.
type recorder struct {
	next   atomic.Uint32
	shards [8]struct {
		mu        sync.Mutex
		histogram *hdrhistogram.Histogram
	}
}

func (r *recorder) record(d time.Duration) {
	shard := &r.shards[r.next.Add(1)%uint32(len(r.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.histogram == nil {
		shard.histogram = newHistogram()
	}
	_ = shard.histogram.RecordValue(int64(min(d, mostLatency))) // there is room for all that is not longer
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(leastLatency), int64(mostLatency), digits)
}

// latency sums up.
func (r *recorder) latency() Latency {
	all := newHistogram()
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		if shard.histogram != nil {
			all.Merge(shard.histogram)
		}
		shard.mu.Unlock()
	}
	if all.TotalCount() == 0 {
		return Latency{}
	}
	at := func(percentile float64) float64 { return ms(all.ValueAtPercentile(percentile)) }
	return Latency{
		Count: all.TotalCount(), Mean: all.Mean() / float64(time.Millisecond),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: ms(all.Max()),
	}
}

func ms(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }
