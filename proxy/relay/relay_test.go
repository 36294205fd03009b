package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// ends is a connection through a relay as its two users see it.
type ends struct {
	client    Conn         // *tls.Conn or *net.TCPConn
	clientTCP *net.TCPConn // below client
	backend   *net.TCPConn
}

// An ending is what both users do, and what is to be reported then.
type ending struct {
	name                    string
	tlsOnly                 bool
	heavy                   bool // too much payload for thousands of them
	client                  func(testing.TB, ends)
	backend                 func(testing.TB, ends)
	fromClient, fromBackend int64
	first                   Side
	reason                  string
}

func endings() []ending {
	ping, pong := []byte("ping"), []byte("pong!")
	big := pattern(10 << 20)
	readToEnd := func(t testing.TB, r io.Reader) { mustReadAll(t, r, nil) }

	return []ending{{
		name: "client closes",
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			mustReadFull(t, e.client, pong)
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadFull(t, e.backend, ping)
			mustWrite(t, e.backend, pong)
			readToEnd(t, e.backend)
			e.backend.Close()
		},
		fromClient: 4, fromBackend: 5, first: Client, reason: "client_closed",
	}, {
		name: "backend closes",
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			mustReadAll(t, e.client, pong)
			readToEnd(t, e.clientTCP) // behind close_notify comes FIN
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadFull(t, e.backend, ping)
			mustWrite(t, e.backend, pong)
			e.backend.Close()
		},
		fromClient: 4, fromBackend: 5, first: Backend, reason: "backend_closed",
	}, {
		name: "client half-closes, backend answers", heavy: true,
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			e.client.CloseWrite()
			mustReadAll(t, e.client, big)
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadAll(t, e.backend, ping)
			mustWrite(t, e.backend, big)
			e.backend.Close()
		},
		fromClient: 4, fromBackend: 10 << 20, first: Client, reason: "client_closed",
	}, {
		name: "backend half-closes, client goes on", heavy: true,
		client: func(t testing.TB, e ends) {
			mustReadAll(t, e.client, pong)
			mustWrite(t, e.client, big)
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustWrite(t, e.backend, pong)
			e.backend.CloseWrite()
			mustReadAll(t, e.backend, big)
			e.backend.Close()
		},
		fromClient: 10 << 20, fromBackend: 5, first: Backend, reason: "backend_closed",
	}, {
		name: "backend writes much and closes at once", heavy: true,
		client: func(t testing.TB, e ends) {
			mustReadAll(t, e.client, big)
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustWrite(t, e.backend, big)
			e.backend.Close()
		},
		fromBackend: 10 << 20, first: Backend, reason: "backend_closed",
	}, {
		name: "client writes much and closes at once", heavy: true,
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, big)
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadAll(t, e.backend, big)
			e.backend.Close()
		},
		fromClient: 10 << 20, first: Client, reason: "client_closed",
	}, {
		name: "client resets",
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			mustReadFull(t, e.client, pong)
			e.clientTCP.SetLinger(0)
			e.clientTCP.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadFull(t, e.backend, ping)
			mustWrite(t, e.backend, pong)
			readToEnd(t, e.backend)
			e.backend.Close()
		},
		fromClient: 4, fromBackend: 5, first: Client, reason: "client_reset",
	}, {
		name: "backend resets",
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			mustReadAll(t, e.client, pong)
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadFull(t, e.backend, ping)
			mustWrite(t, e.backend, pong)
			e.backend.SetLinger(0)
			e.backend.Close()
		},
		fromClient: 4, fromBackend: 5, first: Backend, reason: "backend_reset",
	}, {
		name: "client ends without close_notify", tlsOnly: true,
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			e.clientTCP.CloseWrite()
			mustReadAll(t, e.client, pong) // it can still be answered
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadAll(t, e.backend, ping)
			mustWrite(t, e.backend, pong)
			e.backend.Close()
		},
		fromClient: 4, fromBackend: 5, first: Client, reason: "client_closed",
	}, {
		name: "client ends inside a record", tlsOnly: true,
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			mustWrite(t, e.clientTCP, []byte{23, 3, 3, 1, 0, 0})
			e.clientTCP.CloseWrite()
			mustReadAll(t, e.client, pong)
			e.client.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadAll(t, e.backend, ping)
			mustWrite(t, e.backend, pong)
			e.backend.Close()
		},
		fromClient: 4, fromBackend: 5, first: Client, reason: "client_truncated",
	}, {
		name: "client breaks TLS", tlsOnly: true,
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			mustWrite(t, e.clientTCP, []byte{23, 3, 3, 0, 24, 23: 'x', 28: 0})
			_, err := e.client.Read(make([]byte, 1))
			if err == nil || err.Error() != "remote error: tls: bad record MAC" {
				t.Errorf("client read: %v, want alert bad_record_mac", err)
			}
			if rest, err := io.ReadAll(e.clientTCP); len(rest) > 0 || err != nil {
				t.Errorf("%d bytes (error %v) behind the fatal alert, want none", len(rest), err)
			}
			e.clientTCP.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadAll(t, e.backend, ping)
			e.backend.Close()
		},
		fromClient: 4, first: Client, reason: "client_error",
	}, {
		name: "client breaks TLS and goes on sending", tlsOnly: true, heavy: true,
		client: func(t testing.TB, e ends) {
			mustWrite(t, e.client, ping)
			mustWrite(t, e.clientTCP, []byte{23, 3, 3, 0, 24, 23: 'x', 28: 0})
			mustWrite(t, e.clientTCP, big[:4<<20]) // does not keep the alert away
			_, err := e.client.Read(make([]byte, 1))
			if err == nil || err.Error() != "remote error: tls: bad record MAC" {
				t.Errorf("client read: %v, want alert bad_record_mac", err)
			}
			if rest, err := io.ReadAll(e.clientTCP); len(rest) > 0 || err != nil {
				t.Errorf("%d bytes (error %v) behind the fatal alert, want none", len(rest), err)
			}
			e.clientTCP.Close()
		},
		backend: func(t testing.TB, e ends) {
			mustReadAll(t, e.backend, ping)
			e.backend.Close()
		},
		fromClient: 4, first: Client, reason: "client_error",
	}}
}

