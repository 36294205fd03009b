// Package audit writes down what operators did to the gateway: who, what, and
// whether it was done. It is a log of its own, so that it can be kept for
// longer than the one of connections, and nothing that a client does writes to
// it.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// fileMode lets the gateway's group read, for whoever collects logs.
const fileMode = 0o640

// An Entry is one thing that an operator did, or tried to.
type Entry struct {
	Action string // in snake case: "reload"
	By     Operator
	At     time.Time   // Default: when it is recorded
	Err    error       // why it was not done; nil if it was
	More   []slog.Attr // what it changed; nothing secret
}

// Log is where entries go. It is safe for concurrent use. The zero value
// discards everything, and so does nil.
type Log struct {
	// Fallback gets the entries where there is no file, and those that could not
	// be written to it, with why. Default: nobody.
	Fallback *slog.Logger

	// Failed is called for each entry that could not be written. Default: nothing.
	Failed func()

	// Patience is how long an entry may take to be written: nobody who changes the
	// gateway waits for a disk that stands still. Default: DefaultPatience (3 s).
	Patience time.Duration

	mu   sync.Mutex
	file *File
}

// DefaultPatience is the default of Log.Patience.
const DefaultPatience = 3 * time.Second

// File is a file that entries are appended to.
type File struct {
	path string

	mu   sync.Mutex // held while an entry is written
	file *os.File
}

// Open opens a file for entries, and makes it if it is not there, for its owner
// and group alone (0640).
func Open(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return &File{path: path, file: file}, nil
}

// Close closes it. A nil File has nothing to close.
func (f *File) Close() error {
	if f == nil || !f.mu.TryLock() { // an entry that is stuck has the file
		return nil
	}
	defer f.mu.Unlock()
	return f.file.Close()
}

// Use makes entries go to f from now on, and closes what was used before. With
// nil they go to the fallback.
func (l *Log) Use(f *File) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close() // every entry in it was synced
	l.file = f
}

// Record writes an entry, and returns when it is on the disk. What cannot be
// written there goes to the fallback, and stops nobody. Its caller holds no lock
// that others want soon.
func (l *Log) Record(e Entry) {
	if l == nil {
		return
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		err := l.file.writeWithin(cmp.Or(l.Patience, DefaultPatience), e)
		if err == nil {
			return
		}
		if l.Failed != nil {
			l.Failed()
		}
		if l.Fallback != nil {
			l.Fallback.Error("the audit log cannot be written; the entry follows", "error", err)
		}
	}
	if l.Fallback != nil {
		e.log(l.Fallback.Handler())
	}
}

var errStuck = errors.New("audit: the disk takes too long")

// writeWithin is write, for someone who has no longer to wait. What is stuck is
// written when it can be, and until then nothing else.
func (f *File) writeWithin(patience time.Duration, e Entry) error {
	if !f.mu.TryLock() {
		return errStuck
	}
	done := make(chan error, 1)
	go func() {
		err := f.write(e)
		f.mu.Unlock() // before the next one may come
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return errStuck
	}
}

// write appends an entry as one line of JSON.
func (f *File) write(e Entry) error {
	if err := f.follow(); err != nil {
		return err
	}
	if err := e.log(slog.NewJSONHandler(f.file, nil)); err != nil {
		return err
	}
	return f.file.Sync()
}

// follow opens the file again if another one, or none, has its name now: its
// owner has rotated it.
func (f *File) follow() error {
	ours, err := f.file.Stat()
	if err != nil {
		return err
	}
	if named, err := os.Stat(f.path); err == nil && os.SameFile(ours, named) {
		return nil
	}
	next, err := Open(f.path)
	if err != nil {
		return err
	}
	_ = f.file.Close() // every entry in it was synced
	f.file = next.file
	return nil
}

// log gives the entry to a handler, marked as what it is.
func (e Entry) log(to slog.Handler) error {
	level, result := slog.LevelInfo, "ok"
	if e.Err != nil {
		level, result = slog.LevelWarn, "refused"
	}
	if !to.Enabled(context.Background(), level) {
		return nil
	}
	r := slog.NewRecord(e.At, level, e.Action, 0)
	r.AddAttrs(slog.String("log", "audit"), slog.String("result", result), slog.Any("by", e.By))
	r.AddAttrs(e.More...)
	if e.Err != nil {
		r.AddAttrs(slog.String("error", e.Err.Error()))
	}
	return to.Handle(context.Background(), r)
}
