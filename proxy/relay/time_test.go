package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// These tests run on connections in memory and a clock of their own.

func checkOutcome(t *testing.T, got outcome, want Stats) {
	t.Helper()
	if got.Stats != want {
		t.Errorf("stats %+v, want %+v (error: %v)", got.Stats, want, got.err)
	}
	checkError(t, got)
}

func TestNoTimeoutWhileBothSidesAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, user := duplexPair()
		backend, broker := duplexPair()
		ended := hand(&Relay{}, client, backend)

		time.Sleep(28 * time.Hour) // MQTT's longest keep-alive allows 27.3
		go user.Write([]byte("PINGREQ"))
		mustReadFull(t, broker, []byte("PINGREQ"))
		user.Close()
		synctest.Wait()
		broker.Close()
		checkOutcome(t, await(t, ended), Stats{FromClient: 7, First: Client, Reason: "client_closed"})
	})
}

func TestLinger(t *testing.T) {
	const linger = 3 * time.Second
	tests := []struct {
		name string
		play func(user, broker *duplex)
		want Stats
		took time.Duration
	}{{
		name: "backend silent after the client's end",
		play: func(user, broker *duplex) { user.CloseWrite() },
		want: Stats{First: Client, Reason: "linger_timeout"},
		took: linger,
	}, {
		name: "client silent after the backend's end",
		play: func(user, broker *duplex) { broker.CloseWrite() },
		want: Stats{First: Backend, Reason: "linger_timeout"},
		took: linger,
	}, {
		name: "each byte carried is worth another linger",
		play: func(user, broker *duplex) {
			user.CloseWrite()
			go io.Copy(io.Discard, user)
			for range 5 {
				time.Sleep(2 * time.Second)
				broker.Write([]byte("x"))
			}
		},
		want: Stats{FromBackend: 5, First: Client, Reason: "linger_timeout"},
		took: 10*time.Second + linger,
	}, {
		name: "a client that does not take the rest",
		play: func(user, broker *duplex) {
			user.CloseWrite()
			broker.Write([]byte("x"))
		},
		want: Stats{First: Client, Reason: "linger_timeout"},
		took: linger,
	}, {
		name: "a client that goes on sending to a backend that is gone",
		play: func(user, broker *duplex) {
			broker.Close()
			for {
				if _, err := user.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Second / 2)
			}
		},
		want: Stats{First: Backend, Reason: "linger_timeout"},
		// The first byte fails at 0 s; those dropped after it buy no time.
		took: linger,
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, user := duplexPair()
				backend, broker := duplexPair()
				start := time.Now()
				ended := hand(&Relay{Linger: linger}, client, backend)
				var users sync.WaitGroup
				users.Go(func() { tt.play(user, broker) })
				o := await(t, ended)
				checkOutcome(t, o, tt.want)
				if took := time.Since(start); took != tt.took {
					t.Errorf("ended after %v, want %v", took, tt.took)
				}
				user.Close()
				broker.Close()
				users.Wait()
			})
		})
	}
}

// What came first is the reason, even if the relay had to cut the other side
// in the end.
func TestFailureOutranksLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, user := duplexPair()
		backend, broker := duplexPair()
		start := time.Now()
		ended := hand(&Relay{}, failingConn{Conn: client, err: syscall.ETIMEDOUT}, backend)
		o := await(t, ended)
		checkOutcome(t, o, Stats{First: Client, Reason: "client_timeout"})
		if took := time.Since(start); took != DefaultLinger {
			t.Errorf("the silent backend was cut after %v, want %v", took, DefaultLinger)
		}
		user.Close()
		broker.Close()
	})
}

// failingConn is a connection that cannot be read.
type failingConn struct {
	Conn
	err error
}

func (c failingConn) Read([]byte) (int, error) { return 0, c.err }

// A recorder is a TLS connection whose first Read fails, and which notes what
// is asked of it.
type recorder struct {
	*duplex
	err   error
	mu    sync.Mutex
	calls []string
}

func (r *recorder) note(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
}

func (r *recorder) Read([]byte) (int, error)      { return 0, r.err }
func (r *recorder) CloseWrite() error             { r.note("CloseWrite"); return nil }
func (r *recorder) Close() error                  { r.note("Close"); return r.duplex.Close() }
func (r *recorder) SetDeadline(t time.Time) error { r.note("SetDeadline " + t.String()); return nil }
func (r *recorder) NetConn() net.Conn             { return &recorded{r.duplex, r} }

