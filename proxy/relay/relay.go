// Package relay carries bytes between a client and a backend until both are
// done, and reports once how that went.
//
// It is the second life of a connection. Set-up (accept, TLS, first bytes,
// dial) is over when [Relay.Hand] takes both sides; nobody else touches them
// from then on. Hand never blocks, so that the goroutine which set the
// connection up can end.
//
// With a [Poller], on Linux, a connection whose two sides are open and well has no
// goroutine and no buffer while nothing comes; a few loops carry for all, and pass
// on ends that come in good order. From whatever else happens, and elsewhere from
// the beginning, it has two goroutines, which know everything that follows.
//
// # How a connection ends
//
// A side that ends its stream (EOF) has the half-close passed on: the other
// side sees EOF behind the last byte, and may go on sending. From the first
// such end, or the first failure, the relay lingers: it gives up once nothing
// has been carried, and nothing else has ended, for [Relay.Linger]. Before
// that end there is no timeout of any kind, unless [Limits] ask for one. MQTT
// and STOMP clients may be silent for days; a peer that is gone is TCP
// keep-alive's to find.
//
// What one side still has to say is delivered when the other has failed: a
// backend that answers and closes does not lose its answer because the client
// was still sending. The client's bytes are then read and dropped, for a
// socket closed with unread input answers with RST, and RST destroys what is
// on its way to the client (RFC 1122 §4.2.2.13). A backend's are, too, but not for
// as long as it likes: brokers are fast, and would keep a processor busy for nobody.
package relay

import (
	"cmp"
	"context"
	"net"
	"sync"
	"time"
)

const (
	// DefaultLinger is how long a half-closed connection may stand still.
	DefaultLinger = 10 * time.Second

	// DefaultBufferSize is one TLS record's worth of payload (RFC 8446 §5.1).
	// A TLS client's Read never returns more, and a Write of more is cut into
	// records that are written one by one all the same, so that a larger buffer
	// saves only some reads from the backend, and costs memory in each of two
	// directions of every idle connection.
	DefaultBufferSize = 16 << 10

	// mostDiscarded is how much is read, in bytes, of what a backend sends when no
	// client is there to take it. It was told, by an end of stream, and has more
	// than that under way when it does not heed it: then it is told by RST, as the
	// client itself would have done.
	mostDiscarded = 1 << 20

	// closeGrace is how long Close lets a connection say its good-byes
	// (close_notify, FIN) before it cuts it.
	closeGrace = time.Second
)

// Conn is one side of a connection: a [net.Conn] that can half-close, such as
// *[net.TCPConn] and *[crypto/tls.Conn]. Its Read and Write block, and each is
// called by one goroutine at a time; CloseWrite is called by the one that
// writes.
//
// A Conn whose Read looks at what the peer says, and refuses it, returns an
// error with a method Answer() []byte. What lies below is in order then, so
// that the peer gets an orderly end of stream (from the goroutine that reads),
// but not the answer: the backend's bytes may be on their way already.
//
// A Conn that speaks TLS has a method NetConn, as tls.Conn does, which returns
// the connection below. The relay needs it to close a connection without
// sending anything more: close_notify behind a fatal alert is a fault in the
// eyes of the peer.
type Conn interface {
	net.Conn

	// CloseWrite tells the peer that nothing more will come, and leaves reading
	// as it is.
	CloseWrite() error
}

// Stats says what a relayed connection did.
type Stats struct {
	// FromClient counts the payload bytes (inside TLS, that is) that were read
	// from the client and written to the backend, FromBackend the reverse. Bytes
	// that were read and could not be delivered are in neither.
	FromClient, FromBackend int64

	// First is the side whose end or failure came first; empty if the relay
	// itself made the end.
	First Side

	// Reason is how it ended, in a word for logs and metrics: "client_closed" or
	// "backend_closed" when that side closed first and the other followed, else
	// the Reason of the error.
	Reason string
}

