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
	slackBytes = 12 << 20

	// Between these the share is kept. Collecting costs as much as there is to
	// look through: with less than the least, a gateway with very many connections
	// would do little else while clients connect.
	leastSlack, mostSlack = 25, 200 // percent of what lives

	slackInterval = time.Second
)

// keepSlack has garbage collected when there is a certain amount of it, until it
// is stopped. The environment variable GOGC, Go's own, switches that off.
func keepSlack() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var keeping sync.WaitGroup
	keeping.Go(func() {
		ticker := time.NewTicker(slackInterval)
		defer ticker.Stop()
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for now := 100; ; {
			metrics.Read(sample)
			// Changing it stops the program for a moment.
			if next := slackFor(sample[0].Value.Uint64()); next*5 < now*4 || next*4 > now*5 {
				debug.SetGCPercent(next)
				now = next
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

// slackFor is the share for so many bytes that live.
func slackFor(live uint64) (percent int) {
	if live == 0 {
		return mostSlack
	}
	return int(min(max(100*slackBytes/live, leastSlack), mostSlack))
}
