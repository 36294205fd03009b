package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Reason names why a client is refused. The names are stable: they are the
// log field "reason" and a metric label.
type Reason string

// The reasons of [Policy.Select].
const (
	// UnsupportedVersion: the client has no version of the policy.
	UnsupportedVersion Reason = "unsupported_version"
	// InappropriateFallback: the client came down to a version below the
	// policy's best after a first try that failed (RFC 7507).
	InappropriateFallback Reason = "inappropriate_fallback"
	// NoCommonSuite: the client offers no suite of the policy for the version.
	NoCommonSuite Reason = "no_common_suite"
	// NoCommonGroup: there is a suite, but no group to exchange keys in.
	NoCommonGroup Reason = "no_common_group"
	// NoCommonDHEGroup: only DHE suites are left, and the client wants finite
	// field groups that the policy does not have (RFC 7919 §4).
	NoCommonDHEGroup Reason = "no_common_dhe_group"
	// NoCommonSignatureAlgorithm: the client can check no signature that the
	// listener's keys can make.
	NoCommonSignatureAlgorithm Reason = "no_common_signature_algorithm"
	// IncompatiblePointFormats: the client excludes uncompressed points, which
	// every client must take (RFC 8422 §5.1.2).
	IncompatiblePointFormats Reason = "incompatible_point_formats"
	// MissingExtension: a TLS 1.3 hello without supported_groups or
	// signature_algorithms (RFC 8446 §9.2).
	MissingExtension Reason = "missing_extension"
	// NoExtendedMasterSecret: a TLS 1.2 client without it, in FIPS 140-3 mode,
	// whose key derivation needs it (RFC 7627).
	NoExtendedMasterSecret Reason = "no_extended_master_secret"
)

// alert is the TLS AlertDescription for the reason (RFC 8446 §6).
func (r Reason) alert() uint8 {
	switch r {
	case UnsupportedVersion:
		return 70 // protocol_version
	case InappropriateFallback:
		return 86 // inappropriate_fallback
	case NoCommonDHEGroup:
		return 71 // insufficient_security
	case IncompatiblePointFormats:
		return 47 // illegal_parameter
	case MissingExtension:
		return 109 // missing_extension
	}
	return 40 // handshake_failure
}

// Refusal is the error of [Policy.Select].
type Refusal struct {
	Cause   Reason
	Alert   uint8   // TLS AlertDescription to send (RFC 8446 §6)
	Version Version // what was settled on before; 0 if no version was
	Detail  string  // for the operator; holds nothing that a client could have worded
}

// Error is the cause and the detail.
func (r *Refusal) Error() string { return fmt.Sprintf("policy: %s: %s", r.Cause, r.Detail) }

// Reason is the cause as a string.
func (r *Refusal) Reason() string { return string(r.Cause) }

// maxListed is how many values of a kind a detail spells out.
const maxListed = 8

// refuse makes the refusal. version is the one that was settled on, 0 if none.
func (p *Policy) refuse(cause Reason, version Version, o *Offer) *Refusal {
	return &Refusal{Cause: cause, Alert: cause.alert(), Version: version, Detail: p.detail(cause, version, o)}
}

func (p *Policy) detail(cause Reason, version Version, o *Offer) string {
	switch cause {
	case UnsupportedVersion:
		theirs := o.Versions
		if len(theirs) == 0 && o.LegacyVersion != 0 {
			theirs = []Version{min(o.LegacyVersion, TLS12)}
		}
		return fmt.Sprintf("client offers %s; policy %s allows %s", offered(theirs, Version.String), p.Name, list(p.versions(), Version.String))
	case InappropriateFallback:
		return fmt.Sprintf("client fell back to %s after a failed first try; policy %s allows %s", version, p.Name, p.best())
	case NoCommonSuite:
		return fmt.Sprintf("%s: client offers %s; policy %s allows %s", version,
			offered(suitesFor(version, o.Suites), suiteName), p.Name, list(p.suites(version), func(s Suite) string { return s.OpenSSLName }))
	case NoCommonGroup:
		usable := Group.forTLS13
		if version == TLS12 {
			usable = func(g Group) bool { return g.kind() == ellipticCurve }
		}
		return p.groupDetail(version, o, p.Groups, usable)
	case NoCommonDHEGroup:
		return p.groupDetail(version, o, p.ffdheGroups(), Group.inFFDHERange)
	case NoCommonSignatureAlgorithm:
		keys := p.keys
		if keys == nil {
			keys = keyPreference[:]
		}
		return fmt.Sprintf("%s: client checks signatures %s; the certificates have keys %s", version,
			offered(o.Signatures, SignatureScheme.String), list(keys, KeyType.String))
	case IncompatiblePointFormats:
		return fmt.Sprintf("%s: client excludes uncompressed elliptic curve points", version)
	case MissingExtension:
		missing := "signature_algorithms"
		if len(o.Groups) == 0 {
			missing = "supported_groups"
		}
		return fmt.Sprintf("%s: client sends no %s", version, missing)
	case NoExtendedMasterSecret:
		return fmt.Sprintf("%s: client offers no extended_master_secret, which FIPS 140-3 mode needs", version)
	}
	return ""
}

// groupDetail shows the client's groups and which of ours it could have had.
func (p *Policy) groupDetail(version Version, o *Offer, ours []Group, usable func(Group) bool) string {
	ours = slices.DeleteFunc(slices.Clone(ours), func(g Group) bool { return !usable(g) })
	return fmt.Sprintf("%s: client offers groups %s; policy %s allows %s", version,
		offered(o.Groups, Group.String), p.Name, list(ours, Group.String))
}

// versions are those of the policy, the highest first.
func (p *Policy) versions() []Version {
	var all []Version
	if len(p.TLS13) > 0 {
		all = append(all, TLS13)
	}
	if len(p.TLS12) > 0 {
		all = append(all, TLS12)
	}
	return all
}

// suites are those of the policy for one version, in order of preference.
func (p *Policy) suites(v Version) []Suite {
	if v == TLS13 {
		return p.TLS13
	}
	return p.preference()
}

// suitesFor leaves out what is no suite for the version: signals, and the
// suites of the other version, which every client that speaks both offers.
func suitesFor(v Version, ids []uint16) []uint16 {
	var kept []uint16
	for _, id := range ids {
		signal := id == fallbackSCSV || id == emptyRenegotiationSCSV
		tls13 := id>>8 == 0x13 // RFC 8446 §B.4
		if !signal && tls13 == (v == TLS13) {
			kept = append(kept, id)
		}
	}
	return kept
}

// suiteName is a suite's OpenSSL name, which is short and what the clients'
// tools print, or its number in hexadecimal.
func suiteName(id uint16) string {
	if s, ok := SuiteByID(id); ok {
		return s.OpenSSLName
	}
	return fmt.Sprintf("0x%04X", id)
}

// list spells values out, but not too many.
func list[T any](values []T, name func(T) string) string {
	if len(values) == 0 {
		return "none"
	}
	var names []string
	for _, v := range values[:min(len(values), maxListed)] {
		names = append(names, name(v))
	}
	text := strings.Join(names, ", ")
	if more := len(values) - maxListed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// offered spells out values of a client's, without GREASE.
func offered[T ~uint16](values []T, name func(T) string) string {
	return list(slices.DeleteFunc(slices.Clone(values), isGREASE[T]), name)
}

// isGREASE reports whether a value only tests that servers ignore what they
// do not know: 0x0A0A, 0x1A1A and so on (RFC 8701 §2).
func isGREASE[T ~uint16](v T) bool { return v&0x0F0F == 0x0A0A && v>>8 == v&0xFF }