// Relay owns the connections that it was handed. The zero value is ready to
// use. Fields must not change after the first call of Hand.
type Relay struct {
	// Linger is how long a connection may carry nothing once one of its
	// directions has ended. 0 means DefaultLinger.
	Linger time.Duration

	// BufferSize is the size in bytes of the two buffers of a connection, one
	// for each direction; it is all that the relay ever holds back. 0 means
	// DefaultBufferSize.
	BufferSize int

	// Poller drives connections without goroutines of their own, those whose both
	// sides are a [Socket] or lie over one. It outlives the relay, and can serve
	// many. nil is none.
	Poller *Poller

	// Carried is told whenever something was carried, with when the relay was
	// handed the connection. It must not wait. nil is told nothing.
	Carried func(since time.Time)

	buffers sync.Pool // of *[]byte

	mu       sync.Mutex
	sessions map[*session]struct{}
	closed   bool
	idle     chan struct{} // closed when the last session ends; nil if no one waits
}

// Limits bound a connection's time. The zero value bounds nothing.
//
// A connection that is over one of them is ended as [Relay.Close] ends it.
type Limits struct {
	// Idle is how long nothing may be carried, in neither direction; what TLS
	// says to itself does not count. Once a side has ended its stream,
	// [Relay.Linger] takes its place. 0 is no limit.
	Idle time.Duration

	// Until is when the connection ends, whatever it carries. The zero time is
	// never.
	Until time.Time
}

// Options are what holds for one connection. The zero value bounds and counts
// nothing.
type Options struct {
	Limits Limits

	// FromClient and FromBackend are told the bytes of [Stats] as they are
	// carried, for whoever cannot wait for the end. nil is told nothing.
	FromClient, FromBackend Counter
}

// A Counter adds up. Its method is called for each buffer that is carried, by
// several goroutines at once.
type Counter interface{ Add(n float64) }

// Hand gives both connections away, with deadlines cleared. It does not block.
//
// done is called exactly once, after both connections are closed, on a
// goroutine of the relay's, perhaps one that carries other connections, too: it
// must not wait for anything. The connection counts as live until done returns.
// Its error is nil if both sides ended their streams, else an *[Error]. A
// closed Relay closes both connections and reports "shutdown".
func (r *Relay) Hand(client, backend Conn, options Options, done func(Stats, error)) {
	if r.Poller != nil {
		client, backend = withSocket(client), withSocket(backend)
	}
	s := newSession(r, client, backend, options, done)

	r.mu.Lock()
	if r.sessions == nil {
		r.sessions = make(map[*session]struct{})
	}
	r.sessions[s] = struct{}{}
	closed := r.closed
	r.mu.Unlock()

	if closed {
		s.stop(errShutdown)
	}
	s.watch()
	if l := r.Poller.pick(); l == nil || s.client.socket == nil || s.backend.socket == nil || !l.take(s) {
		s.begin()
	}
}

// Live returns the number of connections that are not yet reported as done.
func (r *Relay) Live() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// Wait blocks until no connection is live, or returns ctx's error. Connections
// handed over while it waits are waited for as well.
func (r *Relay) Wait(ctx context.Context) error {
	r.mu.Lock()
	if len(r.sessions) == 0 {
		r.mu.Unlock()
		return nil
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle := r.idle
	r.mu.Unlock()

	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends every connection, now and later ones, with the reason "shutdown",
// and returns when all are done. Each side is told by an orderly end of stream
// (close_notify to a TLS client), if it takes it within a second. Close must
// not be called by a done function. The error is always nil.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	live := make([]*session, 0, len(r.sessions))
	for s := range r.sessions {
		live = append(live, s)
	}
	r.mu.Unlock()

	for _, s := range live {
		s.stop(errShutdown)
	}
	return r.Wait(context.Background())
}

func (r *Relay) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s)
	if len(r.sessions) == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

func (r *Relay) linger() time.Duration { return cmp.Or(r.Linger, DefaultLinger) }

// buffer returns a buffer of BufferSize, to be given back by r.buffers.Put.
func (r *Relay) buffer() *[]byte {
	if b, ok := r.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, cmp.Or(r.BufferSize, DefaultBufferSize))
	return &b
}
