package relay

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// What a connection does, when its limits end it, and how that is called.
func TestLimits(t *testing.T) {
	const idle = time.Hour
	nothing := func(user, broker *duplex) {}
	talk := func(n int, from func(user, broker *duplex) *duplex) func(user, broker *duplex) {
		return func(user, broker *duplex) {
			for range n {
				time.Sleep(idle - time.Second)
				from(user, broker).Write([]byte("x"))
			}
		}
	}
	tests := []struct {
		name   string
		limits func(now time.Time) Limits
		play   func(user, broker *duplex)
		want   Stats
		took   time.Duration
	}{{
		name:   "idle",
		limits: func(time.Time) Limits { return Limits{Idle: idle} },
		play:   nothing,
		want:   Stats{Reason: "idle_timeout"},
		took:   idle,
	}, {
		name:   "the client alone says something",
		limits: func(time.Time) Limits { return Limits{Idle: idle} },
		play:   talk(5, func(user, _ *duplex) *duplex { return user }),
		want:   Stats{FromClient: 5, Reason: "idle_timeout"},
		took:   5*(idle-time.Second) + idle,
	}, {
		name:   "the backend alone says something",
		limits: func(time.Time) Limits { return Limits{Idle: idle} },
		play:   talk(5, func(_, broker *duplex) *duplex { return broker }),
		want:   Stats{FromBackend: 5, Reason: "idle_timeout"},
		took:   5*(idle-time.Second) + idle,
	}, {
		name:   "a lingering connection is not idle",
		limits: func(time.Time) Limits { return Limits{Idle: DefaultLinger / 2} },
		play:   func(user, _ *duplex) { user.CloseWrite() },
		want:   Stats{First: Client, Reason: "linger_timeout"},
		took:   DefaultLinger,
	}, {
		name:   "age",
		limits: func(now time.Time) Limits { return Limits{Until: now.Add(3 * idle)} },
		play:   talk(2, func(user, _ *duplex) *duplex { return user }),
		want:   Stats{FromClient: 2, Reason: "max_age"},
		took:   3 * idle,
	}, {
		name:   "age of one that never stops",
		limits: func(now time.Time) Limits { return Limits{Idle: idle, Until: now.Add(10 * idle)} },
		play:   talk(10, func(user, _ *duplex) *duplex { return user }),
		want:   Stats{FromClient: 10, Reason: "max_age"},
		took:   10 * idle,
	}, {
		name:   "age of one that is half closed",
		limits: func(now time.Time) Limits { return Limits{Until: now.Add(DefaultLinger / 2)} },
		play:   func(_, broker *duplex) { broker.CloseWrite() },
		want:   Stats{First: Backend, Reason: "max_age"},
		took:   DefaultLinger / 2,
	}, {
		name:   "too old when it comes",
		limits: func(now time.Time) Limits { return Limits{Until: now.Add(-time.Second)} },
		play:   nothing,
		want:   Stats{Reason: "max_age"},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, user := duplexPair()
				backend, broker := duplexPair()
				start := time.Now()
				ended := handLimited(&Relay{}, client, backend, tt.limits(start))
				toldUser, toldBroker := drained(user), drained(broker)
				go tt.play(user, broker)
				o := <-ended
				checkOutcome(t, o, tt.want)
				if took := time.Since(start); took != tt.took {
					t.Errorf("ended after %v, want %v", took, tt.took)
				}
				// An orderly end for both.
				if err := <-toldUser; err != nil {
					t.Errorf("the client was told %v", err)
				}
				if err := <-toldBroker; err != nil {
					t.Errorf("the backend was told %v", err)
				}
				user.Close()
				broker.Close()
			})
		})
	}
}

// drained reads what comes until the end, and says how that was.
func drained(r io.Reader) <-chan error {
	end := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, r)
		end <- err
	}()
	return end
}

// A side that takes nothing has the connection carry nothing, however much the
// other has to say, and is cut in the end.
func TestStuckIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, user := duplexPair()
		backend, broker := duplexPair()
		start := time.Now()
		ended := handLimited(&Relay{}, client, backend, Limits{Idle: time.Minute})
		go broker.Write(make([]byte, 1<<20))
		checkOutcome(t, <-ended, Stats{Reason: "idle_timeout"})
		if took := time.Since(start); took != time.Minute+closeGrace {
			t.Errorf("ended after %v, want %v", took, time.Minute+closeGrace)
		}
		user.Close()
		broker.Close()
	})
}

// A limit that is reached while the connection ends on its own has no say, and
// leaves nothing behind: the bubble waits for the timers' goroutines.
func TestLimitsOfEndedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, user := duplexPair()
		backend, broker := duplexPair()
		ended := handLimited(&Relay{}, client, backend, Limits{Idle: time.Minute, Until: time.Now().Add(time.Minute)})
		time.Sleep(time.Minute - time.Millisecond)
		user.Close()
		synctest.Wait()
		broker.Close()
		checkOutcome(t, <-ended, Stats{First: Client, Reason: "client_closed"})
		time.Sleep(time.Hour)
	})
}
