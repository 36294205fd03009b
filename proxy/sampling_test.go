package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// summaries are the lines that say what was left out, without their time.
func (b *logBook) summaries(t *testing.T) []string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, line := range b.lines {
		if line["msg"] != "connections not logged" {
			continue
		}
		reasons, err := json.Marshal(line["reasons"])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(line["level"], " ", line["listener"], " ", line["count"], " ", string(reasons)))
	}
	return all
}

func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &logBook{}
		log := slog.New(slog.NewJSONHandler(book, nil))
		var s sampler
		taken := func(listener, reason string, lines int) (n int) {
			for range lines {
				if s.takes(sample{listener, reason}, log) {
					n++
				}
			}
			return n
		}
		if n := taken("a", "not_tls", 1000); n != 1000 {
			t.Errorf("%d lines without a limit, want all", n)
		}
		s.setLimit(100)
		for minute := range 2 {
			for _, tt := range []struct {
				listener, reason string
				lines, want      int
			}{{"a", "not_tls", 90, 90}, {"a", "not_tls", 20, 10}, {"a", "no_common_suite", 130, 100}, {"b", "not_tls", 5000, 100}, {"c", "not_tls", 100, 100}} {
				if n := taken(tt.listener, tt.reason, tt.lines); n != tt.want {
					t.Errorf("minute %d: %d lines of %d, want %d", minute, n, tt.lines, tt.want)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(samplingWindow)
		}
		minute := []string{`WARN a 40 {"no_common_suite":30,"not_tls":10}`, `WARN b 4900 {"not_tls":4900}`}
		if diff := cmp.Diff(append(minute, minute...), book.summaries(t)); diff != "" {
			t.Errorf("summaries (-want +got):\n%s", diff)
		}

		// A minute that is cut short has its summary, and no second one.
		taken("a", "not_tls", 101)
		s.summarise(log)
		s.summarise(log)
		time.Sleep(2 * samplingWindow)
		if diff := cmp.Diff(append(append(minute, minute...), `WARN a 1 {"not_tls":1}`), book.summaries(t)); diff != "" {
			t.Errorf("summaries (-want +got):\n%s", diff)
		}
	})
}

// A flood leaves few lines, every one of them is counted, and those who reached
// their broker are in the log whatever happens. A reload changes the limit.
func TestFloodIsSampled(t *testing.T) {
	config := func(limit string) string {
		return "log: {refusals_per_minute: " + limit + "}\n" + one("tcp", "rabbitmq", broker(t, echo), "")
	}
	first := config("3")
	g := start(t, first)
	flood := func(n int) {
		for range n {
			conn := g.dial("front")
			raw("AMQP\x00\x00\x09\x01")(t, g, conn)
			conn.Close()
		}
	}
	flood(50)
	for range 5 {
		conn, err := g.connect("front", g.client())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "x")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	// A client knows its answer before the gateway has counted and logged it.
	refused := func(l map[string]any) bool { return l["reason"] == "not_tls" }
	settled := func(refusals int) {
		g.waitCounted(fmt.Sprintf(`suitegate_connections_ended_total{listener="front",reason="not_tls"} %d`, refusals))
	}
	g.log.wait(t, 5, func(l map[string]any) bool { return l["reason"] == "client_closed" })
	settled(50)
	g.log.wait(t, 3, refused)
	if n := g.log.count(refused); n != 3 {
		t.Errorf("%d lines of 50 refusals, want 3", n)
	}
	if err := g.Apply(parse(t, config("5"))); err != nil {
		t.Fatal(err)
	}
	flood(10)
	settled(60)
	g.log.wait(t, 5, refused)
	if n := g.log.count(refused); n != 5 {
		t.Errorf("%d lines after the limit was raised, want 5", n)
	}
	g.Close()
	if diff := cmp.Diff([]string{`WARN front 55 {"not_tls":55}`}, g.log.summaries(t)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
}

// count is how many lines match.
func (b *logBook) count(match func(map[string]any) bool) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.lines {
		if match(line) {
			n++
		}
	}
	return n
}
