package load

import (
	"context"
	"crypto/tls"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/tlsconn"
)

// listenOwn is the server of package tlsconn in front of a backend.
func listenOwn(t testing.TB, tickets *tlsconn.TicketKeys) (address string) {
	t.Helper()
	config := &tlsconn.Config{Certificates: []tls.Certificate{testPKI().server}, Tickets: tickets}
	return listen(t, func(below net.Conn) {
		conn := tlsconn.Server(below, config)
		if conn.Handshake() == nil {
			serveBackend(conn)
			conn.Close()
		}
	})
}

// Both clients, in every version: all that was asked for happened, and is what
// the result says.
func TestHandshakes(t *testing.T) {
	tickets := new(tlsconn.TicketKeys)
	tickets.Set([][32]byte{{1}})
	standard, own := listenTLS(t, standardServer(nil)), listenOwn(t, tickets)
	for _, tt := range []struct {
		name    string
		address string
		change  func(*Target)
		want    Negotiated
	}{
		{"TLS 1.3", standard, nil, Negotiated{"TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", 40}},
		{"TLS 1.3 with a group", standard, func(o *Target) { o.Group = policy.Group(tls.CurveP256) }, Negotiated{"TLSv1.3", "TLS_AES_128_GCM_SHA256", "P-256", 40}},
		{"TLS 1.2", standard, func(o *Target) { o.Version = policy.TLS12 }, Negotiated{"TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "X25519", 40}},
		{"TLS 1.2 with a suite", standard, func(o *Target) { o.Suite = suite(t, "ECDHE-RSA-AES256-SHA") }, Negotiated{"TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "X25519", 40}},
		{"DHE", own, func(o *Target) { o.Suite = suite(t, "DHE-RSA-AES256-GCM-SHA384") }, Negotiated{"TLSv1.2", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", "ffdhe2048", 40}},
		{"RSA", own, func(o *Target) { o.Suite = suite(t, "AES256-SHA256") }, Negotiated{"TLSv1.2", "TLS_RSA_WITH_AES_256_CBC_SHA256", "", 40}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options := HandshakeOptions{Target: target(tt.address), Count: 40, Resume: 50, Echo: true, PID: os.Getpid()}
			if tt.change != nil {
				tt.change(&options.Target)
			}
			result, err := Handshakes(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			noErrors(t, result.Errors)
			if result.Handshakes != 40 || result.Resumed != 20 || result.Latency.Count != 40 || result.FirstByte.Count != 40 {
				t.Errorf("%d handshakes, %d resumed: %+v, %+v", result.Handshakes, result.Resumed, result.Latency, result.FirstByte)
			}
			l := result.Latency
			if l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max || l.P50 > result.FirstByte.P50 {
				t.Errorf("latency %+v, of the first byte %+v", l, result.FirstByte)
			}
			var all int64
			for _, n := range result.Negotiated {
				all += n.Count
				// crypto/tls's sessions of TLS 1.2 may have forgotten their group.
				if n.Version != tt.want.Version || n.Suite != tt.want.Suite || n.Group != tt.want.Group && n.Group != "" {
					t.Errorf("negotiated %+v", n)
				}
			}
			if all != tt.want.Count {
				t.Errorf("%d were negotiated", all)
			}
			if rate := float64(40) / result.Seconds; math.Abs(result.PerSecond-rate) > 1e-6*rate {
				t.Errorf("%v a second in %v seconds", result.PerSecond, result.Seconds)
			}
			// All of it is this process's, here.
			if p := result.Process; p == nil || p.PID != os.Getpid() || p.Unit != "ms/handshake" || p.CPU <= 0 || math.Abs(p.PerUnit-1000*p.CPU/40) > 1e-6 {
				t.Errorf("process: %+v", result.Process)
			}
		})
	}
}

// What goes wrong, by its name.
func TestHandshakeErrors(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()
	plaintext := listen(t, func(conn net.Conn) { _, _ = conn.Write([]byte("AMQP\x00\x00\x09\x01")) })
	silent := listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<20)); time.Sleep(time.Second) })
	closes := listen(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<20)) })
	ecdheOnly := standardServer(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	noTickets := standardServer(func(c *tls.Config) { c.SessionTicketsDisabled = true })
	asksClients := standardServer(func(c *tls.Config) {
		c.MaxVersion, c.ClientAuth, c.ClientCAs = tls.VersionTLS12, tls.RequireAndVerifyClientCert, testPKI().roots
	})
	for _, tt := range []struct {
		name    string
		address string
		change  func(*HandshakeOptions)
		want    string
	}{
		{"nobody listens", unused.Addr().String(), nil, "connect refused"},
		{"no TLS", plaintext, nil, "not TLS"},
		{"no TLS, of tlsconn", plaintext, func(o *HandshakeOptions) { o.Suite = suite(t, "AES256-SHA256") }, "alert sent: unexpected_message"},
		{"no answer", silent, func(o *HandshakeOptions) { o.Timeout = 50 * time.Millisecond }, "timeout"},
		{"no answer, of tlsconn", silent, func(o *HandshakeOptions) { o.Timeout, o.Suite = 50*time.Millisecond, suite(t, "AES256-SHA256") }, "timeout"},
		{"end of the connection", closes, nil, "closed by server"},
		{"another authority", listenTLS(t, standardServer(nil)), func(o *HandshakeOptions) { o.RootCAs = nil }, "certificate"},
		{"another name", listenTLS(t, standardServer(nil)), func(o *HandshakeOptions) { o.ServerName = "other.test" }, "certificate"},
		{"another name, of tlsconn", listenOwn(t, nil), func(o *HandshakeOptions) { o.ServerName, o.Suite = "other.test", suite(t, "AES256-SHA256") }, "certificate"},
		{"no version in common", listenTLS(t, ecdheOnly), func(o *HandshakeOptions) { o.Version = policy.TLS13 }, "alert protocol_version"},
		{"no suite in common", listenTLS(t, ecdheOnly), func(o *HandshakeOptions) { o.Suite = suite(t, "AES256-GCM-SHA384") }, "alert handshake_failure"},
		{"no suite in common, of tlsconn", listenTLS(t, ecdheOnly), func(o *HandshakeOptions) { o.Suite = suite(t, "DHE-RSA-AES256-SHA") }, "alert handshake_failure"},
		{"another suite", listenTLS(t, standardServer(nil)), func(o *HandshakeOptions) { o.Suite = suite(t, "TLS_AES_256_GCM_SHA384") }, "another suite"},
		{"a client certificate is wanting", listenTLS(t, asksClients), nil, "alert handshake_failure"},
		{"no ticket, TLS 1.3", listenTLS(t, noTickets), func(o *HandshakeOptions) { o.Resume, o.Timeout = 100, 100*time.Millisecond }, "no ticket"},
		{"no ticket, TLS 1.2", listenTLS(t, noTickets), func(o *HandshakeOptions) { o.Resume, o.Version = 100, policy.TLS12 }, "no ticket"},
		{"no ticket, of tlsconn", listenOwn(t, nil), func(o *HandshakeOptions) { o.Resume, o.Suite = 100, suite(t, "AES256-SHA256") }, "no ticket"},
		{"no echo", listen(t, endAfterHandshake), func(o *HandshakeOptions) { o.Echo = true }, "closed by server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options := HandshakeOptions{Target: target(tt.address), Workers: 1, Count: 2}
			if tt.change != nil {
				tt.change(&options)
			}
			result, err := Handshakes(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Errors) != 1 || result.Errors[0].Cause != tt.want || result.Errors[0].Count != 2 || result.Failed != 2 || result.Handshakes != 0 {
				t.Errorf("%d handshakes, %d failed: %+v, want %q", result.Handshakes, result.Failed, result.Errors, tt.want)
			}
		})
	}
	withCertificate := target(listenTLS(t, asksClients))
	withCertificate.Certificate = &testPKI().client
	result, err := Handshakes(t.Context(), HandshakeOptions{Target: withCertificate, Count: 2})
	if err != nil {
		t.Fatal(err)
	}
	noErrors(t, result.Errors)
}

