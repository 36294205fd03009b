package main

import "testing"

func TestSlackFor(t *testing.T) {
	for live, want := range map[uint64]int{0: mostSlack, 1 << 20: mostSlack, slackBytes: 100, 2 * slackBytes: 50, 100 * slackBytes: leastSlack} {
		if got := slackFor(live); got != want {
			t.Errorf("%d bytes: %d%%, want %d%%", live, got, want)
		}
	}
}
