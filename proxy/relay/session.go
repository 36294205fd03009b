package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A session is one handed-over connection. A loop carries its bytes to the end, if
// all is well; from whatever happens otherwise each direction has a goroutine. Who
// sees the second direction end closes both sides and reports.
type session struct {
	relay   *Relay
	done    func(Stats, error)
	limits  Limits
	client  peer
	backend peer
	running atomic.Int32 // directions that have not ended

	// lingering spares a mutex for each buffer carried while both directions
	// are still open.
	lingering atomic.Bool

	// born is when the session began, and carriedAt when a buffer was last
	// carried, as the time since then: it is stored for each one, where there
	// is a limit to hold it against, and looked at when the watchdog wakes up.
	born      time.Time
	carriedAt atomic.Int64

	mu       sync.Mutex
	first    *peer       // whose end came first
	final    *Error      // the end that the relay itself made, if it did
	timer    *time.Timer // cuts the connection; nil before the first end
	watchdog *time.Timer // looks at the limits; nil without any
	finished bool
	loop     *loop // that has it; nil before and after

	// The loop's own.
	active time.Time // when something was last carried
	warm   bool      // it is among those that may have grown buffers
}

// A peer is one side of a session.
type peer struct {
	side    Side
	conn    Conn
	raw     net.Conn // the lowest connection that conn is made of
	carried int64    // bytes read here and written on the other side
	counter Counter  // of carried; may be nil

	// Guarded by session.mu.
	err   error // its first failure
	ended bool  // its stream was read to the end

	// What a loop needs to drive it, and what it leaves behind.
	session   *session
	other     *peer
	socket    *Socket // nil if it has none
	slot, age int32
	watched   uint32 // events
	more      bool   // it had its turn, and the system has more of it
	readErr   error  // that ended the loop's reading from it
	writeErr  error  // that ended its writing to the other
	passed    bool   // its end was passed on
}

func newSession(r *Relay, client, backend Conn, options Options, done func(Stats, error)) *session {
	s := &session{
		relay:   r,
		done:    done,
		limits:  options.Limits,
		born:    time.Now(),
		client:  peer{side: Client, conn: client, raw: lowest(client), counter: options.FromClient, socket: socketOf(client)},
		backend: peer{side: Backend, conn: backend, raw: lowest(backend), counter: options.FromBackend, socket: socketOf(backend)},
	}
	s.client.session, s.client.other = s, &s.backend
	s.backend.session, s.backend.other = s, &s.client
	s.running.Store(2)
	// A deadline that set-up left behind must not end the connection hours later.
	client.SetDeadline(time.Time{})
	backend.SetDeadline(time.Time{})
	return s
}

func (s *session) sides() [2]*peer { return [2]*peer{&s.client, &s.backend} }

// lowest follows NetConn down to the connection that the system knows.
func lowest(c net.Conn) net.Conn {
	for {
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		below := wrapper.NetConn()
		if below == nil {
			return c
		}
		c = below
	}
}

// Two names, so that a goroutine dump says which way each is going.

func (s *session) carryFromClient()  { s.carry(&s.client, &s.backend) }
func (s *session) carryFromBackend() { s.carry(&s.backend, &s.client) }

// carry is one direction, from its first byte to what its end asks for.
func (s *session) carry(src, dst *peer) {
	defer s.leave()
	defer s.recoverPanic()

	buf := s.relay.buffer()
	defer s.relay.buffers.Put(buf)

	readErr, writeErr := src.readErr, src.writeErr
	if writeErr == nil {
		writeErr = s.settle(src, dst)
	}
	if readErr == nil && writeErr == nil {
		readErr, writeErr = s.copy(src, dst, *buf)
	}
	if writeErr != nil {
		s.writeFailed(dst, writeErr)
		// dst may have sent its last words before it went: let src read them.
		var stream io.Reader = src.conn
		if src.side == Backend {
			stream = io.LimitReader(stream, mostDiscarded)
		}
		readErr = s.discard(src, stream, *buf)
	}
	s.readEnded(src, readErr)
	if writeErr == nil {
		s.halfClose(dst)
	}
	if !endOfStream(readErr) && !s.stopped() {
		s.dismiss(src, readErr, *buf)
	}
}

