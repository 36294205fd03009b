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
	fleet    *ticketFleet // nil if the secrets are this process's own

	mu      sync.Mutex
	secrets map[int64]ticketSecrets // by epoch
}

type ticketSecret [32]byte

// ticketSecrets are those of one epoch: the fleet's, or the process's own where
// there is no fleet or its storage fails, or both where it failed for a while.
type ticketSecrets struct{ fleet, own *ticketSecret }

// NewTicketKeys returns keys of the process's own, without a past.
func NewTicketKeys(schedule TicketSchedule) *TicketKeys {
	return &TicketKeys{schedule: schedule.withDefaults(), secrets: make(map[int64]ticketSecrets)}
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
	var keys [][32]byte
	add := func(secrets ...*ticketSecret) {
		for _, secret := range secrets {
			if secret != nil {
				keys = append(keys, ticketKey(*secret, scope))
			}
		}
	}
	current := t.schedule.epoch(now)
	secrets := t.secrets[current]
	if secrets.fleet == nil && secrets.own == nil {
		secrets.own = newTicketSecret()
		t.secrets[current] = secrets
	}
	add(secrets.fleet, secrets.own)
	// The one after is there for gateways whose clocks are ahead.
	for _, epoch := range slices.Backward(slices.Sorted(maps.Keys(t.secrets))) {
		if epoch != current {
			add(t.secrets[epoch].fleet, t.secrets[epoch].own)
		}
	}
	return keys
}

func newTicketSecret() *ticketSecret {
	secret := new(ticketSecret)
	rand.Read(secret[:]) // never fails
	return secret
}

// forget destroys what is too old.
func (t *TicketKeys) forget(now time.Time) {
	first := t.schedule.first(now)
	maps.DeleteFunc(t.secrets, func(epoch int64, _ ticketSecrets) bool { return epoch < first })
}

func ticketKey(secret ticketSecret, scope string) [32]byte {
	key, err := hkdf.Key(sha256.New, secret[:], nil, "suitegate session ticket key "+scope, len(secret))
	if err != nil {
		panic("certs: session ticket key: " + err.Error()) // only for lengths that HKDF does not have
	}
	return [32]byte(key)
}

// Keep calls changed, on this goroutine, each time that [TicketKeys.Keys] may
// have other keys to give, until ctx is done. Keys of a fleet are closed then.
func (t *TicketKeys) Keep(ctx context.Context, changed func()) {
	defer t.Close()
	for {
		now := time.Now()
		next := t.next(now)
		if retry := t.fleet.retry(now); !retry.IsZero() && retry.Before(next) {
			next = retry
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			changed() // not after the storage, which may take its time
			if t.fleet != nil {
				t.fleet.refresh(ctx, t, time.Now())
				changed()
			}
		}
	}
}

// Close gives up the storage of a fleet. It is for keys that nobody keeps.
func (t *TicketKeys) Close() {
	if t.fleet != nil {
		t.fleet.storage.close()
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
