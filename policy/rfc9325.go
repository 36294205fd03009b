package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Standing is what RFC 9325 (BCP 195) says of a cipher suite, in its words.
type Standing uint8

// The standings, the best first.
const (
	Recommended Standing = iota
	Allowed              // neither recommended nor advised against
	ShouldNot
	MustNot
)

// String is the RFC's keyword; "allowed" is in small letters, because it is
// none.
func (s Standing) String() string {
	return [...]string{"RECOMMENDED", "allowed", "SHOULD NOT", "MUST NOT"}[s]
}

// Assessment is the standing of one suite and where the RFC says so.
type Assessment struct {
	Standing Standing
	Section  string // "4.1", "4.1, 4.2"; "" where the RFC does not mention the suite
	Why      string // "" for suites that are recommended or allowed
}

// String is the assessment in one line: "SHOULD NOT, §4.1: static RSA".
func (a Assessment) String() string {
	text := a.Standing.String()
	if a.Section != "" {
		text += ", §" + a.Section
	}
	if a.Why != "" {
		text += ": " + a.Why
	}
	return text
}

// rfc9325Faults are what the RFC has against suites, by what is in their
// names. A prefix ends in "_", and anything else is a whole word.
var rfc9325Faults = [...]struct {
	marks    string
	standing Standing
	section  string
	why      string
}{
	{"NULL", MustNot, "4.1", "no encryption"},
	{"RC4", MustNot, "4.1", "RC4"},
	{"EXPORT DES40 DES", MustNot, "4.1", "less than 112 bits of security"},
	{"3DES", ShouldNot, "4.1", "less than 128 bits of security"},
	{"TLS_RSA_WITH_", ShouldNot, "4.1", "static RSA"},
	{"TLS_DH_ TLS_ECDH_", ShouldNot, "4.1", "static Diffie-Hellman"},
	{"TLS_DHE_", ShouldNot, "4.1", "finite-field DHE"},
	{"CBC", ShouldNot, "4.2", "CBC unless with encrypt-then-MAC"},
}

// rfc9325Recommended are the suites of RFC 9325 §4.2, and of RFC 8446 §9.1, to
// which §4.3 sends for TLS 1.3.
var rfc9325Recommended = [...]struct{ name, section string }{
	{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "4.2"},
	{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "4.2"},
	{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "4.2"},
	{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "4.2"},
	{"TLS_AES_128_GCM_SHA256", "4.3"},
	{"TLS_AES_256_GCM_SHA384", "4.3"},
	{"TLS_CHACHA20_POLY1305_SHA256", "4.3"},
}

// AssessRFC9325 says what RFC 9325 has to say of a suite. It goes by IANA's
// name, and knows suites that no policy can have, too.
func AssessRFC9325(name string) Assessment {
	for _, r := range rfc9325Recommended {
		if r.name == name {
			return Assessment{Standing: Recommended, Section: r.section}
		}
	}
	words := strings.Split(name, "_")
	worst := Assessment{Standing: Allowed}
	var sections, reasons []string
	for _, fault := range rfc9325Faults {
		marked := slices.ContainsFunc(strings.Fields(fault.marks), func(mark string) bool {
			if strings.HasSuffix(mark, "_") {
				return strings.HasPrefix(name, mark)
			}
			return slices.Contains(words, mark)
		})
		if !marked || worst.Standing > fault.standing {
			continue // beside a MUST NOT no SHOULD NOT matters
		}
		worst.Standing = fault.standing
		reasons = append(reasons, fault.why)
		if !slices.Contains(sections, fault.section) {
			sections = append(sections, fault.section)
		}
	}
	worst.Section, worst.Why = strings.Join(sections, ", "), strings.Join(reasons, "; ")
	return worst
}

// MarshalText is String, for JSON.
func (s Standing) MarshalText() ([]byte, error) {
	if s > MustNot {
		return nil, fmt.Errorf("policy: no standing has the number %d", s)
	}
	return []byte(s.String()), nil
}
