package relay

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// rounds are how many reads one side has before it is another connection's
	// turn.
	rounds = 4

	// defaultCoolAfter is that of a Poller that does not say.
	defaultCoolAfter = time.Second
)

// A loop carries the bytes of connections whose two sides are well, to the end of
// both. A failure, or whatever else is not a matter of course, makes it give the
// connection to goroutines of its own, which know how to end it.
type loop struct {
	*scratch
	fd    int      // epoll(7)
	file  *os.File // of fd, which makes Go's own poller wait for it
	raw   syscall.RawConn
	wakes int // eventfd(2); slot 0

	events [256]unix.EpollEvent
	now    time.Time

	coolAfter time.Duration
	warm      []*session // that may have grown buffers
	coolAt    time.Time  // when to look at these; zero if there are none

	mu       sync.Mutex
	slots    []*peer // by the Fd of their events
	ages     []int32 // of each slot: how often it was given; the Pad of its events
	free     []int32
	released []*session // that are to leave
	closed   bool
}

func newLoop(coolAfter time.Duration) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", os.NewSyscallError("epoll_create1", err))
	}
	l := &loop{scratch: newScratch(), fd: fd, wakes: -1, coolAfter: cmp.Or(coolAfter, defaultCoolAfter), slots: make([]*peer, 1), ages: make([]int32, 1)}
	if err := l.open(); err != nil {
		l.closeFiles()
		return nil, fmt.Errorf("relay: %w", err)
	}
	return l, nil
}

func (l *loop) open() (err error) {
	if l.wakes, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, l.wakes, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	if err := unix.SetNonblock(l.fd, true); err != nil { // or os would not have it waited for
		return os.NewSyscallError("fcntl", err)
	}
	l.file = os.NewFile(uintptr(l.fd), "epoll")
	if err := l.file.SetReadDeadline(time.Time{}); err != nil { // it is not
		return err
	}
	l.raw, err = l.file.SyscallConn()
	return err
}

func (l *loop) closeFiles() {
	if l.file != nil {
		_ = l.file.Close() // nothing is written there
	} else {
		_ = unix.Close(l.fd)
	}
	if l.wakes >= 0 {
		_ = unix.Close(l.wakes)
	}
}

// run carries until the loop is closed.
func (l *loop) run() {
	defer l.closeFiles()
	for errors.Is(l.raw.Read(l.carryAll), os.ErrDeadlineExceeded) {
		l.now = time.Now()
		l.cool()
	}
}

// carryAll is called when there may be events, handles them until there are none, and
// reports whether the loop is closed. Go's poller tells of every event that is new,
// and of no other. While much goes on the next ones are there already, and it need
// not be asked.
func (l *loop) carryAll(uintptr) (closed bool) {
	for {
		n := look(l.fd, l.events[:])
		if n == 0 {
			return false
		}
		l.now = time.Now()
		for i := range n {
			l.handle(&l.events[i])
		}
		if l.letGo() {
			return true
		}
	}
}

// wake has the loop look at what was released, or that it is closed.
func (l *loop) wake() { _, _ = unix.Write(l.wakes, []byte{7: 1}) } // full is awake, too

// release has a session leave.
func (l *loop) release(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.released = append(l.released, s)
		l.wake()
	}
}

// close has all sessions leave, and the loop end.
func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	for _, p := range l.slots {
		if p != nil && p.side == Client {
			l.released = append(l.released, p.session)
		}
	}
	l.wake()
}

// letGo has those leave that were released. It reports whether the loop is
// closed.
func (l *loop) letGo() (closed bool) {
	l.mu.Lock()
	released := l.released
	l.released, closed = nil, l.closed
	l.mu.Unlock()
	for _, s := range released {
		l.leave(s)
	}
	return closed
}

// take begins to drive a session, and reports whether it does. It is called by
// the goroutine that hands it over, with what TLS has received already, and no
// event would tell of: that is carried first.
func (l *loop) take(s *session) bool {
	room := scratches.Get().(*scratch)
	defer scratches.Put(room)
	for _, p := range s.sides() {
		if p.socket.hold() != nil {
			s.letGo()
			return false
		}
		p.socket.atOnce = leastAtOnce
	}
	s.drive(room)
	s.client.socket.drained = true
	well := l.carry(&s.client, 0)
	cool(s.client.conn)
	l.mu.Lock()
	defer l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !well || l.closed || s.final != nil {
		s.letGo()
		return false // goroutines see what has ended
	}
	s.drive(l.scratch)
	s.loop = l
	for _, p := range s.sides() {
		p.socket.leaveGo()
		l.enterLocked(p)
	}
	return true
}

// letGo ends what a loop has of both sides.
func (s *session) letGo() {
	s.drive(nil)
	for _, p := range s.sides() {
		p.socket.letGo()
	}
}

