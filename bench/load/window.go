package load

import (
	"sync"
	"time"
)

// A window is the time that is measured, from the end of warming up on.
type window struct {
	begin, end time.Time // end is zero where there is none

	timer *time.Timer
	mu    sync.Mutex
	meter *meter
	err   error
}

// newWindow opens a window after warming up. A duration of 0 has no end. The
// meter starts with the window.
func newWindow(warmup, duration time.Duration, pid int) *window {
	w := &window{begin: time.Now().Add(warmup)}
	if duration > 0 {
		w.end = w.begin.Add(duration)
	}
	start := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.meter, w.err = startMeter(pid)
	}
	if warmup <= 0 {
		start()
		return w
	}
	w.timer = time.AfterFunc(warmup, start)
	return w
}

// stop ends a window that was not reached.
func (w *window) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// usage is what was used in the window until now; nothing if it did not open.
func (w *window) usage() (Usage, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.meter == nil || w.err != nil {
		return Usage{}, w.err
	}
	u, err := w.meter.usage()
	u.Seconds = time.Since(w.begin).Seconds() // the meter may have started a moment later
	return u, err
}

// report calls progress twice a second until the function that it returns has
// been called. The measurement begins, or has begun, at a time.
func report(progress func(Progress), begin time.Time, state func() (done, failed int64)) (stop func()) {
	if progress == nil {
		return func() {}
	}
	const interval = 500 * time.Millisecond
	ended := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		before, at := int64(0), time.Now()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
			done, failed := state()
			now := time.Now()
			progress(Progress{
				Elapsed: now.Sub(begin), Done: done, Failed: failed,
				Rate: float64(done-before) / now.Sub(at).Seconds(),
			})
			before, at = done, now
		}
	})
	return func() {
		close(ended)
		reporter.Wait()
	}
}
