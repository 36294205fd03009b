package relay

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sides are a relayed connection of a test, and its two users.
type sides struct {
	user, broker Conn
	userTCP      *net.TCPConn
	ended        <-chan outcome
}

// driven hands a connection to a relay with a Poller.
func driven(t testing.TB, r *Relay, config *tls.Config, limits Limits) sides {
	t.Helper()
	var s sides
	var client, backend Conn
	if config != nil {
		client, s.user, s.userTCP = tlsPairConns(t, config)
	} else {
		client, s.user = tcpPair(t)
	}
	backend, s.broker = tcpPair(t)
	s.ended = handLimited(r, client, backend, limits)
	return s
}

func polled(t testing.TB) *Relay {
	p := newTestPoller()
	t.Cleanup(p.Close)
	return &Relay{Poller: p}
}

// carriers counts the goroutines that carry for one connection.
func carriers() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), ".carryFrom")
}

// However slowly either side reads, everything arrives, once and in order, in
// both directions at once. The slow side's buffers are full most of the time.
func TestDrivenBackpressure(t *testing.T) {
	config := tlsConfig(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", secure), func(t *testing.T) {
			t.Parallel()
			r, c := polled(t), config
			if !secure {
				c = nil
			}
			s := driven(t, r, c, Limits{})
			sent := pattern(8 << 20)
			var users sync.WaitGroup
			for from, to := range map[Conn]Conn{s.user: s.broker, s.broker: s.user} {
				users.Go(func() { mustWrite(t, from, sent); from.CloseWrite() })
				users.Go(func() {
					var got bytes.Buffer
					chunk := make([]byte, 300_001) // fits nothing
					for {
						n, err := io.ReadFull(to, chunk)
						got.Write(chunk[:n])
						if err != nil {
							break
						}
						time.Sleep(2 * time.Millisecond)
					}
					if !bytes.Equal(got.Bytes(), sent) {
						t.Errorf("%d bytes arrived that differ from the %d sent", got.Len(), len(sent))
					}
				})
			}
			users.Wait()
			if o := await(t, s.ended); o.FromClient != int64(len(sent)) || o.FromBackend != int64(len(sent)) || o.err != nil {
				t.Errorf("%+v, %v", o.Stats, o.err)
			}
		})
	}
}

// A connection has no goroutine while both sides are open.
func TestDrivenWithoutGoroutines(t *testing.T) {
	r, config := polled(t), tlsConfig(t)
	var all []sides
	for range 20 {
		all = append(all, driven(t, r, config, Limits{}))
	}
	for _, s := range all {
		mustWrite(t, s.user, []byte("ping"))
		mustReadFull(t, s.broker, []byte("ping"))
		mustWrite(t, s.broker, []byte("pong"))
		mustReadFull(t, s.user, []byte("pong"))
	}
	if n := carriers(); n != 0 {
		t.Errorf("%d goroutines carry", n)
	}
	for _, s := range all {
		s.user.Close()
		s.broker.Close()
		if o := await(t, s.ended); o.Reason != "client_closed" || o.FromClient != 4 || o.FromBackend != 4 {
			t.Errorf("%+v, %v", o.Stats, o.err)
		}
	}
}

// What the relay ends itself ends in the same way.
func TestDrivenEnds(t *testing.T) {
	config := tlsConfig(t)
	for _, test := range []struct {
		reason string
		limits Limits
		end    func(*Relay)
	}{
		{"shutdown", Limits{}, func(r *Relay) { r.Close() }},
		{"idle_timeout", Limits{Idle: 100 * time.Millisecond}, nil},
		{"max_age", Limits{Until: time.Now().Add(500 * time.Millisecond)}, nil},
	} {
		t.Run(test.reason, func(t *testing.T) {
			r := polled(t)
			s := driven(t, r, config, test.limits)
			mustWrite(t, s.user, []byte("ping"))
			mustReadFull(t, s.broker, []byte("ping"))
			users := drainedBoth(s)
			if test.end != nil {
				test.end(r)
			}
			if o := await(t, s.ended); o.Reason != test.reason || o.FromClient != 4 {
				t.Errorf("%+v, %v", o.Stats, o.err)
			}
			users.Wait()
		})
	}
}

