package policy

import (
	"errors"
	"fmt"
	"slices"
)

// KeyType is the kind of key that a certificate holds, as far as selection
// cares.
type KeyType uint8

// The kinds of keys that a listener can have.
const (
	NoKey KeyType = iota
	RSA
	ECDSAP256
	ECDSAP384
	Ed25519
)

// String names the kind of key.
func (k KeyType) String() string {
	return name(k, "none", "RSA", "ECDSA-P256", "ECDSA-P384", "Ed25519")
}

// keyPreference is the order in which keys are tried where the suite leaves
// the choice: the cheapest signature that all common clients check first, and
// RSA, whose signatures cost the server most, last.
var keyPreference = [...]KeyType{ECDSAP256, ECDSAP384, Ed25519, RSA}

// Policy is what a listener may negotiate. Make one with [New] or [Builtin],
// narrow it to a listener with [Policy.Bind], and do not change it afterwards:
// it is then safe for use by many goroutines.
type Policy struct {
	Name   string
	TLS12  []Suite // as published or written; empty switches TLS 1.2 off
	TLS13  []Suite // as published or written, and the preference too; empty switches TLS 1.3 off
	Groups []Group // in order of preference

	order []Suite   // TLS12 in order of preference; nil means as it stands in TLS12
	keys  []KeyType // what the listener has, in order of preference; nil means every kind
	fips  bool      // see [Policy.FIPS]
}

// ErrNoSuites is the error of [New] for lists that are both empty.
var ErrNoSuites = errors.New("it names no cipher suite for TLS 1.2 or TLS 1.3")

// NameError is what is wrong with one name in one of [New]'s lists.
type NameError struct {
	List  string // "tls12", "tls13" or "groups", as in the configuration
	Index int    // from 0
	Name  string // as it was written
	Err   error  // the fault alone, for a caller that shows the place in its own way
}

func (e *NameError) Error() string {
	return fmt.Sprintf("policy: %s[%d]: %v", e.List, e.Index, e.Err)
}

func (e *NameError) Unwrap() error { return e.Err }

// New makes a policy from names that a person wrote, IANA's or OpenSSL's. The
// order of the lists is the order of preference. No groups means
// [DefaultGroups].
//
// All faults come back together, joined: a [*NameError] for every name that is
// unknown, in the wrong list, or there twice, and [ErrNoSuites].
func New(name string, tls12, tls13, groups []string) (*Policy, error) {
	p := &Policy{Name: name}
	var faults []error
	p.TLS12, faults = parseList("tls12", tls12, parseTLS12, faults)
	p.TLS13, faults = parseList("tls13", tls13, parseTLS13, faults)
	p.Groups, faults = parseList("groups", groups, ParseGroup, faults)
	if len(tls12)+len(tls13) == 0 {
		faults = append(faults, fmt.Errorf("policy: %q: %w", name, ErrNoSuites))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if len(groups) == 0 {
		p.Groups = DefaultGroups()
	}
	return p, nil
}

// parseList parses names one by one and appends a fault for each that fails or
// repeats an earlier one under whatever spelling.
func parseList[T comparable](list string, names []string, parse func(string) (T, error), faults []error) ([]T, []error) {
	parsed := make([]T, 0, len(names))
	first := make(map[T]int, len(names))
	for i, name := range names {
		item, err := parse(name)
		if err == nil {
			if j, repeated := first[item]; repeated {
				err = fmt.Errorf("%q repeats %s[%d] (%q)", name, list, j, names[j])
			} else {
				first[item] = i
			}
		}
		if err != nil {
			faults = append(faults, &NameError{List: list, Index: i, Name: name, Err: err})
			continue
		}
		parsed = append(parsed, item)
	}
	return parsed, faults
}

func parseTLS12(name string) (Suite, error) {
	s, err := ParseSuite(name)
	if err == nil && s.TLS13() {
		return s, fmt.Errorf("%q is a TLS 1.3 cipher suite; it belongs in tls13", name)
	}
	return s, err
}

func parseTLS13(name string) (Suite, error) {
	s, err := ParseSuite(name)
	if err == nil && !s.TLS13() {
		return s, fmt.Errorf("%q is a TLS 1.2 cipher suite; it belongs in tls12", name)
	}
	return s, err
}

// Preference is the order in which [Policy.Select] tries the TLS 1.2 suites.
// TLS13 is in order of preference already.
func (p *Policy) Preference() []Suite { return slices.Clone(p.preference()) }

func (p *Policy) preference() []Suite {
	if p.order == nil {
		return p.TLS12
	}
	return p.order
}

// Have is what one listener has to serve a policy with.
type Have struct {
	Keys   []KeyType               // of its certificates
	Serves func(suite uint16) bool // whether an engine can; nil means all of them
}

// Unserved is a suite that a policy names and a listener cannot serve.
type Unserved struct {
	Suite Suite
	Why   string // "no engine", "no RSA certificate", …
}

// Bind returns a copy of the policy as a listener can serve it, and what fell
// away, TLS 1.2's first, in the order of the lists. If nothing is left of both
// lists the listener can serve nobody.
//
// A policy that is not bound is taken to be served with every kind of key.
func (p *Policy) Bind(have Have) (*Policy, []Unserved) {
	bound := &Policy{
		Name:   p.Name,
		Groups: slices.Clone(p.Groups),
		keys:   make([]KeyType, 0, len(keyPreference)),
		fips:   p.fips,
	}
	for _, k := range keyPreference {
		if slices.Contains(have.Keys, k) {
			bound.keys = append(bound.keys, k)
		}
	}
	var unserved []Unserved
	keep := func(suites []Suite) []Suite {
		kept := make([]Suite, 0, len(suites))
		for _, s := range suites {
			if why := bound.whyUnserved(s, have.Serves); why != "" {
				unserved = append(unserved, Unserved{s, why})
				continue
			}
			kept = append(kept, s)
		}
		return kept
	}
	bound.TLS12 = keep(p.TLS12)
	bound.TLS13 = keep(p.TLS13)
	for _, s := range p.preference() {
		if slices.Contains(bound.TLS12, s) {
			bound.order = append(bound.order, s)
		}
	}
	return bound, unserved
}

// whyUnserved says what a listener lacks for a suite, or "" if nothing.
func (p *Policy) whyUnserved(s Suite, serves func(uint16) bool) string {
	if serves != nil && !serves(s.ID) {
		return "no engine"
	}
	switch s.Auth {
	case AuthRSA:
		if !p.hasKey(RSA) {
			return "no RSA certificate"
		}
	case AuthECDSA:
		// crypto/tls and RFC 8422 §5.3 count Ed25519 among these.
		if !p.hasKey(ECDSAP256) && !p.hasKey(ECDSAP384) && !p.hasKey(Ed25519) {
			return "no ECDSA certificate"
		}
	case AnyAuth:
		if len(p.keys) == 0 {
			return "no certificate"
		}
	}
	if s.TLS13() && !slices.ContainsFunc(p.Groups, Group.forTLS13) {
		return "no group for TLS 1.3"
	}
	if s.KeyExchange == ECDHE && firstOfKind(p.Groups, ellipticCurve) == 0 {
		return "no elliptic curve group"
	}
	return ""
}

func (p *Policy) hasKey(k KeyType) bool { return p.keys == nil || slices.Contains(p.keys, k) }

// ffdheGroups are the groups for DHE, in order of preference.
func (p *Policy) ffdheGroups() []Group {
	if firstOfKind(p.Groups, finiteField) != 0 {
		return p.Groups
	}
	return defaultFFDHE[:]
}
