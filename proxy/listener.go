package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suitegate/suitegate/proxy/limits"
	"github.com/suitegate/suitegate/proxy/relay"
)

// A listener is a bound address and the connections that came in through it.
// Its route is what a reload swaps; the socket stays.
type listener struct {
	server *Server
	socket net.Listener
	route  atomic.Pointer[route]
	relay  relay.Relay

	running context.Context // ends when connections are ended by force
	cut     context.CancelFunc

	accepted atomic.Int64   // connections since the start
	active   atomic.Int64   // connections that were let in and have not ended
	flights  limits.Flights // their handshakes
	clients  limits.Clients // and whose they are
	bucket   limits.Bucket  // of new ones
	setting  sync.WaitGroup // the accept loop and the connections being set up

	mu        sync.Mutex
	settingUp map[*connection]struct{} // accepted and not yet with the relay
	ending    bool                     // by force: whoever comes now is aborted
}

// listen binds r's address.
func (s *Server) listen(r *route, open opener) (*listener, error) {
	socket, err := open(listenerUse(r), r.Name, r.Address)
	if err != nil {
		return nil, err
	}
	l := &listener{server: s, socket: socket, relay: relay.Relay{Poller: &s.poller, Carried: s.gate.Spare.Carried}, settingUp: make(map[*connection]struct{})}
	l.running, l.cut = context.WithCancel(context.Background())
	l.route.Store(r)
	return l, nil
}

// start accepts connections until the socket is closed.
func (l *listener) start() { l.setting.Go(l.accept) }

// accept survives every error but the end of its socket. Running out of file
// descriptors (EMFILE) passes when connections end, and a client that gave up
// in the backlog (ECONNABORTED) is nobody's fault: the loop waits a little
// longer each time, and goes on.
func (l *listener) accept() {
	const shortest, longest = 5 * time.Millisecond, time.Second
	wait := shortest
	for {
		socket, err := l.socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			name := l.route.Load().Name
			l.server.Metrics.AcceptFailed(name)
			l.server.log().Error("accept failed; trying again", "listener", name, "error", err, "wait", wait)
			time.Sleep(wait)
			wait = min(2*wait, longest)
			continue
		}
		wait = shortest
		l.accepted.Add(1)
		l.open(socket)
	}
}

// open starts the first life of a connection: its set-up.
func (l *listener) open(socket net.Conn) {
	if tcp, ok := socket.(*net.TCPConn); ok {
		socket = relay.NewSocket(tcp)
	}
	c := newConnection(l, l.route.Load(), socket)
	l.mu.Lock()
	l.settingUp[c] = struct{}{}
	if l.ending {
		c.abort()
	}
	l.mu.Unlock()

	l.setting.Go(func() {
		defer func() {
			l.mu.Lock()
			delete(l.settingUp, c)
			l.mu.Unlock()
		}()
		c.serve()
	})
}

// growStack makes room on the goroutine's stack for what the handshake needs,
// while there is next to nothing on it. Grown by doubling from 2 KiB, deep in
// RSA and with a traceback each time, it costs a twentieth of a millisecond.
// Clients that get no further than their hello do without.
//
//go:noinline
func growStack(depth int) byte {
	if depth == 0 {
		return 0 // the room is there now, and was not touched
	}
	var room [24 << 10]byte
	return room[depth]
}

// drain stops accepting and waits until every connection has ended. When ctx is
// done it ends those that are left, and returns how many they were.
func (l *listener) drain(ctx context.Context) (cut int) {
	_ = l.socket.Close() // a second close has nothing to say
	defer l.cut()
	setUp := make(chan struct{})
	go func() {
		l.setting.Wait()
		close(setUp)
	}()
	select {
	case <-setUp:
		if l.relay.Wait(ctx) == nil {
			return 0
		}
	case <-ctx.Done():
	}
	cut = int(l.active.Load())
	l.mu.Lock()
	l.ending = true
	for c := range l.settingUp {
		c.abort()
	}
	l.mu.Unlock()
	l.cut()             // behind abort, so that a dial that ends by it knows why
	_ = l.relay.Close() // always nil
	<-setUp
	return cut
}

// warnUnserved says what the listener's policy names and it does not serve, so
// that nobody has to find out from a refused client.
func (l *listener) warnUnserved() {
	r := l.route.Load()
	byWhy := make(map[string][]string)
	for _, u := range r.unserved {
		byWhy[u.Why] = append(byWhy[u.Why], u.Suite.Name)
	}
	for why, suites := range byWhy {
		l.server.log().Warn("suites of the policy are not available on this listener",
			"listener", r.Name, "policy", r.policy.Name, "why", why, "count", len(suites), "suites", suites)
	}
}

// announce logs what the listener accepts.
func (l *listener) announce() {
	r := l.route.Load()
	l.server.log().Info("listening", "listener", r.Name, "address", l.socket.Addr().String(), "protocol", r.Protocol,
		slog.Group("policy", "name", r.policy.Name, "tls13", texts(r.policy.TLS13), "tls12", texts(r.policy.Preference()), "groups", texts(r.policy.Groups)))
	l.warnUnserved()
}