// drainedBoth has both users read to the end, and close.
func drainedBoth(s sides) *sync.WaitGroup {
	var users sync.WaitGroup
	for _, c := range []Conn{s.user, s.broker} {
		users.Go(func() { io.Copy(io.Discard, c); c.Close() })
	}
	return &users
}

// Nobody whose connection is carried notices that the loops end.
func TestPollerCloses(t *testing.T) {
	p := newTestPoller()
	r, config := &Relay{Poller: p}, tlsConfig(t)
	var all []sides
	for range 10 {
		all = append(all, driven(t, r, config, Limits{}))
	}
	sent := pattern(4 << 20)
	var users sync.WaitGroup
	for _, s := range all {
		users.Go(func() { mustWrite(t, s.user, sent); s.user.CloseWrite() })
		users.Go(func() { mustReadAll(t, s.broker, sent); s.broker.Close() })
		users.Go(func() { io.Copy(io.Discard, s.user) })
	}
	time.Sleep(5 * time.Millisecond)
	p.Close()
	late := driven(t, r, config, Limits{})
	mustWrite(t, late.user, []byte("ping"))
	mustReadFull(t, late.broker, []byte("ping"))
	drainedBoth(late)
	late.user.Close()
	late.broker.Close()
	await(t, late.ended)
	users.Wait()
	for _, s := range all {
		if o := await(t, s.ended); o.FromClient != int64(len(sent)) || o.err != nil {
			t.Errorf("%+v, %v", o.Stats, o.err)
		}
	}
}

// A panic below Read is its own connection's.
func TestDrivenPanic(t *testing.T) {
	r, config := polled(t), tlsConfig(t)
	other := driven(t, r, config, Limits{})
	client, user, _ := tlsPairConns(t, config)
	backend, broker := tcpPair(t)
	ended := hand(r, &panicAfter{Conn: client, calls: 1}, backend)
	mustWrite(t, user, []byte("ping"))
	if o := await(t, ended); o.Reason != "panic" {
		t.Errorf("%+v, %v", o.Stats, o.err)
	}
	broker.Close()
	mustWrite(t, other.user, []byte("ping"))
	mustReadFull(t, other.broker, []byte("ping"))
	other.user.Close()
	other.broker.Close()
	await(t, other.ended)
}

// Nor does one below CloseWrite go further.
func TestDrivenPanicAtEnd(t *testing.T) {
	r := polled(t)
	client, user, _ := tlsPairConns(t, tlsConfig(t))
	backend, broker := tcpPair(t)
	ended := hand(r, panicAtEnd{client}, backend)
	mustWrite(t, user, []byte("ping"))
	mustReadFull(t, broker, []byte("ping"))
	broker.CloseWrite()
	if o := await(t, ended); o.Reason != "panic" || o.FromClient != 4 {
		t.Errorf("%+v, %v", o.Stats, o.err)
	}
}

// panicAtEnd panics in CloseWrite.
type panicAtEnd struct{ Conn }

func (p panicAtEnd) NetConn() net.Conn { return p.Conn.(interface{ NetConn() net.Conn }).NetConn() }
func (panicAtEnd) CloseWrite() error   { panic("in the engine") }

// panicAfter panics in Read after some calls.
type panicAfter struct {
	Conn
	calls int
}

func (p *panicAfter) NetConn() net.Conn { return p.Conn.(interface{ NetConn() net.Conn }).NetConn() }

func (p *panicAfter) Read(b []byte) (int, error) {
	if p.calls--; p.calls < 0 {
		panic("in the engine")
	}
	return p.Conn.Read(b)
}

