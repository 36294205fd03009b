package policy

import (
	"fmt"
	"slices"
)

// Group is a group to exchange keys in (IANA "TLS Supported Groups").
type Group uint16

// The groups that a policy may name.
const (
	P256           Group = 23
	P384           Group = 24
	P521           Group = 25
	X25519         Group = 29
	FFDHE2048      Group = 256
	FFDHE3072      Group = 257
	FFDHE4096      Group = 258
	X25519MLKEM768 Group = 4588
)

// groupKind says which key exchanges a group is good for.
type groupKind uint8

const (
	unknownGroup  groupKind = iota
	ellipticCurve           // TLS 1.2's ECDHE, and TLS 1.3
	hybrid                  // elliptic and post-quantum in one: TLS 1.3 only
	finiteField             // TLS 1.2's DHE (RFC 7919)
)

// groups is the only table of groups. The first name is the one to show, the
// rest are what else people call it.
var groups = [...]struct {
	group Group
	kind  groupKind
	names []string
}{
	{X25519MLKEM768, hybrid, []string{"X25519MLKEM768"}},
	{X25519, ellipticCurve, []string{"X25519"}},
	{P256, ellipticCurve, []string{"P-256", "P256", "secp256r1", "prime256v1"}},
	{P384, ellipticCurve, []string{"P-384", "P384", "secp384r1"}},
	{P521, ellipticCurve, []string{"P-521", "P521", "secp521r1"}},
	{FFDHE2048, finiteField, []string{"ffdhe2048"}},
	{FFDHE3072, finiteField, []string{"ffdhe3072"}},
	{FFDHE4096, finiteField, []string{"ffdhe4096"}},
}

// DefaultGroups are the groups of a policy that names none, in order of
// preference.
func DefaultGroups() []Group {
	return []Group{X25519MLKEM768, X25519, P256, P384}
}

// defaultFFDHE are the groups for DHE where a policy names no finite field
// group: the smallest first, because a client that lists none may be an old
// one that cannot calculate in a larger one.
var defaultFFDHE = [...]Group{FFDHE2048, FFDHE3072, FFDHE4096}

// String is the group's usual name ("X25519", "P-256"), or its number in
// hexadecimal if it is not one of ours.
func (g Group) String() string {
	for i := range groups {
		if groups[i].group == g {
			return groups[i].names[0]
		}
	}
	return fmt.Sprintf("0x%04x", uint16(g))
}

func (g Group) kind() groupKind {
	for i := range groups {
		if groups[i].group == g {
			return groups[i].kind
		}
	}
	return unknownGroup
}

// inFFDHERange reports whether the number is set aside for finite field
// groups, known to us or not (RFC 7919 §4).
func (g Group) inFFDHERange() bool { return 256 <= g && g <= 511 }

// forTLS13 reports whether TLS 1.3 can use the group here. RFC 8446 has the
// finite field groups too; no engine does.
func (g Group) forTLS13() bool {
	kind := g.kind()
	return kind == ellipticCurve || kind == hybrid
}

// commonGroup is the first of ours of one kind that the client lists, or 0.
func commonGroup(ours, theirs []Group, kind groupKind, tr *tracer) Group {
	for _, g := range ours {
		if g.kind() == kind && tr.groupOffered(g, slices.Contains(theirs, g)) {
			return g
		}
	}
	return 0
}

// firstOfKind is the first group of one kind, or 0.
func firstOfKind(ours []Group, kind groupKind) Group {
	for _, g := range ours {
		if g.kind() == kind {
			return g
		}
	}
	return 0
}
