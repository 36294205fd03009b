package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// slackBytes is how much garbage there may be before it is collected. As a
	// share of what lives, as Go has it by itself, it would be as much again: with
	// thousands of idle connections that is what most of the memory would be.
	slackBytes = 32 << 20

	// Between these the share is kept. Collecting costs as much as there is to
	// look through: with less than the least, a gateway with very many connections
	// would do little else while clients connect. More than the most would save
	// less than it costs to have memory that is in no cache, and after every quiet
	// time is the system's to give again.
	leastSlack, mostSlack = 50, 200 // percent of what there is to look through

	memoryInterval = time.Second

	// What was needed while connections were made is not given back by itself: it
	// is kept for the next garbage. After so many looks, between which no more than
	// so much was allocated, nobody is making any.
	quietLooks = 2
	quietBytes = 512 << 10

	// worthReleasing is how much must have been allocated since the last time.
	worthReleasing = 4 << 20
)

// keepLight has garbage collected when there is a certain amount of it, and gives
// memory back when nothing happens, until it is stopped. The environment variable
// GOGC, Go's own, switches that off.
func keepLight() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var keeping sync.WaitGroup
	keeping.Go(func() {
		ticker := time.NewTicker(memoryInterval)
		defer ticker.Stop()
		k := keeper{percent: 100}
		sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
		for {
			metrics.Read(sample)
			var scanned uint64
			for _, part := range sample[1:] {
				scanned += part.Value.Uint64()
			}
			percent, release := k.look(scanned, sample[0].Value.Uint64())
			if percent != 0 {
				debug.SetGCPercent(percent)
			}
			if release {
				debug.FreeOSMemory()
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return func() {
		cancel()
		keeping.Wait()
	}
}

// keeper decides what to do about memory.
type keeper struct {
	percent   int    // of garbage, as it was last set
	allocated uint64 // in all, at the last look
	released  uint64 // in all, when memory was last given back
	quiet     int    // looks since when nothing much was allocated
}

// look is told how many bytes there are to look through, as of the last collection,
// and how many were ever allocated. It returns another percentage, or 0, and whether
// to give memory back.
func (k *keeper) look(scanned, allocated uint64) (percent int, release bool) {
	// Changing it stops the program for a moment.
	if next := slackFor(scanned); next*5 < k.percent*4 || next*4 > k.percent*5 {
		k.percent, percent = next, next
	}
	k.quiet++
	if allocated-k.allocated > quietBytes {
		k.quiet = 0
	}
	k.allocated = allocated
	if k.quiet < quietLooks || allocated-k.released < worthReleasing {
		return percent, false
	}
	k.released, k.quiet = allocated, 0
	return percent, true
}

// slackFor is the share for so many bytes to look through.
func slackFor(scanned uint64) (percent int) {
	if scanned == 0 {
		return mostSlack
	}
	return int(min(max(100*slackBytes/scanned, leastSlack), mostSlack))
}
