package certs

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTicketKeys(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		schedule TicketSchedule
		most     int           // keys at a time
		encrypts time.Duration // for how long the key that is made at noon does
		decrypts time.Duration // and for how long it is there
	}{
		{"default", TicketSchedule{}, 3, 12 * time.Hour, 36 * time.Hour},
		{"hourly", TicketSchedule{Rotation: time.Hour}, 25, time.Hour, 25 * time.Hour},
		{"lifetime of one rotation and a half", TicketSchedule{4 * time.Hour, 6 * time.Hour}, 3, 4 * time.Hour, 10 * time.Hour},
		{"lifetime of less than one", TicketSchedule{12 * time.Hour, time.Hour}, 2, 12 * time.Hour, 13 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys := NewTicketKeys(tt.schedule)
			made := keys.Keys("scope", noon)
			if len(made) != 1 {
				t.Fatalf("%d keys at first", len(made))
			}
			most := 0
			for at := time.Duration(0); at < 4*24*time.Hour; at = keys.next(noon.Add(at)).Sub(noon) {
				now := keys.Keys("scope", noon.Add(at))
				if again := keys.Keys("scope", keys.next(noon.Add(at)).Add(-1)); !slices.Equal(now, again) {
					t.Fatalf("after %v: the keys change before next", at)
				}
				if got := now[0] == made[0]; got != (at < tt.encrypts) {
					t.Errorf("after %v: encrypts: %v", at, got)
				}
				if got := slices.Contains(now, made[0]); got != (at < tt.decrypts) {
					t.Errorf("after %v: decrypts: %v", at, got)
				}
				if len(slices.Compact(slices.Clone(now))) != len(now) {
					t.Errorf("after %v: a key stands there twice", at)
				}
				most = max(most, len(now))
			}
			if most != tt.most || len(keys.secrets) > tt.most {
				t.Errorf("up to %d keys, %d secrets left, want %d", most, len(keys.secrets), tt.most)
			}
		})
	}
}

// Nothing of what a process holds later opens a ticket of before.
func TestTicketSecretsAreForgotten(t *testing.T) {
	keys, now := NewTicketKeys(TicketSchedule{}), time.Unix(1_800_000_000, 0)
	old := keys.Keys("scope", now)[0]
	if next := keys.Keys("scope", now.Add(36*time.Hour)); slices.Contains(next, old) || len(keys.secrets) != 1 {
		t.Errorf("%d secrets left", len(keys.secrets))
	}
	if again := keys.Keys("scope", now); slices.Contains(again, old) {
		t.Error("the key can be derived again")
	}
}

func TestTicketKeysOfScopes(t *testing.T) {
	keys, now := NewTicketKeys(TicketSchedule{}), time.Unix(1_800_000_000, 0)
	keys.Keys("", now.Add(-12*time.Hour))
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
	if _, ok := seen[NewTicketKeys(TicketSchedule{}).Keys("a", now)[0]]; ok || len(seen) != 12 {
		t.Errorf("%d keys, or two processes share one", len(seen))
	}
}

// Keep tells of every change when it is due.
func TestKeepTicketKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := NewTicketKeys(TicketSchedule{Rotation: 4 * time.Hour, Lifetime: 6 * time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		keys.Keys("scope", time.Now().Add(-8*time.Hour))
		keys.Keys("scope", time.Now().Add(-4*time.Hour))
		kept := keys.Keys("scope", time.Now())
		var changes []time.Duration
		midnight := time.Now()
		go keys.Keep(ctx, func() {
			next := keys.Keys("scope", time.Now())
			if slices.Equal(next, kept) {
				t.Errorf("%v: no other keys", time.Now())
			}
			kept, changes = next, append(changes, time.Since(midnight))
		})
		time.Sleep(13 * time.Hour)
		cancel()
		synctest.Wait()
		// A rotation every 4 hours, and half-way between them a key is destroyed.
		if want := []time.Duration{2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 8 * time.Hour, 10 * time.Hour, 12 * time.Hour}; !slices.Equal(changes, want) {
			t.Errorf("changes after %v, want %v", changes, want)
		}
	})
}