// recorded is the connection below a recorder.
type recorded struct {
	*duplex
	above *recorder
}

func (r *recorded) Close() error { r.above.note("Close below"); return r.duplex.Close() }

// TLS that has sent a fatal alert is not asked to say any more: close_notify
// behind the alert is a fault to the peer.
func TestNothingFollowsAFatalAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, user := duplexPair()
		client := &recorder{duplex: conn, err: errors.New("local error: tls: bad record MAC")}
		backend, broker := duplexPair()
		ended := hand(&Relay{}, client, backend)
		synctest.Wait()
		broker.Close()
		synctest.Wait()
		user.Close()
		checkOutcome(t, await(t, ended), Stats{First: Client, Reason: "client_error"})
		want := []string{"SetDeadline " + time.Time{}.String(), "Close below", "Close"}
		if !slices.Equal(client.calls, want) {
			t.Errorf("calls %q, want %q", client.calls, want)
		}
	})
}

type refusal struct{}

func (refusal) Error() string  { return "MQTT on the OpenWire listener" }
func (refusal) Reason() string { return "wrong_protocol" }
func (refusal) Answer() []byte { return nil }

// A peer refused for what it said is told the end; one whose TLS failed is not.
func TestRefusedPeerGetsEndOfStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, user := duplexPair()
		client := &recorder{duplex: conn, err: refusal{}}
		backend, broker := duplexPair()
		ended := hand(&Relay{}, client, backend)
		mustReadAll(t, broker, nil)
		broker.Close()
		user.Close()
		checkOutcome(t, await(t, ended), Stats{First: Client, Reason: "wrong_protocol"})
		if !slices.Contains(client.calls, "CloseWrite") {
			t.Errorf("calls %q, want a CloseWrite", client.calls)
		}
	})
}

func TestReasons(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{syscall.ECONNRESET, "client_reset"},
		{&net.OpError{Op: "write", Err: syscall.EPIPE}, "client_reset"},
		{syscall.EHOSTUNREACH, "client_timeout"},
		{io.ErrUnexpectedEOF, "client_truncated"},
		{errors.New("tls: bad record MAC"), "client_error"},
		{refusal{}, "wrong_protocol"},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, user := duplexPair()
			backend, broker := duplexPair()
			ended := hand(&Relay{}, failingConn{Conn: client, err: tt.err}, backend)
			synctest.Wait()
			user.Close()
			broker.Close()
			o := await(t, ended)
			checkOutcome(t, o, Stats{First: Client, Reason: tt.want})
			if !errors.Is(o.err, tt.err) || !strings.HasPrefix(o.err.Error(), "relay: client: ") {
				t.Errorf("error %v does not wrap %v", o.err, tt.err)
			}
		})
	}
}

// The relay holds at most one buffer for each direction, however much one side
// has to say and the other does not read.
func TestBackpressure(t *testing.T) {
	for _, direction := range []string{"to client", "to backend"} {
		t.Run(direction, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, user := duplexPair()
				backend, broker := duplexPair()
				from, to := broker, user
				if direction == "to backend" {
					from, to = user, broker
				}
				ended := hand(&Relay{BufferSize: 1000}, client, backend)
				written := 0
				go func() {
					for {
						n, err := from.Write(make([]byte, 100))
						written += n
						if err != nil {
							return
						}
					}
				}()
				synctest.Wait() // until all are blocked
				if written > 1000 {
					t.Errorf("%d bytes taken while nobody reads, want at most 1000", written)
				}
				mustReadFull(t, to, make([]byte, 50_000))
				synctest.Wait()
				if written > 51_000 {
					t.Errorf("%d bytes taken when 50000 were read, want at most 51000", written)
				}
				user.Close()
				broker.Close()
				await(t, ended)
			})
		})
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Relay{}
		client, user := duplexPair()
		backend, broker := duplexPair()
		idle := hand(r, client, backend)

		// One that has a byte under way which its client does not take.
		client2, user2 := duplexPair()
		backend2, broker2 := duplexPair()
		blocked := hand(r, client2, backend2)
		broker2.Write([]byte("x"))

		// One that lingers after its client's end.
		client3, user3 := duplexPair()
		backend3, broker3 := duplexPair()
		lingering := hand(r, client3, backend3)
		user3.CloseWrite()
		synctest.Wait()

		if n := r.Live(); n != 3 {
			t.Errorf("%d live connections, want 3", n)
		}
		expired, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Wait(expired); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait: %v, want deadline exceeded", err)
		}

		start := time.Now()
		closed := make(chan struct{})
		go func() { r.Close(); close(closed) }()
		mustReadAll(t, user, nil) // an orderly end for both
		mustReadAll(t, broker, nil)
		checkOutcome(t, await(t, idle), Stats{Reason: "shutdown"})
		checkOutcome(t, await(t, lingering), Stats{First: Client, Reason: "shutdown"})
		if took := time.Since(start); took != 0 {
			t.Errorf("idle connections ended after %v, want at once", took)
		}
		checkOutcome(t, await(t, blocked), Stats{Reason: "shutdown"})
		<-closed
		if took := time.Since(start); took != closeGrace {
			t.Errorf("the blocked connection ended after %v, want %v", took, closeGrace)
		}
		if n := r.Live(); n != 0 {
			t.Errorf("%d live connections after Close", n)
		}

		client4, user4 := duplexPair()
		backend4, broker4 := duplexPair()
		late := hand(r, client4, backend4)
		checkOutcome(t, await(t, late), Stats{Reason: "shutdown"})
		for _, c := range []*duplex{user, broker, user2, broker2, user3, broker3, user4, broker4} {
			c.Close()
		}
	})
}

