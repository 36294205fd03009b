package limits

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// spareGate returns a gate of one slot, and what was asked of its spare processor.
func spareGate() (*Gate, func() []bool) {
	var mu sync.Mutex
	var uses []bool
	use := func(needed bool) {
		mu.Lock()
		defer mu.Unlock()
		uses = append(uses, needed)
	}
	return &Gate{Slots: 1, Spare: Spare{Use: use}}, func() []bool {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(uses)
	}
}

// The spare processor is in use while handshakes are busy and a connection that is
// established carries, and for a while after.
func TestSpare(t *testing.T) {
	const forever = time.Hour
	for name, c := range map[string]struct {
		computing, resting time.Duration // of the one handshake at a time, in turn
		age                time.Duration // of the connection that carries
		want               bool
	}{
		"busy":                  {computing: 2 * time.Millisecond, age: settled, want: true},
		"busy enough":           {computing: 3 * time.Millisecond, resting: 8 * time.Millisecond, age: forever, want: true},
		"hardly any handshakes": {computing: 2 * time.Millisecond, resting: 8 * time.Millisecond, age: forever},
		"nobody established":    {computing: 2 * time.Millisecond, age: settled - time.Millisecond},
		"nothing to compute":    {resting: 2 * time.Millisecond, age: forever},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, uses := spareGate()
				carry := func() { g.Spare.Carried(time.Now().Add(-c.age)) }
				for began := time.Now(); time.Since(began) < 3*spareFor; {
					turn := g.Turn()
					mustBegin(t, turn)
					time.Sleep(c.computing)
					turn.End()
					carry()
					time.Sleep(c.resting)
				}
				var want []bool
				if c.want {
					want = []bool{true}
				}
				if got := uses(); !slices.Equal(got, want) {
					t.Fatalf("used %v while handshakes went on, want %v", got, want)
				}
				time.Sleep(busyFor + time.Millisecond)
				carry() // the handshakes are over: it is not needed for this
				time.Sleep(spareFor)
				if c.want {
					want = []bool{true, false}
				}
				if got := uses(); !slices.Equal(got, want) {
					t.Errorf("used %v after them, want %v", got, want)
				}
			})
		})
	}
}

// It is needed again after it was given back.
func TestSpareAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, uses := spareGate()
		established := time.Now()
		time.Sleep(settled)
		for range 2 {
			for range 2 { // the first ends a window in which nothing happened
				turn := g.Turn()
				mustBegin(t, turn)
				time.Sleep(busyWindow)
				turn.End()
			}
			g.Spare.Carried(established)
			time.Sleep(2 * spareFor)
		}
		if got, want := uses(), []bool{true, false, true, false}; !slices.Equal(got, want) {
			t.Errorf("used %v, want %v", got, want)
		}
	})
}

// Handshakes have all processors but one that they leave free.
func TestGateSlotsOfProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	g := new(Gate)
	if got := g.slots(); got != 2 {
		t.Errorf("%d of 3 without a spare one", got)
	}
	g.Spare.Use = func(bool) {}
	if got := g.slots(); got != 3 {
		t.Errorf("%d of 3 while the spare one is not in use", got)
	}
	g.Spare.using.Store(true)
	if got := g.slots(); got != 2 {
		t.Errorf("%d of 3, one of them the spare one", got)
	}
	runtime.GOMAXPROCS(1)
	g.Spare.Use = nil
	if got := g.slots(); got != 1 {
		t.Errorf("%d of 1", got)
	}
}