var scratches = sync.Pool{New: func() any { return newScratch() }}

// drive changes whose scratch room both sides use; nil has them wait again.
func (s *session) drive(room *scratch) {
	for _, p := range s.sides() {
		if p.socket.driven != nil {
			p.socket.park()
		}
		p.socket.driven = room
	}
}

// enterLocked gives a peer a slot, and has it watched.
func (l *loop) enterLocked(p *peer) {
	if n := len(l.free); n > 0 {
		p.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		p.slot = int32(len(l.slots))
		l.slots, l.ages = append(l.slots, nil), append(l.ages, 0)
	}
	l.ages[p.slot]++
	l.slots[p.slot], p.age, p.watched = p, l.ages[p.slot], p.wanted()
	l.control(unix.EPOLL_CTL_ADD, p)
}

// control tells the system what to watch of a peer. Each event is told once, when
// it happens (EPOLLET): a look would ask again about those of the look before, which is
// 2 % of what small frames cost. Beginning to watch, and changing it, tells of what is there.
func (l *loop) control(op int, p *peer) {
	_ = unix.EpollCtl(l.fd, op, p.socket.fd, &unix.EpollEvent{Events: p.watched | unix.EPOLLET, Fd: p.slot, Pad: p.age})
}

// wanted are the events to watch for: bytes from a peer and their end, as long as
// the other takes them, and that there is room for those to it that wait.
func (p *peer) wanted() (events uint32) {
	if p.readErr == nil && len(p.other.socket.out) == 0 {
		events |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if len(p.socket.out) > 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// handle is one event.
func (l *loop) handle(e *unix.EpollEvent) {
	if e.Fd == 0 {
		var count [8]byte
		_, _ = unix.Read(l.wakes, count[:]) // it has woken the loop: that is all
		return
	}
	l.mu.Lock()
	p := l.slots[e.Fd]
	l.mu.Unlock()
	if p == nil || p.age != e.Pad {
		return // it has left
	}
	s := p.session
	if !l.carry(p, e.Events) && !s.passEnds() {
		l.leave(s)
		return
	}
	if s.client.passed && s.backend.passed {
		l.finish(s)
		return
	}
	for _, p := range s.sides() {
		if want := p.wanted(); want != p.watched || p.more {
			p.watched, p.more = want, false
			l.control(unix.EPOLL_CTL_MOD, p)
		}
	}
	s.active = l.now
	if !s.warm {
		s.warm = true
		l.warm = append(l.warm, s)
		if l.coolAt.IsZero() {
			l.coolLater()
		}
	}
}

// carry does what events of p ask for, and reports whether all is well. Without
// any it carries what TLS has of p.
func (l *loop) carry(p *peer, events uint32) (well bool) {
	defer p.session.recoverPanic()
	const failure = unix.EPOLLERR | unix.EPOLLHUP
	const end = unix.EPOLLRDHUP | failure
	if len(p.socket.out) > 0 && events&(unix.EPOLLOUT|failure) != 0 {
		if !p.session.send(p.other, p) {
			return false
		}
		if len(p.socket.out) == 0 && !p.session.carryNow(p.other, p) {
			return false
		}
	}
	switch {
	case events == 0:
		return p.session.carryNow(p, p.other)
	case events&(unix.EPOLLIN|end) == 0,
		p.readErr != nil,            // there is nothing more to come
		len(p.other.socket.out) > 0: // it is watched again, and told of, once that is gone
		return true
	}
	p.socket.drained, p.socket.ending = false, events&end != 0
	return p.session.carryNow(p, p.other)
}

// passEnds passes on an end of a stream that came in good order, behind all that
// came before it. It reports whether that is done: if not, something else has
// happened, too.
func (s *session) passEnds() (done bool) {
	defer s.recoverPanic()
	if s.stopped() {
		return false
	}
	for _, p := range s.sides() {
		if p.writeErr != nil || p.readErr != nil && (p.readErr != io.EOF || len(p.other.socket.out) > 0) {
			return false
		}
	}
	for _, p := range s.sides() {
		if p.readErr == nil || p.passed {
			continue
		}
		p.passed = true
		s.readEnded(p, p.readErr)
		if !s.sayEnd(p, p.other) {
			return false
		}
	}
	return true
}

// sayEnd tells dst that nothing more will come, and reports whether it has taken
// that. If dst is there no more, reading says so.
func (s *session) sayEnd(src, dst *peer) bool {
	dst.conn.CloseWrite()
	if len(dst.socket.out) > 0 && !s.send(src, dst) {
		src.writeErr = nil
	}
	if len(dst.socket.out) > 0 {
		return false
	}
	if dst.raw != net.Conn(dst.conn) && !dst.passed { // or it is closed now
		closeWrite(dst.raw)
	}
	return true
}

// finish is the end of a session whose sides have both ended.
func (l *loop) finish(s *session) {
	l.drop(s)
	s.drive(nil)
	for _, p := range s.sides() {
		p.socket.end()
	}
	s.finish()
}

// drop forgets a session, and reports whether it was there.
func (l *loop) drop(s *session) bool {
	s.mu.Lock()
	here := s.loop == l
	s.loop = nil
	s.mu.Unlock()
	if !here {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range s.sides() {
		l.slots[p.slot] = nil
		l.free = append(l.free, p.slot)
	}
	return true
}

// leave gives a session to goroutines of its own.
func (l *loop) leave(s *session) {
	if !l.drop(s) {
		return
	}
	for _, p := range s.sides() {
		l.control(unix.EPOLL_CTL_DEL, p)
	}
	s.letGo()
	s.noteFirst()
	s.begin()
}

// noteFirst writes down who has ended first, before goroutines find out that the
// other has, too.
func (s *session) noteFirst() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final != nil || s.first != nil {
		return
	}
	for _, p := range s.sides() {
		switch {
		case p.writeErr != nil:
			s.first = p.other
		case p.readErr != nil:
			s.first = p
		}
	}
}

// coolLater sets the time to look at the warm sessions.
func (l *loop) coolLater() {
	l.coolAt = l.now.Add(l.coolAfter)
	_ = l.file.SetReadDeadline(l.coolAt) // it can be waited for: open has seen to that
}

// cool has the sessions that have fallen silent let go of their buffers.
func (l *loop) cool() {
	still := l.warm[:0]
	for _, s := range l.warm {
		s.mu.Lock()
		here := s.loop == l
		s.mu.Unlock()
		switch {
		case !here:
		case l.now.Sub(s.active) < l.coolAfter:
			still = append(still, s)
		default:
			s.warm = false
			cool(s.client.conn)
		}
	}
	clear(l.warm[len(still):])
	l.warm, l.coolAt = still, time.Time{}
	if len(l.warm) > 0 {
		l.coolLater()
		return
	}
	_ = l.file.SetReadDeadline(time.Time{})
}

// carryNow carries what src has, as long as dst takes it, and reports whether
// both are open and well. If not, why is written down in src.
func (s *session) carryNow(src, dst *peer) bool {
	for round := 1; len(dst.socket.out) == 0; round++ {
		if round == rounds && !src.socket.drained {
			src.socket.drained, src.more = true, true
		}
		n, err := s.fill(src)
		if n > 0 && !s.pass(src, dst, n) {
			return false
		}
		if len(src.socket.out) > 0 && !s.send(dst, src) { // what its TLS has to say
			return false
		}
		if errors.Is(err, errWouldBlock) {
			return true // dst may have been slow, and has what there was
		}
		if err != nil {
			src.readErr = err
			return false
		}
	}
	src.socket.atOnce = leastAtOnce
	src.socket.park()
	return true
}

// fill reads as much of what src has as there is room for.
func (s *session) fill(src *peer) (n int, err error) {
	enough := src.socket.atOnce
	room := src.socket.driven.payload[:enough]
	if src.conn != Conn(src.socket) {
		room = room[:enough+recordRoom]
	}
	for n < enough && err == nil {
		var more int
		more, err = src.conn.Read(room[n:])
		n += more
	}
	if n >= enough {
		src.socket.atOnce = min(2*enough, mostAtOnce)
	}
	return n, err
}

// pass writes n bytes of the room to dst.
func (s *session) pass(src, dst *peer, n int) bool {
	payload := dst.socket.driven.payload[:n]
	if dst.conn == Conn(dst.socket) { // which would only copy them
		sent, err := dst.socket.tryWrite(payload)
		src.count(sent)
		if err != nil {
			src.writeErr = err
			return false
		}
		if sent > 0 {
			s.progress()
		}
		if sent < n {
			dst.socket.out, dst.socket.owed = append([]byte(nil), payload[sent:]...), n-sent
		}
		return true
	}
	if _, err := dst.conn.Write(payload); err != nil {
		src.writeErr = err
		return false
	}
	if dst.socket.owed += n; len(dst.socket.out) > 0 {
		return true // it has taken what it can
	}
	s.delivered(src, dst)
	return true
}

// send sends what waits to be sent to dst. The payload in it counts as src's when
// all of it is gone.
func (s *session) send(src, dst *peer) bool {
	socket := dst.socket
	n, err := socket.tryWrite(socket.out)
	if err != nil {
		src.writeErr, socket.out, socket.owed = err, nil, 0
		return false
	}
	if socket.out = socket.out[n:]; len(socket.out) > 0 {
		return true
	}
	socket.out = nil
	s.delivered(src, dst)
	return true
}

// delivered counts the payload of src that dst has been sent the whole of.
func (s *session) delivered(src, dst *peer) {
	src.count(dst.socket.owed)
	dst.socket.owed = 0
	s.progress()
}
