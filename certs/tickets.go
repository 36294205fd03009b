package certs

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"
)

// What holds for a TicketSchedule that does not say.
const (
	DefaultTicketRotation = 12 * time.Hour
	DefaultTicketLifetime = 24 * time.Hour
)

// A TicketSchedule says how long the keys of session tickets are used. Both
// undo forward secrecy for as long as they last (RFC 9325 section 3.4), and
// TLS 1.3 allows seven days at most (RFC 8446 section 4.6.1).
type TicketSchedule struct {
	// Rotation is how long one key encrypts. Rotations are counted from 1970,
	// so that gateways with the same schedule rotate together. Default:
	// DefaultTicketRotation (12 h).
	Rotation time.Duration

	// Lifetime is how long a ticket is good for, and so how long a key decrypts
	// after it has ceased to encrypt. Then it is destroyed. Default:
	// DefaultTicketLifetime (24 h).
	Lifetime time.Duration
}

func (s TicketSchedule) withDefaults() TicketSchedule {
	return TicketSchedule{
		Rotation: cmp.Or(s.Rotation, DefaultTicketRotation),
		Lifetime: cmp.Or(s.Lifetime, DefaultTicketLifetime),
	}
}

// epoch counts rotations since 1970.
func (s TicketSchedule) epoch(now time.Time) int64 { return now.UnixNano() / int64(s.Rotation) }

// begin is when the key of an epoch begins to encrypt.
func (s TicketSchedule) begin(epoch int64) time.Time { return time.Unix(0, epoch*int64(s.Rotation)) }

// end is when the key of an epoch is destroyed.
func (s TicketSchedule) end(epoch int64) time.Time { return s.begin(epoch + 1).Add(s.Lifetime) }

// first is the oldest epoch whose key still decrypts.
func (s TicketSchedule) first(now time.Time) int64 { return s.epoch(now.Add(-s.Lifetime)) }

// TicketKeys hold the secrets that the keys of session tickets are derived
// from: one for each rotation, drawn at random when it is needed and forgotten
// when its lifetime is over, so that nothing that the process holds later opens
// a ticket of before. Its methods may be called from several goroutines.
type TicketKeys struct {
	schedule TicketSchedule

	mu      sync.Mutex
	secrets map[int64]ticketSecret // by epoch
}

type ticketSecret [32]byte

// NewTicketKeys returns keys without a past.
func NewTicketKeys(schedule TicketSchedule) *TicketKeys {
	return &TicketKeys{schedule: schedule.withDefaults(), secrets: make(map[int64]ticketSecret)}
}

// Keys returns the keys for one scope at a time, in the order of
// [crypto/tls.Config.SetSessionTicketKeys]: the first encrypts, all decrypt.
//
// The scope is everything that a ticket must not carry a session across and
// that a whole listener has in common, such as its policy, written out in an
// unambiguous way. Keys of different scopes have nothing in common.
//
// They are good until [TicketKeys.Keep] says that there are others.
func (t *TicketKeys) Keys(scope string, now time.Time) [][32]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	current := t.schedule.epoch(now)
	if _, ok := t.secrets[current]; !ok {
		var secret ticketSecret
		rand.Read(secret[:]) // never fails
		t.secrets[current] = secret
	}
	keys := [][32]byte{ticketKey(t.secrets[current], scope)}
	for _, epoch := range slices.Backward(slices.Sorted(maps.Keys(t.secrets))) {
		if epoch != current {
			keys = append(keys, ticketKey(t.secrets[epoch], scope))
		}
	}
	return keys
}

// forget destroys what is too old.
func (t *TicketKeys) forget(now time.Time) {
	first := t.schedule.first(now)
	maps.DeleteFunc(t.secrets, func(epoch int64, _ ticketSecret) bool { return epoch < first })
}

func ticketKey(secret ticketSecret, scope string) [32]byte {
	key, err := hkdf.Key(sha256.New, secret[:], nil, "suitegate session ticket key "+scope, len(secret))
	if err != nil {
		panic("certs: session ticket key: " + err.Error()) // only for lengths that HKDF does not have
	}
	return [32]byte(key)
}

// Keep calls changed, on this goroutine, each time that [TicketKeys.Keys] has
// other keys to give, until ctx is done.
func (t *TicketKeys) Keep(ctx context.Context, changed func()) {
	for {
		timer := time.NewTimer(time.Until(t.next(time.Now())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			changed()
		}
	}
}

// next is when the keys of now are to be replaced by those of then: when
// another one begins to encrypt, or one ceases to decrypt.
func (t *TicketKeys) next(now time.Time) time.Time {
	rotation := t.schedule.begin(t.schedule.epoch(now) + 1)
	if end := t.schedule.end(t.schedule.first(now)); end.Before(rotation) {
		return end
	}
	return rotation
}
