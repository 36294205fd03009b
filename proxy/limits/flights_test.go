package limits

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// The oldest goes when there are too many.
func TestFlights(t *testing.T) {
	var f Flights
	var gone []string
	begin := func(limit int, name string) *Flight {
		return f.Begin(limit, func(err error) {
			wantRefusal(t, err, "handshake_limit", 80)
			gone = append(gone, name)
		})
	}
	a, b, c := begin(3, "a"), begin(3, "b"), begin(3, "c")
	if !a.Over() || a.Over() {
		t.Error("a was over not once")
	}
	d := begin(3, "d")
	if len(gone) > 0 {
		t.Errorf("%q had to go while there were places", gone)
	}
	begin(3, "e")
	if !slices.Equal(gone, []string{"b"}) || b.Over() {
		t.Errorf("%q had to go, want the oldest, b", gone)
	}
	wantRefusal(t, b.Err(), "handshake_limit", 80)
	if err := a.Err(); err != nil {
		t.Errorf("a, which was over, was sent away: %v", err)
	}
	begin(1, "f") // after a reload
	if !slices.Equal(gone, []string{"b", "c", "d", "e"}) || c.Over() || d.Over() {
		t.Errorf("%q had to go, want all but f", gone)
	}
	for range 10 {
		begin(0, "g") // without a limit
	}
	if len(gone) != 4 || f.Len() != 11 {
		t.Errorf("%q had to go, and %d are in flight", gone, f.Len())
	}
	if none := (*Flight)(nil); none.Over() || none.Err() != nil {
		t.Error("none is over")
	}
}

// Every handshake ends once: by itself, or because it has to go.
func TestFlightsReturnToZero(t *testing.T) {
	var f Flights
	var begun, ended, sent atomic.Int64
	var workers sync.WaitGroup
	for w := range uint64(8) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(w, 2))
			var mine []*Flight
			for range 5000 {
				begun.Add(1)
				mine = append(mine, f.Begin(random.IntN(50), func(error) { sent.Add(1) }))
				if random.IntN(2) == 0 && mine[random.IntN(len(mine))].Over() {
					ended.Add(1)
				}
			}
			for _, flight := range mine {
				if flight.Over() {
					ended.Add(1)
				}
			}
		})
	}
	workers.Wait()
	if f.Len() != 0 || begun.Load() != ended.Load()+sent.Load() {
		t.Errorf("%d in flight; %d begun, %d ended and %d sent away", f.Len(), begun.Load(), ended.Load(), sent.Load())
	}
}
