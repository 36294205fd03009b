package logsink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is where lines go: write says what becomes of them.
type disk struct {
	mu    sync.Mutex
	text  bytes.Buffer
	write func(p []byte) (int, error) // nil takes everything
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	write := d.write
	d.mu.Unlock()
	n, err := len(p), error(nil)
	if write != nil {
		n, err = write(p)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text.Write(p[:n])
	return n, err
}

func (d *disk) behaves(write func([]byte) (int, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write = write
}

func (d *disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// book is a Writer to a disk that counts what it loses, and says so in the log.
func book(d *disk, limit int) (w *Writer, lost map[string]int) {
	lost = make(map[string]int) // under the Writer's lock
	w = &Writer{To: d, Limit: limit, Lost: func(cause string) { lost[cause]++ }}
	w.Recovered = func(lost map[string]int) { fmt.Fprintf(w, "lost %v\n", lost) }
	w.Start()
	return w, lost
}

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func logLines(w io.Writer, from, to int) {
	for line := range strings.Lines(lines(from, to)) {
		io.WriteString(w, line)
	}
}

func TestLinesOfMany(t *testing.T) {
	d := &disk{}
	w, lost := book(d, 0)
	var writers sync.WaitGroup
	const each = 1000
	for i := range 8 {
		writers.Go(func() {
			for n := range each {
				fmt.Fprintf(w, "%d %d\n", i, n)
			}
		})
	}
	writers.Wait()
	if err := w.Close(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	next := make(map[int]int)
	for line := range strings.Lines(d.String()) {
		var i, n int
		if _, err := fmt.Sscanf(line, "%d %d\n", &i, &n); err != nil || n != next[i] {
			t.Fatalf("line %q, want number %d", line, next[i])
		}
		next[i]++
	}
	for i := range 8 {
		if next[i] != each {
			t.Errorf("%d lines of %d, want %d", next[i], i, each)
		}
	}
	if len(lost) > 0 {
		t.Errorf("lost: %v", lost)
	}
}

// A reader that stands still costs the lines that have no room, and nobody's
// time. When it goes on, the log says what is missing where it is missing.
func TestReaderStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		goOn := make(chan struct{})
		d.behaves(func(p []byte) (int, error) { <-goOn; return len(p), nil })
		w, lost := book(d, 100*len("line 100\n"))
		logLines(w, 0, 1)
		synctest.Wait() // it is on its way
		logLines(w, 100, 350)
		if want := map[string]int{CauseBlocked: 150}; !maps.Equal(lost, want) {
			t.Errorf("lost %v, want %v", lost, want)
		}
		if len(w.waiting) > w.Limit {
			t.Errorf("%d bytes wait, more than %d", len(w.waiting), w.Limit)
		}
		close(goOn)
		synctest.Wait()
		logLines(w, 350, 360)
		if err := w.Close(time.Second); err != nil {
			t.Fatal(err)
		}
		if got, want := d.String(), lines(0, 1)+lines(100, 200)+"lost map[blocked:150]\n"+lines(350, 360); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// A full disk costs nothing if there is room again in time: not a line, and no
// half of one.
func TestFullDisk(t *testing.T) {
	for cause, failure := range map[string]error{
		CauseFull:   &os.PathError{Op: "write", Path: "/dev/stderr", Err: syscall.ENOSPC},
		CauseClosed: &os.PathError{Op: "write", Path: "/dev/stderr", Err: syscall.EPIPE},
		CauseOther:  errors.New("something else"),
	} {
		t.Run(cause, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{}
				room := 17
				d.behaves(func(p []byte) (int, error) {
					n := min(room, len(p))
					room -= n
					if n < len(p) {
						return n, failure
					}
					return n, nil
				})
				w, lost := book(d, 10*len("line 10\n"))
				io.WriteString(w, lines(0, 10)) // all on their way at once
				time.Sleep(time.Minute)
				if len(lost) > 0 || d.String() != lines(0, 10)[:17] {
					t.Fatalf("lost %v, written %q", lost, d)
				}
				logLines(w, 10, 25) // ten of them have room
				if want := map[string]int{cause: 5}; !maps.Equal(lost, want) {
					t.Errorf("lost %v, want %v", lost, want)
				}
				d.behaves(nil)
				time.Sleep(retryAfter)
				synctest.Wait()
				logLines(w, 25, 30)
				if err := w.Close(time.Second); err != nil {
					t.Fatal(err)
				}
				if got, want := d.String(), lines(0, 20)+fmt.Sprintf("lost map[%s:5]\n", cause)+lines(25, 30); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

// Close is done in time, whatever the other end does.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := &disk{}
		w, _ := book(d, 0)
		logLines(w, 0, 10)
		if err := w.Close(time.Second); err != nil || d.String() != lines(0, 10) {
			t.Errorf("%v, %q", err, d)
		}

		full := &disk{write: func([]byte) (int, error) { return 0, syscall.ENOSPC }}
		w, _ = book(full, 0)
		logLines(w, 0, 10)
		if err := w.Close(time.Second); err != nil {
			t.Error(err) // it has tried, and given up at once
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("closing took %v", took)
		}

		freed := &disk{write: func([]byte) (int, error) { return 0, syscall.ENOSPC }}
		w, _ = book(freed, 0)
		logLines(w, 0, 10)
		synctest.Wait()
		freed.behaves(nil)
		if err := w.Close(time.Second); err != nil || freed.String() != lines(0, 10) {
			t.Errorf("after there was room: %v, %q", err, freed)
		}

		start = time.Now()
		goOn := make(chan struct{})
		stuck := &disk{write: func(p []byte) (int, error) { <-goOn; return len(p), nil }}
		w, _ = book(stuck, 0)
		logLines(w, 0, 10)
		if err := w.Close(time.Second); err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		close(goOn)
	})
}

// A line that comes alone is written at once, and those that follow it soon after
// together.
func TestGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes []string
		d := &disk{write: func(p []byte) (int, error) { writes = append(writes, string(p)); return len(p), nil }}
		w, _ := book(d, 0)
		logLines(w, 0, 1)
		synctest.Wait()
		for i := range 5 {
			logLines(w, i+1, i+2)
			time.Sleep(gather / 10)
		}
		time.Sleep(gather)
		synctest.Wait()
		if want := []string{lines(0, 1), lines(1, 6)}; !slices.Equal(writes, want) {
			t.Errorf("written %q, want %q", writes, want)
		}
		logLines(w, 6, 7)
		w.Close(time.Second) // does not wait for more
		if len(writes) != 3 {
			t.Errorf("written %q", writes)
		}
	})
}

// What is large for a moment is not kept.
func TestBuffersAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		d := &disk{write: func(p []byte) (int, error) { <-goOn; return len(p), nil }}
		w, _ := book(d, 0)
		logLines(w, 0, 50_000)
		close(goOn)
		synctest.Wait()
		for range 2 {
			logLines(w, 0, 1)
			time.Sleep(gather)
			synctest.Wait()
		}
		if n := cap(w.waiting); n > keptBuffer {
			t.Errorf("a buffer of %d bytes is kept", n)
		}
		w.Close(time.Second)
	})
}
