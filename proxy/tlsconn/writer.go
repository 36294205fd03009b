package tlsconn

import (
	"io"
	"slices"
	"sync"
)

// maxBatch is how many bytes go into records, and down, at once.
const maxBatch = 4 * maxPlaintext

// A recordWriter seals records and writes them. An error from below, at
// whatever byte, loses nothing: the rest is written when flush is called again.
type recordWriter struct {
	half halfConn

	// sealed is what was sealed and not written yet; nil when that is nothing.
	// sent is how much of it was written.
	sealed *[]byte
	sent   int
}

// Buffers for up to one record, and for a batch.
var (
	recordBuffers = sync.Pool{New: func() any { return newBuffer(maxPlaintext) }}
	batchBuffers  = sync.Pool{New: func() any { return newBuffer(maxBatch) }}
)

// maxOverhead is the most that a record is longer than its payload: with CBC,
// the IV, SHA-384's MAC and one block of padding (and never 2048, as the
// protocol has it, because we pad no more than that).
const maxOverhead = recordHeaderLen + 16 + 48 + 16

func newBuffer(payload int) *[]byte {
	records := (payload + maxPlaintext - 1) / maxPlaintext
	b := make([]byte, 0, payload+records*maxOverhead)
	return &b
}

// add seals data in as many records as it takes. They are written by flush.
func (w *recordWriter) add(recordType uint8, data []byte) {
	need := w.half.maxSealed(len(data))
	switch {
	case w.sealed != nil:
		*w.sealed = slices.Grow(*w.sealed, need)
	case len(data) <= maxPlaintext:
		w.sealed = recordBuffers.Get().(*[]byte)
	default:
		w.sealed = batchBuffers.Get().(*[]byte)
	}
	for {
		n := min(len(data), maxPlaintext)
		*w.sealed = w.half.seal(*w.sealed, recordType, data[:n])
		if data = data[n:]; len(data) == 0 {
			return
		}
	}
}

// flush writes what was sealed.
func (w *recordWriter) flush(below io.Writer) error {
	if w.sealed == nil {
		return nil
	}
	n, err := below.Write((*w.sealed)[w.sent:])
	if w.sent += n; w.sent < len(*w.sealed) {
		if err == nil {
			err = io.ErrShortWrite
		}
		return err
	}
	w.drop()
	return nil
}

// drop gives the buffer back, with whatever is in it.
func (w *recordWriter) drop() {
	if w.sealed == nil {
		return
	}
	*w.sealed = (*w.sealed)[:0]
	switch {
	case cap(*w.sealed) >= maxBatch:
		batchBuffers.Put(w.sealed)
	default:
		recordBuffers.Put(w.sealed)
	}
	w.sealed, w.sent = nil, 0
}