func endAfterHandshake(below net.Conn) {
	conn := tls.Server(below, standardServer(nil))
	if conn.Handshake() == nil {
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// A server that forgets its ticket keys in between: one handshake is an error
// each time, and the next ones resume again.
func TestNotResumed(t *testing.T) {
	for _, version := range []policy.Version{policy.TLS12, policy.TLS13} {
		config := standardServer(nil)
		var mu sync.Mutex
		connections := byte(0)
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			connections++
			c := standardServer(nil)
			c.SetSessionTicketKeys([][32]byte{{1 + connections/4}}) // another one with connections 4 and 8
			return c, nil
		}
		options := HandshakeOptions{Target: target(listenTLS(t, config)), Resume: 100, Workers: 1, Count: 6}
		options.Version = version
		result, err := Handshakes(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		// A ticket, 2, 3, not 4; a ticket, 6, 7, not 8.
		if result.Resumed != 4 || result.Failed != 2 || len(result.Errors) != 1 || result.Errors[0].Cause != "not resumed" {
			t.Errorf("%v: %d resumed, %+v", version, result.Resumed, result.Errors)
		}
	}
}

// stallingServer handshakes over pipes, and does nothing from one moment on until
// another.
type stallingServer struct {
	from, until time.Time
	config      *tls.Config
	handlers    sync.WaitGroup
	each        time.Duration // that it takes for an answer when it does not stall
}

func (s *stallingServer) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	s.handlers.Go(func() {
		defer server.Close()
		if now := time.Now(); !now.Before(s.from) && now.Before(s.until) {
			time.Sleep(s.until.Sub(now))
		}
		time.Sleep(s.each)
		conn := tls.Server(server, s.config)
		if conn.Handshake() == nil {
			_, _ = io.Copy(io.Discard, conn) // ends with the connection
		}
	})
	return client, nil
}

// A server stalls for a second, of two. In an open loop, each of the hundred
// handshakes that were due meanwhile waits for what is left of that second.
func TestOpenLoopCountsFromWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server := &stallingServer{from: start.Add(500 * time.Millisecond), until: start.Add(1500 * time.Millisecond), config: standardServer(nil)}
		options := HandshakeOptions{Target: target("pipe:1"), Rate: 100, Duration: 2 * time.Second}
		options.Dial = server.dial
		result, err := Handshakes(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		server.handlers.Wait()
		noErrors(t, result.Errors)
		l := result.Latency
		if l.Count != 200 || result.Late != 0 || result.LimitedByClient {
			t.Errorf("%d handshakes, %d late, limits %q", l.Count, result.Late, result.Limits)
		}
		for _, p := range []struct {
			name      string
			got, want float64
		}{{"p50", l.P50, 0}, {"p90", l.P90, 800}, {"p99", l.P99, 980}, {"max", l.Max, 1000}} {
			if math.Abs(p.got-p.want) > 0.002*p.want+0.01 {
				t.Errorf("%s is %v ms, want %v", p.name, p.got, p.want)
			}
		}
	})
}