// copy carries bytes until src ends or dst fails. One buffer is all that is
// ever under way: while dst does not take it, src is not read, and TCP's own
// flow control holds src's sender back.
func (s *session) copy(src, dst *peer, buf []byte) (readErr, writeErr error) {
	for {
		n, err := src.conn.Read(buf)
		if n > 0 {
			if err := s.write(src, dst, buf[:n]); err != nil {
				return nil, err
			}
			s.progress()
		}
		if err != nil && !s.retry(src, err) {
			return err, nil
		}
	}
}

// settle has what a loop could not deliver to dst delivered.
func (s *session) settle(src, dst *peer) error {
	if dst.socket == nil {
		return nil
	}
	for {
		n, err := dst.socket.settle()
		src.count(n)
		if err == nil || !s.retry(dst, err) {
			return err
		}
	}
}

func (p *peer) count(n int) {
	p.carried += int64(n)
	if p.counter != nil && n > 0 {
		p.counter.Add(float64(n))
	}
}

func (s *session) write(src, dst *peer, b []byte) error {
	for {
		n, err := dst.conn.Write(b)
		src.count(n)
		if err == nil {
			return nil
		}
		if !s.retry(dst, err) {
			return err
		}
		b = b[n:]
	}
}

// retry reports whether err is no more than a deadline that a straggler of
// set-up still managed to set, after clearing it. The check of Temporary is
// for crypto/tls, which cannot go on after a Write that timed out and says so.
// ETIMEDOUT, which is TCP giving the peer up, is "temporary" too, but no
// deadline.
func (s *session) retry(p *peer, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	var temporary interface{ Temporary() bool }
	if errors.As(err, &temporary) && !temporary.Temporary() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final != nil {
		return false // the deadline is stop's
	}
	return p.conn.SetDeadline(time.Time{}) == nil
}

// discard reads p's stream to its end and drops it. It does not count as
// progress, so that the linger timer bounds it.
func (s *session) discard(p *peer, r io.Reader, buf []byte) error {
	for {
		if _, err := r.Read(buf); err != nil && !s.retry(p, err) {
			return err
		}
	}
}

// halfClose tells dst that nothing more will come.
func (s *session) halfClose(dst *peer) {
	s.mu.Lock()
	failed := dst.err != nil && !errors.Is(dst.err, io.ErrUnexpectedEOF)
	s.mu.Unlock()
	if failed {
		return // nothing may follow a fatal alert, and nothing can follow a reset
	}
	// Errors are left to the reader of dst, who learns what became of it.
	dst.conn.CloseWrite()
	if dst.raw != net.Conn(dst.conn) {
		// close_notify is for dst's TLS; FIN is for peers that watch the socket.
		closeWrite(dst.raw)
	}
}

// dismiss sends a peer away whose stream failed. Its TLS may just have sent a
// fatal alert, which shall arrive: so FIN behind it, and its input is dropped
// until it has gone.
func (s *session) dismiss(p *peer, cause error, buf []byte) {
	var refusal interface{ Answer() []byte }
	if errors.As(cause, &refusal) {
		p.conn.CloseWrite() // it was refused for what it said; its TLS is sound
	}
	closeWrite(p.raw)
	s.discard(p, p.raw, buf)
}

