// Package sealtest has what the servers of kmstest and vaulttest share: the ways
// in which a key goes away, and the plan of when. It is for tests.
package sealtest

import (
	"slices"
	"sync"

	"github.com/suitegate/suitegate/certs/seal"
)

// A Fault is what a server does to a call instead of what it was asked for.
type Fault string

const (
	None            Fault = ""
	Denied          Fault = "access denied"
	Disabled        Fault = "disabled"
	PendingDeletion Fault = "pending deletion"
	NotFound        Fault = "not found"
	Throttled       Fault = "throttled"
	Expired         Fault = "credentials expired"
	Unavailable     Fault = "unavailable"      // the service says so
	Internal        Fault = "internal error"   // a 500
	Reset           Fault = "connection reset" // before an answer
	Cut             Fault = "answer cut off"   // and the connection is reset
	Slow            Fault = "slow"             // no answer, until the client gives up
	Garbage         Fault = "garbage"          // no answer of the protocol
	Empty           Fault = "empty"            // an answer with nothing in it
	WrongKeyID      Fault = "wrong key id"
	ShortPlaintext  Fault = "short plaintext"

	// WrongPlaintext is a good answer with another data key. Only a comparison of
	// two answers shows it.
	WrongPlaintext Fault = "wrong plaintext"
)

// Cause is the cause that a [seal.KeyError] must have for the fault; "" where a
// single answer does not show that anything is wrong.
func (f Fault) Cause() string {
	return map[Fault]string{
		Denied:          seal.KeyDenied,
		Disabled:        seal.KeyDisabled,
		PendingDeletion: seal.KeyPendingDeletion,
		NotFound:        seal.KeyNotFound,
		Throttled:       seal.KeyThrottled,
		Expired:         seal.KeyCredentials,
		Unavailable:     seal.KeyUnreachable,
		Internal:        seal.KeyUnreachable,
		Reset:           seal.KeyUnreachable,
		Cut:             seal.KeyUnreachable,
		Slow:            seal.KeyTimeout,
		Garbage:         seal.KeyWrongAnswer,
		Empty:           seal.KeyWrongAnswer,
		WrongKeyID:      seal.KeyWrongAnswer,
		ShortPlaintext:  seal.KeyWrongAnswer,
	}[f]
}

// A Plan says which calls to a server fail. Its zero value is that none does.
type Plan struct {
	mu    sync.Mutex
	lines []*line
}

type line struct {
	operation string
	call      int
	fault     Fault
}

// Fail plans a fault for a call of an operation, or of any where that is "": the
// first from now on is 1, and 0 is each of them until Heal.
func (p *Plan) Fail(operation string, call int, fault Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, &line{operation, call, fault})
}

// Heal forgets what was planned.
func (p *Plan) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = nil
}

// Next is asked by a server at each call, once.
func (p *Plan) Next(operation string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := None
	p.lines = slices.DeleteFunc(p.lines, func(l *line) bool {
		if l.operation != "" && l.operation != operation {
			return false
		}
		if l.call == 0 {
			due = l.fault
			return false
		}
		l.call--
		if l.call > 0 {
			return false
		}
		due = l.fault
		return true
	})
	return due
}