// The same second in a closed loop is one slow handshake among hundreds.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server := &stallingServer{from: start.Add(500 * time.Millisecond), until: start.Add(1500 * time.Millisecond), config: standardServer(nil), each: 5 * time.Millisecond}
		options := HandshakeOptions{Target: target("pipe:1"), Workers: 1, Duration: 3 * time.Second, Warmup: 100 * time.Millisecond}
		options.Dial = server.dial
		var progress []Progress
		options.Progress = func(p Progress) { progress = append(progress, p) }
		result, err := Handshakes(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		server.handlers.Wait()
		noErrors(t, result.Errors)
		if l := result.Latency; l.P99 > 6 || l.Max < 1000 || l.Count < 400 || l.Count > 420 {
			t.Errorf("latency %+v", l)
		}
		if math.Abs(result.Seconds-3) > 0.01 {
			t.Errorf("%v seconds", result.Seconds)
		}
		if len(progress) != 6 || progress[0].Elapsed != 400*time.Millisecond || progress[0].Rate < 150 || progress[1].Rate > 20 || progress[5].Done < 300 {
			t.Errorf("progress %+v", progress)
		}
	})
}

// With too few connections at a time, the client says that it is the limit; what
// is due and cannot begin in time has failed, so that the end comes.
func TestOpenLoopFallsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server := &stallingServer{config: standardServer(nil)} // its handshakes are in time, but it never echoes
		options := HandshakeOptions{Target: target("pipe:1"), Rate: 100, Workers: 10, Duration: 2 * time.Second, Echo: true}
		options.Dial, options.Timeout = server.dial, time.Second
		result, err := Handshakes(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		server.handlers.Wait()
		if !result.LimitedByClient || !strings.Contains(strings.Join(result.Limits, " "), "as many as may be, 10, were in flight") || result.Late < 100 {
			t.Errorf("%d late, limits %q", result.Late, result.Limits)
		}
		causes := make(map[string]int64)
		for _, e := range result.Errors {
			causes[e.Cause] = e.Count
		}
		if result.Handshakes != 0 || causes["timeout"]+causes["not begun in time"] != 200 || causes["timeout"] < 20 || causes["not begun in time"] < 100 {
			t.Errorf("%d handshakes, %v", result.Handshakes, causes)
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What cannot be measured is an error at once.
func TestHandshakeOptionErrors(t *testing.T) {
	for _, tt := range []struct {
		change func(*HandshakeOptions)
		want   string
	}{
		{func(o *HandshakeOptions) { o.Address = "localhost" }, "missing port"},
		{func(o *HandshakeOptions) { o.Version = policy.TLS10 }, "TLSv1.0 is not spoken here"},
		{func(o *HandshakeOptions) { o.Version, o.Suite = policy.TLS13, suite(t, "AES256-SHA") }, "is no suite of TLSv1.3"},
		{func(o *HandshakeOptions) { o.Resume = 101 }, "101 percent"},
		{func(o *HandshakeOptions) { o.Rate = -1 }, "a rate of -1"},
		{func(o *HandshakeOptions) { o.PID = 1 << 30 }, "there is no process 1073741824"},
	} {
		options := HandshakeOptions{Target: target("127.0.0.1:1"), Count: 1}
		tt.change(&options)
		if _, err := Handshakes(t.Context(), options); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// It ends when it is told to, and what was interrupted is no failure.
func TestHandshakesInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address := listen(t, func(conn net.Conn) { cancel(); _, _ = conn.Read(make([]byte, 1<<20)); <-ctx.Done() })
	for _, rate := range []float64{0, 50} {
		result, err := Handshakes(ctx, HandshakeOptions{Target: target(address), Rate: rate, Duration: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		noErrors(t, result.Errors)
	}
}

func TestUsageJudges(t *testing.T) {
	for share, want := range map[float64]bool{0.5: false, 0.95: true} {
		u := Usage{ClientCPUShare: share}
		if u.judge(); u.LimitedByClient != want || (len(u.Limits) == 1) != want {
			t.Errorf("%v: %+v", share, u)
		}
	}
}
