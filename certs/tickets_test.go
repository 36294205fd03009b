package certs

import (
	"slices"
	"testing"
	"time"
)

func TestTicketKeys(t *testing.T) {
	keys := NewTicketKeys()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(after time.Duration) [][32]byte { return keys.Keys("scope", noon.Add(after)) }
	now := at(0)
	if len(now) != 3 || now[0] == now[1] || now[1] == now[2] || now[0] == now[2] {
		t.Fatalf("%d keys, or equal ones", len(now))
	}
	if !slices.Equal(now, at(12*time.Hour-time.Second)) {
		t.Error("rotated too early")
	}
	if slices.Equal(now, at(12*time.Hour)) {
		t.Error("not rotated")
	}
	// The key that encrypts now is accepted for 24 hours after its last second.
	for _, tt := range []struct {
		after time.Duration
		index int // -1: not accepted
	}{
		{-time.Second, -1}, {0, 0}, {12*time.Hour - time.Second, 0}, {12 * time.Hour, 1}, {24 * time.Hour, 2},
		{36*time.Hour - time.Second, 2}, {36 * time.Hour, -1},
	} {
		if got := slices.Index(at(tt.after), now[0]); got != tt.index {
			t.Errorf("after %v: at %d, want %d", tt.after, got, tt.index)
		}
	}
}

func TestTicketKeysOfScopes(t *testing.T) {
	keys, now := NewTicketKeys(), time.Unix(1_800_000_000, 0)
	seen := make(map[[32]byte]string)
	for _, scope := range []string{"", "a", "b", "ab", "\x00", "\x00a"} {
		for _, key := range keys.Keys(scope, now) {
			if other, ok := seen[key]; ok {
				t.Errorf("%q and %q share a key", scope, other)
			}
			seen[key] = scope
		}
		if !slices.Equal(keys.Keys(scope, now), keys.Keys(scope, now)) {
			t.Errorf("%q: not the same twice", scope)
		}
	}
	if _, ok := seen[NewTicketKeys().Keys("a", now)[0]]; ok {
		t.Error("two processes share a key")
	}
}

func TestNextTicketRotation(t *testing.T) {
	keys := NewTicketKeys()
	for _, now := range []time.Time{
		time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 1, 11, 59, 59, 999_999_999, time.UTC),
		time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600)),
	} {
		next := NextTicketRotation(now)
		if wait := next.Sub(now); wait <= 0 || wait > TicketRotation {
			t.Errorf("%v: %v is no answer", now, next)
		}
		if keys.Keys("", now)[0] != keys.Keys("", next.Add(-1))[0] || keys.Keys("", now)[0] == keys.Keys("", next)[0] {
			t.Errorf("%v: the keys do not change at %v", now, next)
		}
	}
}
