package e2e

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"time"
)

// record is one line of the gateway's log.
type record map[string]any

func (r record) text(key string) string    { s, _ := r[key].(string); return s }
func (r record) number(key string) float64 { n, _ := r[key].(float64); return n }

// began is when a connection did: its line says when it ended, and how long it
// took.
func (r record) began(t *testing.T) time.Time {
	t.Helper()
	ended, err := time.Parse(time.RFC3339Nano, r.text("time"))
	if err != nil {
		t.Fatal(err)
	}
	return ended.Add(-time.Duration(r.number("duration") * float64(time.Second)))
}

// want compares fields of the line. A field that must not be there is nil.
func (r record) want(t *testing.T, fields record) {
	t.Helper()
	for key, value := range fields {
		if n, ok := value.(int); ok {
			value = float64(n) // as JSON has it
		}
		if r[key] != value {
			t.Errorf("log line has %s=%v, want %v\n%v", key, r[key], value, r)
		}
	}
}

// logLines takes what the gateway prints.
type logLines struct {
	reading sync.Mutex // held by a test that stops to read the gateway's pipe

	mu      sync.Mutex
	raw     bytes.Buffer
	parsed  int           // bytes of raw
	records []record      // lines that are JSON
	taken   int           // connections that next has returned
	changed chan struct{} // closed and replaced when records or ended change
	ended   bool          // there will be no more
}

func newLogLines() *logLines { return &logLines{changed: make(chan struct{})} }

func (l *logLines) Write(p []byte) (int, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw.Write(p)
	before := len(l.records)
	for {
		rest := l.raw.Bytes()[l.parsed:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		var r record
		if json.Unmarshal(rest[:end], &r) == nil {
			l.records = append(l.records, r)
		}
		l.parsed += end + 1
	}
	if len(l.records) > before {
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return len(p), nil
}

// end says that no more will be written.
func (l *logLines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *logLines) all() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.raw.Bytes())
}

func (l *logLines) connections() []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return connectionLines(l.records)
}

// notLogged are the lines that sum up connections that have none.
func (l *logLines) notLogged() []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.records), func(r record) bool { return r.text("msg") != "connections not logged" })
}

func connectionLines(records []record) []record {
	var lines []record
	for _, r := range records {
		if r.text("msg") == "connection" {
			lines = append(lines, r)
		}
	}
	return lines
}

// await returns the newest line with a message that fits, when there is one.
func (l *logLines) await(t *testing.T, message string, fits func(record) bool) record {
	t.Helper()
	return l.search(t, message, func(records []record) (record, bool) {
		for i := len(records) - 1; i >= 0; i-- {
			if r := records[i]; r.text("msg") == message && (fits == nil || fits(r)) {
				return r, true
			}
		}
		return nil, false
	})
}

// next returns the next connection's line.
func (l *logLines) next(t *testing.T) record {
	t.Helper()
	return l.search(t, "connection", func(records []record) (record, bool) {
		lines := connectionLines(records)
		if len(lines) <= l.taken {
			return nil, false
		}
		l.taken++
		return lines[l.taken-1], true
	})
}

// search calls find, which may look at l, whenever there are new lines.
func (l *logLines) search(t *testing.T, what string, find func([]record) (record, bool)) record {
	t.Helper()
	limit := time.After(patience)
	for {
		l.mu.Lock()
		r, ok := find(l.records)
		changed, ended := l.changed, l.ended
		l.mu.Unlock()
		if ok {
			return r
		}
		if ended {
			t.Fatalf("the gateway has ended, with no line %q in its log", what)
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("no line %q in the log", what)
		}
	}
}