// run plays an ending through r and checks the report.
func (tt ending) run(t testing.TB, r *Relay, config *tls.Config) {
	t.Helper()
	nearBackend, farBackend := tcpPair(t)
	e := ends{backend: farBackend}
	var client Conn
	if config != nil {
		client, e.client, e.clientTCP = tlsPairConns(t, config)
	} else {
		near, far := tcpPair(t)
		client, e.client, e.clientTCP = near, far, far
	}
	ended := hand(r, client, nearBackend)

	var users sync.WaitGroup
	users.Go(func() { tt.client(t, e) })
	users.Go(func() { tt.backend(t, e) })
	users.Wait()
	o := await(t, ended)

	want := Stats{FromClient: tt.fromClient, FromBackend: tt.fromBackend, First: tt.first, Reason: tt.reason}
	if o.Stats != want {
		t.Errorf("%s: stats %+v, want %+v (error: %v)", tt.name, o.Stats, want, o.err)
	}
	checkError(t, o)
	for name, c := range map[string]net.Conn{"client": client, "backend": nearBackend} {
		if _, err := c.Write([]byte{0}); err == nil {
			t.Errorf("%s: the %s's connection is still open", tt.name, name)
		}
	}
}

func tlsPairConns(t testing.TB, config *tls.Config) (near, far Conn, farTCP *net.TCPConn) {
	return tlsPair(t, config)
}

// checkError compares the error of an outcome with its Reason.
func checkError(t testing.TB, o outcome) {
	t.Helper()
	var e *Error
	switch orderly := o.Reason == "client_closed" || o.Reason == "backend_closed"; {
	case orderly && o.err != nil:
		t.Errorf("error %v behind %s", o.err, o.Reason)
	case !orderly && !errors.As(o.err, &e):
		t.Errorf("error %v behind %s, want an *Error", o.err, o.Reason)
	case !orderly && e.Reason() != o.Reason:
		t.Errorf("the error's reason is %s, that of the stats %s", e.Reason(), o.Reason)
	}
}

// noLinger makes a connection that ends only because it was cut fail its test.
const noLinger = time.Hour

func TestEndings(t *testing.T) {
	config := tlsConfig(t)
	for way, r := range relays(t) {
		r.Linger = noLinger
		for _, tt := range endings() {
			if !tt.tlsOnly {
				t.Run(way+"/TCP/"+tt.name, func(t *testing.T) { tt.run(t, r, nil) })
			}
			t.Run(way+"/TLS/"+tt.name, func(t *testing.T) { tt.run(t, r, config) })
		}
	}
}

// TestThousandsOfEndings is for what one connection does not show: a goroutine
// that stays, a count that drifts, an ending that is sometimes another.
func TestThousandsOfEndings(t *testing.T) {
	config := tlsConfig(t)
	for way, r := range relays(t) {
		t.Run(way, func(t *testing.T) { thousandsOfEndings(t, r, config) })
	}
}

func thousandsOfEndings(t *testing.T, r *Relay, config *tls.Config) {
	const overTLS, overTCP, atOnce = 60, 300, 30
	r.Linger = noLinger
	for _, tt := range endings() {
		if tt.heavy {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			var workers sync.WaitGroup
			for range atOnce {
				workers.Go(func() {
					for range overTLS / atOnce {
						tt.run(t, r, config)
					}
					for range overTCP / atOnce {
						if !tt.tlsOnly {
							tt.run(t, r, nil)
						}
					}
				})
			}
			workers.Wait()
		})
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if n := r.Live(); n != 0 {
		t.Errorf("%d connections live at the end", n)
	}
	if r.Poller != nil {
		r.Poller.Close()
	}
	if err := goleak.Find(goleak.IgnoreCurrent()); err != nil {
		t.Error(err)
	}
}