// What came with the end of the handshake, and lies in TLS's own buffers, is
// carried although no event tells of it.
func TestDrivenEarlyBytes(t *testing.T) {
	r := polled(t)
	client, user, _ := tlsPairConns(t, tlsConfig(t))
	backend, broker := tcpPair(t)
	mustWrite(t, user, []byte("xping"))
	if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ended := hand(r, client, backend)
	mustReadFull(t, broker, []byte("ping"))
	user.Close()
	broker.Close()
	await(t, ended)
}

// One side's end makes no goroutine either: the other goes on, and its end is the
// session's.
func TestDrivenHalfClosed(t *testing.T) {
	r, config := polled(t), tlsConfig(t)
	for _, first := range []Side{Client, Backend} {
		t.Run(string(first), func(t *testing.T) {
			s := driven(t, r, config, Limits{})
			near, far := s.user, s.broker
			if first == Backend {
				near, far = far, near
			}
			mustWrite(t, near, []byte("ping"))
			near.CloseWrite()
			mustReadAll(t, far, []byte("ping"))
			mustWrite(t, far, []byte("pong"))
			mustReadFull(t, near, []byte("pong"))
			if n := carriers(); n != 0 {
				t.Errorf("%d goroutines carry", n)
			}
			far.CloseWrite()
			mustReadAll(t, near, nil)
			if o := await(t, s.ended); o.Reason != string(first)+"_closed" || o.FromClient != 4 || o.FromBackend != 4 || o.err != nil {
				t.Errorf("%+v, %v", o.Stats, o.err)
			}
		})
	}
}

// A side that has ended, and is reset then, is in a state that the system would tell
// of at every look. The loop has one look, and what the other side still says is
// dropped.
func TestDrivenResetAfterEnd(t *testing.T) {
	r, config := polled(t), tlsConfig(t)
	s := driven(t, r, config, Limits{})
	s.user.CloseWrite()
	mustReadAll(t, s.broker, nil)
	s.userTCP.SetLinger(0)
	s.userTCP.Close()
	const quiet = 200 * time.Millisecond
	before := processorTime(t)
	time.Sleep(quiet)
	if used := processorTime(t) - before; used > quiet/2 {
		t.Errorf("%v of %v were spent on a connection that is over", used, quiet)
	}
	mustWrite(t, s.broker, []byte("pong"))
	s.broker.Close()
	if o := await(t, s.ended); o.First != Client || o.Reason != "client_closed" || o.FromBackend != 0 {
		t.Errorf("%+v, %v", o.Stats, o.err)
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// One that takes nothing any more, after the other has ended, is given up.
func TestDrivenLingers(t *testing.T) {
	r, config := polled(t), tlsConfig(t)
	r.Linger = 50 * time.Millisecond
	s := driven(t, r, config, Limits{})
	s.broker.CloseWrite()
	if o := await(t, s.ended); o.First != Backend || o.Reason != "linger_timeout" {
		t.Errorf("%+v, %v", o.Stats, o.err)
	}
}

// coolConn counts how often it was told to let go of what it needs for traffic.
type coolConn struct {
	Conn
	cooled atomic.Int32
}

func (c *coolConn) Cool()             { c.cooled.Add(1) }
func (c *coolConn) NetConn() net.Conn { return c.Conn }

// A connection that has fallen silent lets go of its buffers once, and again when it
// has carried something meanwhile.
func TestCool(t *testing.T) {
	p := &Poller{coolAfter: 20 * time.Millisecond}
	t.Cleanup(p.Close)
	near, user := tcpPair(t)
	client := &coolConn{Conn: NewSocket(near)}
	backend, broker := tcpPair(t)
	ended := hand(&Relay{Poller: p}, client, backend)
	told := int32(1) // when it was handed over
	for range 2 {
		mustWrite(t, user, []byte("ping"))
		mustReadFull(t, broker, []byte("ping"))
		told++
		for deadline := time.Now().Add(20 * time.Second); client.cooled.Load() != told; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("told %d times, want %d", client.cooled.Load(), told)
			}
		}
		time.Sleep(5 * p.coolAfter)
		if got := client.cooled.Load(); got != told {
			t.Fatalf("told %d times in the end, want %d", got, told)
		}
	}
	user.Close()
	broker.Close()
	await(t, ended)
}

