package main

import "testing"

func TestSlackFor(t *testing.T) {
	for scanned, want := range map[uint64]int{0: mostSlack, 1 << 20: mostSlack, slackBytes: 100, slackBytes * 3 / 2: 66, 100 * slackBytes: leastSlack} {
		if got := slackFor(scanned); got != want {
			t.Errorf("%d bytes: %d%%, want %d%%", scanned, got, want)
		}
	}
}

// Memory is given back once when it has become quiet, and not while clients come
// or again for nothing.
func TestKeeper(t *testing.T) {
	k := keeper{percent: 100}
	var allocated uint64
	look := func(more uint64) (release bool) {
		allocated += more
		_, release = k.look(30<<20, allocated)
		return release
	}
	for range 10 {
		if look(50 << 20) {
			t.Fatal("it is given back while much is allocated")
		}
	}
	var at []int
	for i := range 20 {
		if look(1000) {
			at = append(at, i)
		}
	}
	if len(at) != 1 || at[0] != quietLooks-1 {
		t.Errorf("given back after quiet looks %d, want once", at)
	}
	look(worthReleasing)
	for i := range quietLooks {
		if release := look(0); release != (i == quietLooks-1) {
			t.Errorf("look %d: %t", i, release)
		}
	}
	if percent, _ := (&keeper{percent: 100}).look(slackBytes, 0); percent != 0 {
		t.Errorf("set to %d, which it is", percent)
	}
}
