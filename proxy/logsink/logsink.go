// Package logsink stands between a log and where it goes, so that a full disk,
// or a pipe that nobody reads any more, costs lines of the log and nothing else.
package logsink

import (
	"errors"
	"io"
	"maps"
	"sync"
	"syscall"
	"time"
)

// DefaultLimit is how many bytes may wait to be written: 1 MiB, some two
// thousand lines about connections.
const DefaultLimit = 1 << 20

const (
	// retryAfter is how long to wait after an error before the same bytes are
	// tried again.
	retryAfter = time.Second

	// gather is how long to wait before the next Write when all was written: where
	// lines come by the thousand, a Write for each would cost as much as they do.
	gather = 10 * time.Millisecond

	// keptBuffer is how large a buffer may be to be kept for the next lines.
	keptBuffer = 64 << 10
)

// Causes for which lines are lost.
const (
	CauseBlocked = "blocked" // the reader is slower than the log, or stands still
	CauseFull    = "full"    // the disk, or the quota
	CauseClosed  = "closed"  // the reader of a pipe is gone
	CauseOther   = "other"   // another error
)

// A Writer passes lines on from a goroutine of its own, in order, so that
// whoever logs never waits. Lines that cannot be written wait until they can,
// and are lost when there are too many. Its fields must not change once it was
// started.
type Writer struct {
	// To gets the lines, several in one Write when there are many.
	To io.Writer

	// Limit is how many bytes may wait. As many again can be on their way.
	// Default: DefaultLimit.
	Limit int

	// Lost is called for each line that is lost, by whoever logs it, with one of
	// the causes. Default: nothing.
	Lost func(cause string)

	// Recovered is called when lines get through again, with the number of those
	// that are lost, by cause. What it logs stands where they are missing.
	// Default: nothing.
	Recovered func(lost map[string]int)

	mu      sync.Mutex
	waiting []byte
	cause   string         // of the trouble that there is
	lost    map[string]int // and not reported
	closed  bool

	wake    chan struct{} // has room for one
	closing chan struct{}
	done    chan struct{}
}

// Start starts the writing. It must be called once, before anything else.
func (w *Writer) Start() {
	if w.Limit == 0 {
		w.Limit = DefaultLimit
	}
	w.cause = CauseBlocked
	w.lost = make(map[string]int)
	w.wake, w.closing, w.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go w.run()
}

// Write takes a line, its end included. It never waits, and never fails.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting)+len(line) > w.Limit {
		w.lost[w.cause]++
		if w.Lost != nil {
			w.Lost(w.cause)
		}
		return len(line), nil
	}
	w.waiting = append(w.waiting, line...)
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
	return len(line), nil
}

// Close writes what is there, for as long as patience, and tries what fails once
// more. Lines that come later may be lost. It must be called once.
func (w *Writer) Close(patience time.Duration) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.closing)
	select {
	case <-w.done:
		return nil
	case <-time.After(patience):
		return errors.New("logsink: not all lines could be written in time")
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var lines []byte
	for {
		if cap(lines) > keptBuffer {
			lines = nil
		}
		var lost map[string]int
		if lines, lost = w.take(lines[:0]); len(lines) == 0 {
			return
		}
		// What waited before the loss is in lines, and there is room now for
		// what comes behind it.
		if len(lost) > 0 && w.Recovered != nil {
			w.Recovered(lost)
		}
		if !w.deliver(lines) {
			return
		}
		if w.caughtUp() {
			select {
			case <-time.After(gather):
			case <-w.closing:
			}
		}
	}
}

func (w *Writer) caughtUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting) == 0
}

// take waits for lines and returns them, in exchange for an empty buffer, with
// what is lost behind them. It returns no lines when there will be no more.
func (w *Writer) take(empty []byte) (lines []byte, lost map[string]int) {
	for {
		w.mu.Lock()
		lines, w.waiting = w.waiting, empty
		if len(lines) > 0 {
			lost = maps.Clone(w.lost)
			clear(w.lost)
			w.mu.Unlock()
			return lines, lost
		}
		empty = lines
		closed := w.closed
		w.mu.Unlock()
		if closed {
			return nil, nil
		}
		select {
		case <-w.wake:
		case <-w.closing:
		}
	}
}

// deliver writes lines, however long it takes. It gives up when the Writer is
// being closed and an error stays.
func (w *Writer) deliver(lines []byte) bool {
	defer w.trouble(CauseBlocked) // if there is any from here on, it will be this
	for last := false; ; {
		n, err := w.To.Write(lines)
		lines = lines[n:]
		if len(lines) == 0 {
			return true
		}
		if last {
			return false
		}
		w.trouble(causeOf(err))
		select {
		case <-time.After(retryAfter):
		case <-w.closing:
			last = true
		}
	}
}

func (w *Writer) trouble(cause string) {
	w.mu.Lock()
	w.cause = cause
	w.mu.Unlock()
}

func causeOf(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return CauseFull
	case errors.Is(err, syscall.EPIPE):
		return CauseClosed
	default:
		return CauseOther
	}
}