// A deadline of set-up, left behind or set by a straggler, ends nothing.
func TestForeignDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, user := duplexPair()
		backend, broker := duplexPair()
		client.SetDeadline(time.Now().Add(time.Second))
		ended := hand(&Relay{}, client, backend)
		time.Sleep(2 * time.Second)
		for range 3 {
			go user.Write([]byte("ping"))
			mustReadFull(t, broker, []byte("ping"))
			client.SetDeadline(time.Unix(1, 0))
			backend.SetDeadline(time.Unix(1, 0))
			synctest.Wait()
		}
		user.Close()
		synctest.Wait()
		broker.Close()
		checkOutcome(t, await(t, ended), Stats{FromClient: 12, First: Client, Reason: "client_closed"})
	})
}

type panicConn struct{ Conn }

func (panicConn) Read([]byte) (int, error) { panic("in the engine") }

func TestPanicEndsItsOwnConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Relay{}
		client, user := duplexPair()
		backend, broker := duplexPair()
		other := hand(r, client, backend)

		client2, user2 := duplexPair()
		backend2, broker2 := duplexPair()
		o := await(t, hand(r, panicConn{client2}, backend2))
		if o.Reason != "panic" || !strings.Contains(o.err.Error(), "in the engine") || !strings.Contains(o.err.Error(), "panicConn.Read") {
			t.Errorf("outcome %+v, want a panic with its stack", o)
		}
		mustReadAll(t, broker2, nil)

		go user.Write([]byte("ping"))
		mustReadFull(t, broker, []byte("ping"))
		user.Close()
		synctest.Wait()
		broker.Close()
		checkOutcome(t, await(t, other), Stats{FromClient: 4, First: Client, Reason: "client_closed"})
		user2.Close()
		broker2.Close()
	})
}

// Hand gives no goroutine of its caller's to wait in, and done comes once.
func TestDoneOnceAfterBothAreClosed(t *testing.T) {
	client, user := tcpPair(t)
	backend, broker := tcpPair(t)
	r := &Relay{}
	calls := make(chan bool, 2)
	r.Hand(client, backend, Options{}, func(Stats, error) {
		_, err1 := client.Read(make([]byte, 1))
		_, err2 := backend.Read(make([]byte, 1))
		calls <- errors.Is(err1, net.ErrClosed) && errors.Is(err2, net.ErrClosed)
		if n := r.Live(); n != 1 {
			t.Errorf("%d live while done runs, want 1", n)
		}
	})
	user.Close()
	broker.Close()
	if !<-calls {
		t.Error("done came before both connections were closed")
	}
	r.Close()
	if len(calls) != 0 {
		t.Error("done came twice")
	}
}

// An idle connection's cost is two goroutines and two buffers; a goroutine
// dump tells which way each of them looks.
func TestGoroutineNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, user := duplexPair()
		backend, broker := duplexPair()
		ended := hand(&Relay{}, client, backend)
		synctest.Wait()
		dump := make([]byte, 1<<20)
		dump = dump[:runtime.Stack(dump, true)]
		for _, name := range []string{"relay.(*session).carryFromClient", "relay.(*session).carryFromBackend"} {
			if !bytes.Contains(dump, []byte(name)) {
				t.Errorf("no goroutine is called %s", name)
			}
		}
		user.Close()
		broker.Close()
		await(t, ended)
	})
}
