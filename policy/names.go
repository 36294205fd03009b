package policy

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// UnknownNameError is the error of [ParseSuite] and [ParseGroup].
type UnknownNameError struct {
	Kind       string // "cipher suite" or "group"
	Name       string // as it was typed
	Why        string // why a real suite is never served; "" if the name is not known at all
	Suggestion string // a name that was perhaps meant; "" if none is near
}

func (e *UnknownNameError) Error() string {
	switch {
	case e.Why != "":
		return fmt.Sprintf("%s %q is never served: %s", e.Kind, e.Name, e.Why)
	case e.Suggestion != "":
		return fmt.Sprintf("unknown %s %q; did you mean %q?", e.Kind, e.Name, e.Suggestion)
	}
	return fmt.Sprintf("unknown %s %q", e.Kind, e.Name)
}

// ParseSuite finds a suite by its IANA or OpenSSL name, in upper or lower
// case. The error is an [*UnknownNameError].
func ParseSuite(name string) (Suite, error) {
	for i := range registry {
		if strings.EqualFold(name, registry[i].Name) || strings.EqualFold(name, registry[i].OpenSSLName) {
			return registry[i], nil
		}
	}
	unknown := &UnknownNameError{Kind: "cipher suite", Name: name, Why: whyNeverServed(name)}
	if unknown.Why == "" {
		var near nearest
		for i := range registry {
			near.consider(name, registry[i].Name)
			near.consider(name, registry[i].OpenSSLName)
		}
		unknown.Suggestion = near.name
	}
	return Suite{}, unknown
}

// ParseGroup finds a group by any of its names, in upper or lower case:
// "P-256" is "secp256r1" and "prime256v1". The error is an
// [*UnknownNameError].
func ParseGroup(name string) (Group, error) {
	var near nearest
	for i := range groups {
		for _, known := range groups[i].names {
			if strings.EqualFold(name, known) {
				return groups[i].group, nil
			}
			near.consider(name, known)
		}
	}
	return 0, &UnknownNameError{Kind: "group", Name: name, Suggestion: near.name}
}

// neverServed holds the words in suites' names that rule a suite out for good.
// The worse fault of a suite that has several comes first.
var neverServed = []struct{ words, why string }{
	{"NULL", "it does not encrypt"},
	{"EXPORT EXPORT40 EXPORT56 EXPORT1024 EXP EXP1024", "export keys are short enough to be found by trying"},
	{"ANON ADH AECDH", "anonymous key exchange lets anyone stand in the middle"},
	{"RC4", "RC4 is broken (RFC 7465)"},
	{"RC2", "RC2 is broken"},
	{"DES DES40 3DES CBC3", "DES and 3DES have blocks of 64 bits (CVE-2016-2183)"},
	{"IDEA", "IDEA has blocks of 64 bits (CVE-2016-2183)"},
	{"MD5", "MD5 is broken (RFC 6151)"},
	{"PSK SRP KRB5", "it needs a shared secret in place of a certificate"},
	{"DSS", "DSA certificates are not supported"},
	{"CCM CCM8 CAMELLIA CAMELLIA128 CAMELLIA256 ARIA ARIA128 ARIA256 SEED GOST GOST2001 GOST2012", "its cipher is not implemented"},
	{"ECDH DH", "static Diffie-Hellman keys give no forward secrecy"},
}

// whyNeverServed says what rules a suite out, or "" if nothing in its name
// does.
func whyNeverServed(name string) string {
	words := strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool { return r == '_' || r == '-' })
	for _, fault := range neverServed {
		for banned := range strings.FieldsSeq(fault.words) {
			for _, word := range words {
				if word == banned {
					return fault.why
				}
			}
		}
	}
	return ""
}

// maxTypedName is the longest name, in bytes, that is compared with known
// ones. The longest known one has 46.
const maxTypedName = 64

// nearest keeps the known name with the fewest changes from what was typed;
// of equally near ones the first.
type nearest struct {
	name     string
	distance int
}

func (n *nearest) consider(typed, known string) {
	if len(typed) > maxTypedName {
		return
	}
	from, to := plain(typed), plain(known)
	d := levenshtein.ComputeDistance(from, to)
	if len(from) >= 8 && strings.HasPrefix(to, from) {
		d = min(d, 1) // cut short
	}
	// Two letters change places easily; more than one change in every four
	// letters, or three in all, would be a guess.
	if d <= min(3, max(2, len(to)/4)) && (n.name == "" || d < n.distance) {
		n.name, n.distance = known, d
	}
}

// plain takes out of a name what people leave out, add or mix up most often:
// case, the separator, and the protocol in front.
func plain(name string) string {
	name = strings.ToUpper(name)
	name = strings.TrimPrefix(strings.TrimPrefix(name, "TLS_"), "SSL_") // Java says SSL_RSA_WITH_…
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return r
	}, name)
}
