package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suitegate/suitegate/proxy/tlsconn"
)

func TestBulk(t *testing.T) {
	standard, own := listenTLS(t, standardServer(nil)), listenOwn(t, nil)
	for _, direction := range []Direction{"", ToBroker, ToClient, Both} {
		for _, address := range []string{standard, own} {
			options := BulkOptions{Target: target(address), Direction: direction, Connections: 2, Duration: 150 * time.Millisecond, Warmup: 50 * time.Millisecond, PID: os.Getpid()}
			if address == own {
				options.Suite = suite(t, "DHE-RSA-AES128-GCM-SHA256")
			}
			result, err := Bulk(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			noErrors(t, result.Errors)
			var bytes int64
			for _, way := range []struct {
				flow *Flow
				want bool
			}{{result.ToBroker, direction == ToBroker || direction == Both}, {result.ToClient, direction != ToBroker}} {
				if (way.flow != nil) != way.want {
					t.Fatalf("%s: %+v", direction, result)
				}
				if way.flow == nil {
					continue
				}
				bytes += way.flow.Bytes
				if way.flow.Bytes < 1<<16 || way.flow.Connections != 2 || math.Abs(way.flow.PerSecond-float64(way.flow.Bytes)/1e6/result.Seconds) > 1e-6*way.flow.PerSecond {
					t.Errorf("%s: %+v in %v s", direction, way.flow, result.Seconds)
				}
			}
			if result.Seconds < 0.15 || result.Seconds > 2 {
				t.Errorf("%s: %v seconds, with those of warming up", direction, result.Seconds)
			}
			if p := result.Process; p == nil || p.Unit != "s/GB" || math.Abs(p.PerUnit-p.CPU/float64(bytes)*1e9) > 1e-6*p.PerUnit {
				t.Errorf("%s: process %+v", direction, p)
			}
		}
	}
}

// A backend that counts less than was sent, and one that cannot count.
func TestBulkErrors(t *testing.T) {
	answering := func(answer string) string {
		config := standardServer(nil)
		return listen(t, func(below net.Conn) {
			conn := tls.Server(below, config)
			_, _ = io.Copy(io.Discard, conn)
			_, _ = io.WriteString(conn, answer)
			_ = conn.CloseWrite()
		})
	}
	for answer, want := range map[string]string{"7\n": "lost bytes", "many\n": "wrong answer"} {
		result, err := Bulk(t.Context(), BulkOptions{Target: target(answering(answer)), Direction: ToBroker, Duration: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Errors) != 1 || result.Errors[0].Cause != want || result.Failed != 1 {
			t.Errorf("%q: %+v", answer, result.Errors)
		}
	}
	if _, err := Bulk(t.Context(), BulkOptions{Target: target("127.0.0.1:1"), Direction: "up"}); err == nil || !strings.Contains(err.Error(), `no direction "up"`) {
		t.Error(err)
	}
	// It does not wait for what has failed.
	begin := time.Now()
	result, err := Bulk(t.Context(), BulkOptions{Target: target("127.0.0.1:1"), Duration: time.Hour})
	if err != nil || len(result.Errors) != 1 || time.Since(begin) > time.Minute {
		t.Errorf("%+v, %v after %v", result, err, time.Since(begin))
	}
}

func TestRoundTrips(t *testing.T) {
	address := listenTLS(t, standardServer(nil))
	var progress atomic.Int32
	result, err := RoundTrips(t.Context(), RoundTripOptions{Target: target(address), Connections: 3, Frame: 300, Duration: 600 * time.Millisecond,
		PID: os.Getpid(), Progress: func(Progress) { progress.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	noErrors(t, result.Errors)
	if result.RoundTrips < 3 || result.Latency.Count != result.RoundTrips || result.Frame != 300 || result.Connections != 3 || result.Latency.P50 <= 0 || progress.Load() == 0 {
		t.Errorf("%+v", result)
	}
	if p := result.Process; p == nil || p.Unit != "us/round-trip" || math.Abs(p.PerUnit-p.CPU/float64(result.RoundTrips)*1e6) > 1e-6*p.PerUnit {
		t.Errorf("process %+v", p)
	}

	config := standardServer(nil)
	wrong := listen(t, func(below net.Conn) {
		conn := tls.Server(below, config)
		frame := make([]byte, DefaultFrame)
		_, _ = io.ReadFull(conn, frame)
		frame[7]++
		_, _ = conn.Write(frame)
		_, _ = io.Copy(io.Discard, conn)
	})
	result, err = RoundTrips(t.Context(), RoundTripOptions{Target: target(wrong), Duration: time.Minute})
	if err != nil || len(result.Errors) != 1 || result.Errors[0].Cause != "wrong answer" || result.RoundTrips != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	result, err = RoundTrips(t.Context(), RoundTripOptions{Target: target("127.0.0.1:1"), Connections: 2, Duration: time.Minute})
	if err != nil || len(result.Errors) != 1 || result.Errors[0].Count != 2 {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err = RoundTrips(t.Context(), RoundTripOptions{Target: target(address), Frame: -1}); err == nil {
		t.Error("frames of -1 bytes")
	}
}

// The server keeps 15 of 20 connections.
func TestIdle(t *testing.T) {
	config := standardServer(nil)
	var accepted atomic.Int32
	address := listen(t, func(below net.Conn) {
		conn := tls.Server(below, config)
		if conn.Handshake() != nil {
			return
		}
		if accepted.Add(1) <= 5 {
			_, _ = io.CopyN(conn, conn, BurstSize)
			conn.Close()
			return
		}
		serveBackend(conn)
	})
	result, err := Idle(t.Context(), IdleOptions{Target: target(address), Connections: 20, Burst: true, Hold: 300 * time.Millisecond, PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if result.Asked != 20 || result.Opened != 20 || result.Stayed != 15 || result.Failed != 5 || len(result.Errors) != 1 || result.Errors[0].Cause != "closed by server" {
		t.Errorf("%+v", result)
	}
	if result.RampSeconds < 0.035 || result.HoldSeconds < 0.3 {
		t.Errorf("ramp of %v s, hold of %v s", result.RampSeconds, result.HoldSeconds)
	}
	m := result.Process
	if m == nil || m.RSS == 0 || m.PSS == 0 || math.Abs(m.RSSEach-(float64(m.RSS)-float64(m.RSSBefore))/1024/15) > 1e-6 {
		t.Errorf("memory %+v", m)
	}
	if _, err := Idle(t.Context(), IdleOptions{Target: target(address)}); err == nil {
		t.Error("no connections")
	}
}

func TestIdleWithOwnClient(t *testing.T) {
	tickets := new(tlsconn.TicketKeys)
	options := IdleOptions{Target: target(listenOwn(t, tickets)), Connections: 5, Hold: 50 * time.Millisecond}
	options.Suite = suite(t, "ECDHE-RSA-AES256-SHA384")
	result, err := Idle(t.Context(), options)
	if err != nil || result.Stayed != 5 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestLoopbackSources(t *testing.T) {
	for _, tt := range []struct {
		address string
		n       int
		want    string
	}{
		{"127.0.0.1:5671", 20_000, "[]"}, {"127.0.0.1:5671", 50_000, "[127.0.0.2 127.0.0.3 127.0.0.4]"},
		{"192.0.2.1:5671", 50_000, "[]"}, {"[::1]:5671", 50_000, "[]"}, {"localhost:5671", 50_000, "[]"},
	} {
		if got := fmt.Sprint(loopbackSources(tt.address, tt.n)); got != tt.want {
			t.Errorf("%s, %d connections: %s", tt.address, tt.n, got)
		}
	}
}

// Connections come from all of the sources.
func TestSources(t *testing.T) {
	var mu sync.Mutex
	from := make(map[string]int)
	config := standardServer(nil)
	address := listen(t, func(below net.Conn) {
		host, _, _ := net.SplitHostPort(below.RemoteAddr().String())
		mu.Lock()
		from[host]++
		mu.Unlock()
		_ = tls.Server(below, config).Handshake()
	})
	options := HandshakeOptions{Target: target(address), Count: 6}
	options.Sources = loopbackSources("127.0.0.1:1", 2*portsEach)
	result, err := Handshakes(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	noErrors(t, result.Errors)
	mu.Lock()
	defer mu.Unlock()
	if from["127.0.0.2"] != 3 || from["127.0.0.3"] != 3 {
		t.Errorf("connections from %v", from)
	}
}

// The backend by itself: what it does with each first byte, and at the end.
func TestBackend(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- new(Backend).Serve(ctx, listener) }()
	for _, tt := range []struct{ say, want string }{
		{"echo\n", "echo\n"},
		{"AMQP\x00\x00\x09\x01", "AMQP\x00\x00\x09\x01"},
		{"d1234567", "7\n"},
		{"s\x00\x00\x00\x00\x00\x00\x00\x05", "\x00\x00\x00\x00\x00"},
		{"s\x00", ""},
		{"", ""},
	} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(conn, tt.say)
		_ = conn.(*net.TCPConn).CloseWrite()
		if answer, err := io.ReadAll(conn); err != nil || string(answer) != tt.want {
			t.Errorf("%q: %q, %v", tt.say, answer, err)
		}
		conn.Close()
	}
	open, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	_, _ = io.WriteString(open, "e")
	_, _ = io.ReadFull(open, make([]byte, 1))
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection is open after the end")
	}

	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if err := new(Backend).Serve(t.Context(), closed); err == nil {
		t.Error("a listener that is closed is served")
	}
}
