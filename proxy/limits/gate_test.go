package limits

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func soon() time.Time { return time.Now().Add(time.Minute) }

func mustBegin(t *testing.T, turn *Turn) {
	t.Helper()
	if err := turn.Begin(soon()); err != nil {
		t.Error(err)
	}
}

// As many compute at a time as there are slots.
func TestGateSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{Slots: 3}
		var now, most atomic.Int64
		start := time.Now()
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				turn := g.Turn()
				mustBegin(t, turn)
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second) // what it computes
				now.Add(-1)
				turn.End()
			})
		}
		all.Wait()
		if took := time.Since(start); took != 10*time.Second || most.Load() != 3 {
			t.Errorf("30 took %v with %d at a time, want 10s and 3", took, most.Load())
		}
		if g.busy != 0 {
			t.Errorf("%d slots are taken when all have ended", g.busy)
		}
	})
}

// Those that have begun go first, in turn; the others are next as they came. When
// they have waited for too long, the newest of them is, behind all who have not.
func TestGateOrder(t *testing.T) {
	for after, want := range map[time.Duration][]string{
		10 * time.Millisecond:           {"begun 1", "begun 2", "new 1", "new 2", "new 3"},
		patience + 3*time.Millisecond:   {"begun 1", "begun 2", "new 3", "new 2", "new 1"}, // which is not too long for new 3
		patience + 100*time.Millisecond: {"begun 1", "begun 2", "new 3", "new 2", "new 1"},
	} {
		t.Run(after.String(), func(t *testing.T) { testGateOrder(t, after, want) })
	}
}

func testGateOrder(t *testing.T, after time.Duration, want []string) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{Slots: 1}
		holder := g.Turn()
		mustBegin(t, holder)
		var order []string // by whoever has the slot
		var all sync.WaitGroup
		for i, name := range []string{"new 1", "begun 1", "new 2", "begun 2", "new 3"} {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				turn := g.Turn()
				turn.deadline = soon()
				queue := &g.fresh
				if strings.HasPrefix(name, "begun") {
					queue = &g.begun
				}
				if err := turn.wait(queue); err != nil {
					t.Error(err)
				}
				order = append(order, name)
				turn.End()
			})
		}
		time.Sleep(after)
		holder.End()
		all.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
	})
}

// Nobody waits longer than for its deadline, or for what cancels it.
func TestGateWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{Slots: 1}
		holder := g.Turn()
		mustBegin(t, holder)

		late := g.Turn()
		start := time.Now()
		wantRefusal(t, late.Begin(time.Now().Add(3*time.Second)), "overloaded", 80)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("waited for %v, want 3s", took)
		}
		late.End()

		gone := g.Turn()
		cause := errors.New("gone")
		time.AfterFunc(time.Second, func() { gone.Cancel(cause); gone.Cancel(io.EOF) })
		if err := gone.Begin(soon()); err != cause {
			t.Errorf("error %v, want the first that it was canceled with", err)
		}
		gone.End()
		if err := gone.Begin(soon()); err != cause {
			t.Errorf("error %v, want that it stays canceled", err)
		}

		// Neither has kept a slot, or takes one now.
		holder.Cancel(cause) // which has one: it loses the next
		holder.End()
		next := g.Turn()
		mustBegin(t, next)
		next.End()
		if g.busy != 0 || g.fresh.Len()+g.late.Len() != 0 {
			t.Errorf("%d slots are taken and %d wait", g.busy, g.fresh.Len()+g.late.Len())
		}
	})
}

// A slot that comes in the same moment as the end of the wait is not lost.
func TestGateCancelOfOneThatIsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{Slots: 1}
		holder, next := g.Turn(), g.Turn()
		mustBegin(t, holder)
		begun := make(chan error)
		go func() { begun <- next.Begin(soon()) }()
		synctest.Wait()
		holder.End() // next has the slot, and cannot know yet
		next.Cancel(io.EOF)
		if err := <-begun; err == nil {
			next.End()
		}
		third := g.Turn()
		mustBegin(t, third)
		third.End()
	})
}

// Whatever happens to handshakes, and in whatever order, no slot is lost and
// none is given twice.
func TestGateReturnsToZero(t *testing.T) {
	g := &Gate{Slots: 2}
	var now, most, canceled atomic.Int64
	var all sync.WaitGroup
	for w := range uint64(16) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(w, 3))
			for range 1000 {
				turn := g.Turn()
				if random.IntN(2) == 0 {
					all.Go(func() { turn.Cancel(io.EOF) })
				}
				if turn.Begin(soon()) != nil {
					canceled.Add(1)
					continue
				}
				most.Store(max(most.Load(), now.Add(1)))
				runtime.Gosched()
				now.Add(-1)
				turn.End()
			}
		})
	}
	all.Wait()
	if g.busy != 0 || g.fresh.Len()+g.late.Len() != 0 || most.Load() > 2 {
		t.Errorf("%d slots are taken, %d wait, and %d computed at a time", g.busy, g.fresh.Len()+g.late.Len(), most.Load())
	}
	if canceled.Load() == 0 {
		t.Error("nothing was canceled")
	}
}

// A handshake that waits for its client has no slot.
func TestGateWhileWaitingForTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{Slots: 1}
		near, far := net.Pipe()
		turn := g.Turn()
		conn := turn.Conn(near)
		mustBegin(t, turn)
		read := make(chan error)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		other := g.Turn()
		mustBegin(t, other) // at once, or the bubble has come to a standstill

		far.Write([]byte("x"))
		synctest.Wait()
		select {
		case <-read:
			t.Error("it goes on while another has the slot")
		default:
		}
		other.End()
		if err := <-read; err != nil || g.busy != 1 {
			t.Errorf("error %v, %d slots taken, want it to have the slot again", err, g.busy)
		}
		go io.ReadFull(far, make([]byte, 1))
		if _, err := conn.Write([]byte("x")); err != nil || g.busy != 0 {
			t.Errorf("error %v, %d slots taken after a write", err, g.busy)
		}

		// An error of the connection is no reason to wait.
		third := g.Turn()
		mustBegin(t, third)
		far.Close()
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("error %v, want EOF", err)
		}
		turn.End()
		third.End()
		// When the handshake is over it is a connection like any other.
		near2, far2 := net.Pipe()
		turn2 := g.Turn()
		conn2 := turn2.Conn(near2)
		mustBegin(t, turn2)
		turn2.End()
		turn2.Cancel(io.ErrNoProgress)
		go far2.Write([]byte("y"))
		if _, err := conn2.Read(make([]byte, 1)); err != nil || g.busy != 0 {
			t.Errorf("error %v, %d slots taken", err, g.busy)
		}
		if below := conn2.(interface{ NetConn() net.Conn }).NetConn(); below != near2 {
			t.Error("it does not lead to the connection below")
		}
		near2.Close()
		far2.Close()
	})
}