// A broker that refuses and closes while its client is still sending makes
// the kernel answer the client's bytes with RST. What the broker said must
// reach the client whole all the same, however late the client reads it.
func TestAnswerSurvivesUnreadInput(t *testing.T) {
	config := tlsConfig(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", secure), func(t *testing.T) {
			var client, user Conn
			var userTCP *net.TCPConn
			if secure {
				client, user, userTCP = tlsPairConns(t, config)
			} else {
				client, userTCP = tcpPair(t)
				user = userTCP
			}
			userTCP.SetReadBuffer(32 << 10) // most of the answer waits at the gateway
			answer := pattern(512 << 10)
			near, far := tcpPair(t)
			backend := &watched{TCPConn: near, want: len(answer), taken: make(chan struct{})}
			ended := hand(&Relay{Linger: noLinger}, client, backend)

			mustWrite(t, user, []byte("unread"))
			mustReadFull(t, far, []byte("un"))
			mustWrite(t, far, answer)
			<-backend.taken
			far.Close() // RST: it has not read it all

			mustWrite(t, user, pattern(4<<20))
			mustReadAll(t, user, answer)
			user.Close()

			o := await(t, ended)
			want := Stats{FromClient: o.FromClient, FromBackend: int64(len(answer)), First: Backend, Reason: "backend_reset"}
			if o.Stats != want {
				t.Errorf("stats %+v, want %+v (error: %v)", o.Stats, want, o.err)
			}
		})
	}
}

// watched tells when want bytes were read from it.
type watched struct {
	*net.TCPConn
	want  int
	taken chan struct{}
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	if w.want > 0 && w.want <= n {
		close(w.taken)
	}
	w.want -= n
	return n, err
}

// TestCountedWhileOpen: a connection may live for weeks, and so its bytes are
// counted as they are carried. That the counters and the Stats are the same in
// the end is part of every test.
func TestCountedWhileOpen(t *testing.T) {
	client, user := tcpPair(t)
	backend, broker := tcpPair(t)
	var fromClient, fromBackend tally
	ended := make(chan outcome, 1)
	(&Relay{}).Hand(client, backend, Options{FromClient: &fromClient, FromBackend: &fromBackend},
		func(s Stats, err error) { ended <- outcome{s, err} })
	for round := range int64(3) {
		mustWrite(t, user, []byte("ping"))
		mustReadFull(t, broker, []byte("ping"))
		mustWrite(t, broker, []byte("pong!"))
		mustReadFull(t, user, []byte("pong!"))
		for deadline := time.Now().Add(20 * time.Second); fromClient.Load() != 4*(round+1) || fromBackend.Load() != 5*(round+1); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: counted %d and %d bytes", round, fromClient.Load(), fromBackend.Load())
			}
		}
	}
	user.Close()
	broker.Close()
	await(t, ended)
}

// Whoever wants to know is told of everything that is carried, and since when there
// is a connection.
func TestCarried(t *testing.T) {
	for name, r := range relays(t) {
		t.Run(name, func(t *testing.T) {
			carried := make(chan time.Time, 10)
			r.Carried = func(since time.Time) { carried <- since }
			client, user := tcpPair(t)
			backend, broker := tcpPair(t)
			before := time.Now()
			ended := hand(r, client, backend)
			after := time.Now()
			for range 2 {
				mustWrite(t, user, []byte("ping"))
				mustReadFull(t, broker, []byte("ping"))
				mustWrite(t, broker, []byte("pong"))
				mustReadFull(t, user, []byte("pong"))
				for range 2 {
					if since := <-carried; since.Before(before) || since.After(after) {
						t.Errorf("told %v of a connection that was handed over between %v and %v", since, before, after)
					}
				}
			}
			user.Close()
			broker.Close()
			await(t, ended)
		})
	}
}

// A broker that goes on sending when its client has left is told that nobody takes
// it, and does not keep the relay busy until it is tired.
func TestBackendThatDoesNotStop(t *testing.T) {
	config := tlsConfig(t)
	for name, r := range relays(t) {
		r.Linger = time.Hour
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, tls=%t", name, secure), func(t *testing.T) {
				t.Parallel()
				near, far := tcpPair(t)
				var client, user Conn = near, far
				if secure {
					client, user, _ = tlsPairConns(t, config)
				}
				backend, broker := tcpPair(t)
				ended := hand(r, client, backend)
				sending := make(chan error, 1)
				go func() {
					for chunk := make([]byte, 64<<10); ; {
						if _, err := broker.Write(chunk); err != nil {
							sending <- err
							return
						}
					}
				}()
				mustReadFull(t, user, make([]byte, 1<<20))
				user.Close()
				if o := await(t, ended); o.Reason != "client_closed" && o.Reason != "client_reset" || o.First != Client {
					t.Errorf("%+v, %v", o.Stats, o.err)
				}
				if err := <-sending; !gone(err) {
					t.Errorf("the broker was told %v", err)
				}
			})
		}
	}
}
