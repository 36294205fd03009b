package proxy

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// shortened bounds what a client can make a log line take of what it sends. No
// client that means it sends so much.
func shortened(text string) string {
	const longest = 256
	if len(text) <= longest {
		return text
	}
	return text[:longest] + "…"
}

// samplingWindow is how long a sampler counts before it begins anew.
const samplingWindow = time.Minute

// A sampler holds the log lines of refused connections against a limit, so that
// a scan cannot fill a disk. What it leaves out it counts, and says so when the
// minute is over. Its zero value leaves nothing out.
type sampler struct {
	mu     sync.Mutex
	limit  int // lines a minute, for each listener and reason; 0 is none
	counts map[sample]sampleCount
	window *time.Timer // from the first line of a minute to its end
}

// A sample is what lines have in common that count together.
type sample struct{ listener, reason string }

type sampleCount struct{ logged, left int }

// setLimit changes the limit, for the minute that runs, too.
func (s *sampler) setLimit(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}

// takes says whether a line is to be logged. Where it is the first of a minute,
// log gets the summary of that.
func (s *sampler) takes(line sample, log *slog.Logger) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit == 0 {
		return true
	}
	if s.window == nil {
		s.counts = make(map[sample]sampleCount)
		s.window = time.AfterFunc(samplingWindow, func() { s.summarise(log) })
	}
	n := s.counts[line]
	take := n.logged < s.limit
	if take {
		n.logged++
	} else {
		n.left++
	}
	s.counts[line] = n
	return take
}

// summarise ends the minute, and logs how many lines it has left out, one line
// for each listener.
func (s *sampler) summarise(log *slog.Logger) {
	s.mu.Lock()
	if s.window != nil {
		s.window.Stop() // which may be why this is called
	}
	counts := s.counts
	s.counts, s.window = nil, nil
	s.mu.Unlock()

	total := make(map[string]int)
	reasons := make(map[string]map[string]int)
	for line, n := range counts {
		if n.left == 0 {
			continue
		}
		if reasons[line.listener] == nil {
			reasons[line.listener] = make(map[string]int)
		}
		reasons[line.listener][line.reason] = n.left
		total[line.listener] += n.left
	}
	for _, listener := range slices.Sorted(maps.Keys(reasons)) {
		log.Warn("connections not logged", "listener", listener, "count", total[listener], "reasons", reasons[listener])
	}
}