// stopper is a [Counter] that keeps a loop until it is told to go on.
type stopper struct {
	once    sync.Once
	stopped chan struct{}
	goOn    chan struct{}
}

func (s *stopper) Add(float64) {
	s.once.Do(func() {
		close(s.stopped)
		<-s.goOn
	})
}

// stopLoops keeps the loops of a relay until goOn is called: what happens meanwhile
// they find at one look.
func stopLoops(t *testing.T, r *Relay) (goOn func()) {
	t.Helper()
	r.Poller.Open()
	free := make(chan struct{})
	for range r.Poller.loops {
		s := &stopper{stopped: make(chan struct{}), goOn: free}
		client, user := tcpPair(t)
		backend, broker := tcpPair(t)
		ended := make(chan struct{})
		r.Hand(client, backend, Options{FromClient: s}, func(Stats, error) { close(ended) })
		mustWrite(t, user, []byte("x"))
		<-s.stopped
		t.Cleanup(func() {
			user.Close()
			broker.Close()
			<-ended
		})
	}
	return func() { close(free) }
}

// Events are told once. What comes together with another thing, or is too much for
// one turn, has none of its own, and is carried all the same.
func TestDrivenToldOnce(t *testing.T) {
	turns := pattern(3 * rounds * mostAtOnce / 2)
	for name, sent := range map[string][]byte{"an end": nil, "bytes and their end": []byte("ping"), "more than a turn": turns} {
		t.Run(name, func(t *testing.T) {
			r := polled(t)
			s := driven(t, r, nil, Limits{})
			user, broker := s.user.(*net.TCPConn), s.broker
			user.SetWriteBuffer(len(sent))
			goOn := stopLoops(t, r)
			mustWrite(t, user, sent)
			if len(sent) < len(turns) {
				user.CloseWrite()
				goOn()
				mustReadAll(t, broker, sent)
			} else { // nothing follows them
				goOn()
				mustReadFull(t, broker, sent)
				user.CloseWrite()
			}
			for deadline := time.Now().Add(10 * time.Second); carriers() != 0; time.Sleep(time.Millisecond) { // those of stopLoops end
				if time.Now().After(deadline) {
					t.Fatal("goroutines carry")
				}
			}
			broker.Close()
			if o := await(t, s.ended); o.Reason != "client_closed" || o.FromClient != int64(len(sent)) {
				t.Errorf("%+v, %v", o.Stats, o.err)
			}
		})
	}
}

// More connections than a loop looks at in one piece have something at the same time.
func TestDrivenMany(t *testing.T) {
	p := newTestPoller()
	t.Cleanup(p.Close)
	r := &Relay{Poller: p}
	p.Open()
	all := 1 + len(loop{}.events)*(len(p.loops)+1)
	s := &stopper{stopped: make(chan struct{}), goOn: make(chan struct{})}
	var users, brokers []Conn
	ended := make(chan outcome, all)
	for range all {
		client, user := tcpPair(t)
		backend, broker := tcpPair(t)
		users, brokers = append(users, user), append(brokers, broker)
		r.Hand(client, backend, Options{FromClient: s}, func(s Stats, err error) { ended <- outcome{s, err} })
	}
	mustWrite(t, users[0], []byte("x"))
	<-s.stopped
	for _, user := range users[1:] {
		mustWrite(t, user, []byte("x"))
	}
	close(s.goOn)
	for _, broker := range brokers { // before anything else happens, of which the loop would be told
		mustReadFull(t, broker, []byte("x"))
	}
	for i := range all {
		users[i].Close()
		brokers[i].Close()
	}
	for range all {
		await(t, ended)
	}
}
