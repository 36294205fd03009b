package certs

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// TicketRotation is how long one key encrypts session tickets. For 24 hours
// more it decrypts them. Keys that live longer would undo forward secrecy
// (RFC 9325 section 3.4).
const TicketRotation = 12 * time.Hour

// ticketEpochs is how many keys are in use: the current, and those that
// retired in the last 24 hours.
const ticketEpochs = 1 + int(24*time.Hour/TicketRotation)

// TicketKeys derives the keys of session tickets from a secret that lives as
// long as the process. Nothing is kept but the secret: a reload that does not
// change a scope keeps its tickets, and a rotation takes no goroutine.
type TicketKeys struct {
	secret [32]byte
}

// NewTicketKeys draws a secret.
func NewTicketKeys() *TicketKeys {
	t := new(TicketKeys)
	rand.Read(t.secret[:]) // never fails
	return t
}

// Keys returns the keys for one scope at a time, in the order of
// [crypto/tls.Config.SetSessionTicketKeys]: the first encrypts, all decrypt.
//
// The scope is everything that a ticket must not carry a session across:
// policy, certificates and client authentication, written out in an
// unambiguous way. Keys of different scopes have nothing in common.
//
// They are good until [NextTicketRotation].
func (t *TicketKeys) Keys(scope string, now time.Time) [][32]byte {
	epoch := ticketEpoch(now)
	keys := make([][32]byte, ticketEpochs)
	for i := range keys {
		// The number has a fixed length, so no scope can be taken for another.
		info := binary.BigEndian.AppendUint64([]byte("suitegate session ticket key"), uint64(epoch-int64(i)))
		key, err := hkdf.Key(sha256.New, t.secret[:], nil, string(info)+scope, len(keys[i]))
		if err != nil {
			panic("certs: session ticket key: " + err.Error()) // only for lengths that HKDF does not have
		}
		keys[i] = [32]byte(key)
	}
	return keys
}

// NextTicketRotation returns when the keys of now are to be replaced by those
// of then: at midnight and noon, UTC.
func NextTicketRotation(now time.Time) time.Time {
	return time.Unix((ticketEpoch(now)+1)*int64(TicketRotation/time.Second), 0)
}

// ticketEpoch counts rotations since 1970.
func ticketEpoch(now time.Time) int64 {
	return now.Unix() / int64(TicketRotation/time.Second)
}