func closeWrite(c net.Conn) {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// progress tells that something was carried, and puts off the end of an idle or a
// lingering session.
func (s *session) progress() {
	if s.relay.Carried != nil {
		s.relay.Carried(s.born)
	}
	if s.limits.Idle > 0 {
		s.carriedAt.Store(int64(time.Since(s.born)))
	}
	if !s.lingering.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lingerLocked()
}

// lingerLocked starts the linger time, or starts it again.
func (s *session) lingerLocked() {
	switch {
	case s.final != nil || s.finished:
		// The time that remains is not Linger's.
	case s.timer == nil:
		s.lingering.Store(true)
		s.timer = time.AfterFunc(s.relay.linger(), func() { s.cut(errLinger) })
	default:
		s.timer.Reset(s.relay.linger())
	}
}

func (s *session) writeFailed(p *peer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final == nil && !p.ended && p.err == nil {
		p.err = err
	}
	s.endLocked(p)
}

func (s *session) readEnded(p *peer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.ended = true
	if s.final == nil {
		p.err = p.verdict(err)
	}
	s.endLocked(p)
}

// endLocked notes that p has ended in one of its directions. Once the relay
// made the end itself, what Read and Write return says nothing about p.
func (s *session) endLocked(p *peer) {
	if s.first == nil && s.final == nil {
		s.first = p
	}
	s.lingerLocked()
}

func (s *session) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.final != nil
}

// stop ends the session in good order: reads end, so that each direction
// passes on an end of stream, and whoever does not take it in time is cut.
func (s *session) stop(why *Error) {
	s.mu.Lock()
	if s.final == nil && !s.finished {
		s.final = why
		if s.timer != nil {
			s.timer.Stop()
		}
		s.timer = time.AfterFunc(closeGrace, func() { s.cut(why) })
	}
	s.mu.Unlock()

	s.release()
	past := time.Unix(1, 0)
	s.client.conn.SetReadDeadline(past)
	s.backend.conn.SetReadDeadline(past)
}

// cut ends the session on the spot, by closing what lies below TLS.
func (s *session) cut(why *Error) {
	s.mu.Lock()
	if s.final == nil {
		s.final = why
	}
	s.mu.Unlock()
	s.client.raw.Close()
	s.backend.raw.Close()
	s.release()
}

// begin starts a goroutine for each direction.
func (s *session) begin() {
	go s.carryFromClient()
	go s.carryFromBackend()
}

// release takes the session from its loop, if it has one.
func (s *session) release() {
	s.mu.Lock()
	l := s.loop
	s.mu.Unlock()
	if l != nil {
		l.release(s)
	}
}

// recoverPanic keeps a panic below Read or Write to its own connection.
func (s *session) recoverPanic() {
	if v := recover(); v != nil {
		s.panicked(v, debug.Stack())
	}
}

func (s *session) panicked(v any, stack []byte) {
	s.cut(&Error{reason: "panic", Err: fmt.Errorf("panic: %v\n%s", v, stack)})
}

// leave ends a direction; the last one closes up and reports.
func (s *session) leave() {
	if s.running.Add(-1) == 0 {
		s.finish()
	}
}

// finish closes both sides, and reports.
func (s *session) finish() {
	s.mu.Lock()
	s.finished = true
	for _, t := range []*time.Timer{s.timer, s.watchdog} {
		if t != nil {
			t.Stop()
		}
	}
	s.mu.Unlock()

	for _, p := range s.sides() {
		// Whatever TLS had to say was said by CloseWrite. With the lowest
		// connection closed first, Close only lets go of what lies above.
		p.raw.Close()
		p.conn.Close()
	}
	s.done(s.report())
	s.relay.remove(s)
}

func (s *session) report() (Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{FromClient: s.client.carried, FromBackend: s.backend.carried}
	if s.first != nil {
		st.First = s.first.side
	}
	err := s.final
	if s.first != nil && s.first.err != nil && (err == nil || err.reason != "panic") {
		err = &Error{Side: s.first.side, Err: s.first.err} // what came after is its consequence
	}
	if err == nil {
		st.Reason = string(s.first.side) + "_closed"
		return st, nil
	}
	st.Reason = err.Reason()
	return st, err
}
