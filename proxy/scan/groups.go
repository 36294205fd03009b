package scan

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// groups are the groups that are asked for, the usual ones first (IANA "TLS
// Supported Groups").
var groups = [...]struct {
	group policy.Group
	name  string
}{
	{4588, "X25519MLKEM768"}, {29, "X25519"}, {23, "P-256"}, {24, "P-384"}, {25, "P-521"}, {30, "X448"},
	{4587, "SecP256r1MLKEM768"}, {4589, "SecP384r1MLKEM1024"},
	{256, "ffdhe2048"}, {257, "ffdhe3072"}, {258, "ffdhe4096"}, {259, "ffdhe6144"}, {260, "ffdhe8192"},
	{512, "MLKEM512"}, {513, "MLKEM768"}, {514, "MLKEM1024"}, {25497, "X25519Kyber768Draft00"},
	{26, "brainpoolP256r1"}, {27, "brainpoolP384r1"}, {28, "brainpoolP512r1"},
	{31, "brainpoolP256r1tls13"}, {32, "brainpoolP384r1tls13"}, {33, "brainpoolP512r1tls13"},
	{41, "curveSM2"}, {22, "secp256k1"}, {21, "secp224r1"}, {20, "secp224k1"}, {19, "secp192r1"}, {18, "secp192k1"},
	{17, "secp160r2"}, {16, "secp160r1"}, {15, "secp160k1"},
	{14, "sect571r1"}, {13, "sect571k1"}, {12, "sect409r1"}, {11, "sect409k1"}, {10, "sect283r1"}, {9, "sect283k1"},
	{8, "sect239k1"}, {7, "sect233r1"}, {6, "sect233k1"}, {5, "sect193r2"}, {4, "sect193r1"}, {3, "sect163r2"},
	{2, "sect163r1"}, {1, "sect163k1"},
	{34, "GC256A"}, {35, "GC256B"}, {36, "GC256C"}, {37, "GC256D"}, {38, "GC512A"}, {39, "GC512B"}, {40, "GC512C"},
}

func allGroups() []policy.Group {
	all := make([]policy.Group, 0, len(groups))
	for i := range groups {
		all = append(all, groups[i].group)
	}
	return all
}

// groupName is the group's usual name, or its number in hexadecimal.
func groupName(g policy.Group) string {
	for i := range groups {
		if groups[i].group == g {
			return groups[i].name
		}
	}
	return g.String()
}

// findGroups finds out in what groups the server exchanges keys, when suites of a
// version are offered.
func (e *elimination) findGroups(ctx context.Context, v *Version, suites []uint16) error {
	if v.Version != policy.TLS13 {
		suites = suitesWith(suites, "TLS_ECDHE_", "TLS_ECDH_anon_")
		// A certificate with a key on a curve narrows down what groups are good for
		// it, and other certificates do not.
		if others := slices.DeleteFunc(slices.Clone(suites), isECDSA); len(others) > 0 {
			suites = others
		}
	}
	if len(suites) == 0 {
		return nil
	}
	found, kept, err := e.groups(ctx, suites)
	if err != nil {
		return err
	}
	for _, g := range found {
		v.Groups = append(v.Groups, Group{Name: groupName(g), ID: g})
	}
	if kept == 0 || found[len(found)-1] != kept {
		return nil
	}
	// The server was left to choose the certificate's curve and others, and it chose
	// the curve. Either it accepts none of the others, or it likes them less.
	byClient, err := e.groupsByClient(ctx, suites, found)
	if err != nil || byClient {
		return err
	}
	v.GroupsHiddenBehind = groupName(kept)
	e.prober.note("%s: the server needs %s for its ECDSA certificate, and chooses it before any group that it may like less: such a group is not seen, and no client gets it", v.Version, groupName(kept))
	return nil
}

func isECDSA(id uint16) bool { return strings.HasPrefix(policy.SuiteName(id), "TLS_ECDHE_ECDSA_") }

// groups returns those that the server exchanges keys in, in the order in which
// it chose them. kept is the curve of the server's certificate if that has to be
// offered all the time (RFC 8422 §5.1): it comes last in each hello, so that one
// with the client's order chooses it last. Otherwise it is 0.
func (e *elimination) groups(ctx context.Context, suites []uint16) (found []policy.Group, kept policy.Group, err error) {
	offer := allGroups()
	for len(offer) > 0 {
		a, err := e.ask(ctx, func(h *hello) { h.suites, h.groups = suites, offer })
		if err != nil {
			return nil, 0, err
		}
		if a == nil {
			return found, kept, nil
		}
		at := slices.Index(offer, a.group)
		if at < 0 {
			return found, kept, nil // it does not look at what the client can
		}
		if curve := keyCurve(a); len(found) == 0 && kept == 0 && curve != 0 {
			kept = curve
			offer = append(without(offer, kept), kept)
			if a.group == kept {
				continue // it may choose another, now that it is the last
			}
			at = slices.Index(offer, a.group)
		}
		found = append(found, a.group)
		offer = slices.Delete(slices.Clone(offer), at, at+1)
	}
	return found, kept, nil
}

// groupsByClient reports whether the last two of the groups come the other way
// round for a client with that order.
func (e *elimination) groupsByClient(ctx context.Context, suites []uint16, found []policy.Group) (bool, error) {
	if len(found) < 2 {
		return false, nil
	}
	offer := slices.Clone(found[len(found)-2:])
	slices.Reverse(offer)
	a, err := e.ask(ctx, func(h *hello) { h.suites, h.groups = suites, offer })
	return a != nil && a.group == offer[0], err
}

// keyCurves are those that certificates have keys on.
var keyCurves = map[string]policy.Group{"P-224": 21, "P-256": policy.P256, "P-384": policy.P384, "P-521": policy.P521}

// keyCurve is that of the certificate that an ECDSA suite is accepted with, or 0.
func keyCurve(a *answer) policy.Group {
	if !isECDSA(a.suite) || len(a.chain) == 0 {
		return 0
	}
	leaf, err := x509.ParseCertificate(a.chain[0])
	if err != nil {
		return 0 // the report says so
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return 0 // as that of Ed25519
	}
	return keyCurves[key.Curve.Params().Name]
}

func without(all []policy.Group, g policy.Group) []policy.Group {
	return slices.DeleteFunc(slices.Clone(all), func(other policy.Group) bool { return other == g })
}
