package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// What a client is taken to say that was described by its suites alone.
var (
	usualGroups     = []policy.Group{policy.X25519, policy.P256, policy.P384, policy.P521}
	usualSignatures = []string{"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512", "ed25519",
		"rsa_pss_rsae_sha256", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512",
		"rsa_pkcs1_sha256", "rsa_pkcs1_sha384", "rsa_pkcs1_sha512"}
)

// typedOffer makes an offer from what was typed. Versions that were not are
// those of the suites; groups and signature algorithms are those of present-day
// clients, and the first group comes with a key share.
func (c *policyExplainCommand) typedOffer() (policy.Offer, error) {
	o := policy.Offer{LegacyVersion: policy.TLS12, PointFormats: []uint8{0}, Groups: usualGroups, ServerName: c.SNI, ExtendedMasterSecret: true}
	var faults [4]error
	o.Suites, faults[0] = parseTyped(c.Offer, parseOfferedSuite)
	if c.Versions != "" {
		o.Versions, faults[1] = parseTyped(c.Versions, parseVersion)
	} else {
		o.Versions = versionsFor(o.Suites)
	}
	if c.Groups != "" {
		o.Groups, faults[2] = parseTyped(c.Groups, parseOfferedGroup)
	}
	signatures := c.Signatures
	if signatures == "" {
		signatures = strings.Join(usualSignatures, ",")
	}
	o.Signatures, faults[3] = parseTyped(signatures, parseSignature)
	if err := errors.Join(faults[:]...); err != nil {
		return policy.Offer{}, usageHint(err, "a number of IANA's will do for a name, such as 0xC02F")
	}
	if slices.Contains(o.Versions, policy.TLS13) && len(o.Groups) > 0 {
		o.KeyShares = o.Groups[:1]
	}
	return o, nil
}

// parseTyped parses a list of names with commas or colons between them; "none"
// is an empty one.
func parseTyped[T any](list string, parse func(string) (T, error)) ([]T, error) {
	if list == "none" {
		return nil, nil
	}
	var parsed []T
	var faults []error
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ':' || r == ' ' }) {
		item, err := parse(name)
		if err != nil {
			faults = append(faults, err)
		}
		parsed = append(parsed, item)
	}
	return parsed, errors.Join(faults...)
}

// versionsFor are the versions that suites are for, the newer first.
func versionsFor(suites []uint16) []policy.Version {
	var versions []policy.Version
	tls13 := func(id uint16) bool { return id>>8 == 0x13 } // RFC 8446 §B.4
	if slices.ContainsFunc(suites, tls13) {
		versions = append(versions, policy.TLS13)
	}
	if slices.ContainsFunc(suites, func(id uint16) bool { return !tls13(id) }) {
		versions = append(versions, policy.TLS12)
	}
	return versions
}

// parseOfferedSuite knows more suites than a policy can name: clients offer
// them.
func parseOfferedSuite(name string) (uint16, error) {
	suite, err := policy.ParseSuite(name)
	if err == nil {
		return suite.ID, nil
	}
	return numbered(name, policy.SuiteName, err)
}

func parseVersion(name string) (policy.Version, error) {
	for v := policy.SSL30; v <= policy.TLS13; v++ {
		bare := strings.TrimPrefix(strings.TrimPrefix(v.String(), "TLSv"), "SSLv")
		if strings.EqualFold(name, v.String()) || name == bare || strings.EqualFold(name, "TLS"+bare) {
			return v, nil
		}
	}
	return numbered(name, policy.Version.String, fmt.Errorf("unknown version %q", name))
}

func parseOfferedGroup(name string) (policy.Group, error) {
	group, err := policy.ParseGroup(name)
	if err == nil {
		return group, nil
	}
	return numbered(name, policy.Group.String, err)
}

func parseSignature(name string) (policy.SignatureScheme, error) {
	return numbered(name, policy.SignatureScheme.String, fmt.Errorf("unknown signature algorithm %q", name))
}

// numbered is the value that a name belongs to, or that it gives as a number.
func numbered[T ~uint16](name string, nameOf func(T) string, unknown error) (T, error) {
	if strings.HasPrefix(strings.ToLower(name), "0x") {
		value, err := strconv.ParseUint(name, 0, 16)
		if err != nil {
			return 0, unknown
		}
		return T(value), nil
	}
	for value := range 1 << 16 {
		if strings.EqualFold(name, nameOf(T(value))) {
			return T(value), nil
		}
	}
	return 0, unknown
}

// keyNames are what people call the kinds of keys, besides their names.
var keyNames = map[string]policy.KeyType{
	"rsa": policy.RSA, "p256": policy.ECDSAP256, "p-256": policy.ECDSAP256, "ecdsa": policy.ECDSAP256,
	"p384": policy.ECDSAP384, "p-384": policy.ECDSAP384, "ed25519": policy.Ed25519,
}

func allKeys() []policy.KeyType {
	sets := policy.KeySets()
	return sets[len(sets)-1].Types()
}

// parseKeys are the kinds of keys of a list, in the order in which they are
// tried; all of them for an empty one.
func parseKeys(list string) ([]policy.KeyType, error) {
	if list == "" {
		return allKeys(), nil
	}
	keys, err := parseTyped(list, func(name string) (policy.KeyType, error) {
		for _, k := range allKeys() {
			if strings.EqualFold(name, k.String()) {
				return k, nil
			}
		}
		if k, ok := keyNames[strings.ToLower(name)]; ok {
			return k, nil
		}
		return policy.NoKey, fmt.Errorf("unknown kind of key %q", name)
	})
	if err == nil && len(keys) == 0 {
		err = errors.New("--key names none")
	}
	if err != nil {
		return nil, usageHint(err, "there are: rsa, p256, p384, ed25519")
	}
	return policy.Keys(keys...).Types(), nil
}
