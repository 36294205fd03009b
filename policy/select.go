package policy

import "slices"

// Offer is what a client said in its ClientHello, with GREASE values
// (RFC 8701) and signalling suites still in it.
type Offer struct {
	Versions      []Version         // supported_versions, or every version that LegacyVersion implies
	LegacyVersion Version           // legacy_version; read only when Versions is empty
	Suites        []uint16          // cipher_suites
	Groups        []Group           // supported_groups
	KeyShares     []Group           // groups of key_share
	PointFormats  []uint8           // ec_point_formats; empty when the extension is absent
	Signatures    []SignatureScheme // signature_algorithms; empty when the extension is absent
	ServerName    string            // never part of the decision

	// ExtendedMasterSecret says that the client offers it (RFC 7627), which matters
	// for TLS 1.2 in FIPS 140-3 mode alone.
	ExtendedMasterSecret bool
}

// Decision is what a connection gets.
type Decision struct {
	Version Version
	Suite   Suite
	Group   Group   // 0 with RSA key exchange
	Key     KeyType // of the certificate to answer with
}

// fallbackSCSV marks a hello as the second try of a client whose first failed
// with a higher version (RFC 7507).
const fallbackSCSV = 0x5600

// Select decides what a client gets, by the server's preference throughout:
// the highest version that both have, then the first suite that can be done
// with the client's groups, signature algorithms and the listener's keys. It
// decides nothing that an engine cannot do when it is narrowed to the decision;
// tests ask crypto/tls (Go 1.26), as far as that has the suites.
//
// The error is a [*Refusal]. Nothing is allocated for a client that is let in.
func (p *Policy) Select(o Offer) (Decision, error) {
	decision, refusal := p.decide(&o, nil)
	if refusal != nil {
		return Decision{}, refusal
	}
	return decision, nil
}

// Judge is why [Policy.Select] would refuse an offer, or "" if it would not. It
// allocates nothing, for policies that are asked about every client beside the
// one in force.
func (p *Policy) Judge(o *Offer) Reason {
	_, _, reason := p.settle(o, nil)
	return reason
}

// decide is [Policy.settle] with a refusal's words.
func (p *Policy) decide(o *Offer, tr *tracer) (Decision, *Refusal) {
	decision, version, reason := p.settle(o, tr)
	if reason != "" {
		return Decision{}, p.refuse(reason, version, o)
	}
	return decision, nil
}

// settle is what [Policy.Select], [Policy.Explain] and [Policy.Judge] have in
// common, which is everything: the tracer is nil but for Explain. The version is
// how far it came where there is a reason against the client, 0 for not that far.
func (p *Policy) settle(o *Offer, tr *tracer) (Decision, Version, Reason) {
	version := p.version(o, tr)
	if version == 0 {
		return Decision{}, 0, UnsupportedVersion
	}
	// RFC 7507 §3. What we can do at best is the measure, not what the client
	// claims elsewhere in the hello.
	if slices.Contains(o.Suites, fallbackSCSV) {
		refused := version != p.best()
		tr.fallback(version, refused)
		if refused {
			return Decision{}, version, InappropriateFallback
		}
	}
	var decision Decision
	var reason Reason
	if version == TLS13 {
		decision, reason = p.selectTLS13(o, tr)
	} else {
		decision, reason = p.selectTLS12(o, tr)
	}
	return decision, version, reason
}

// version is the highest that both sides have, or 0. It is settled before the
// suite: a client that speaks TLS 1.3 would take TLS 1.2 for a downgrade
// attack (RFC 8446 §4.1.3).
func (p *Policy) version(o *Offer, tr *tracer) Version {
	if tr.version(TLS13, len(p.TLS13) > 0, slices.Contains(o.Versions, TLS13)) {
		return TLS13
	}
	// Without supported_versions whatever is above TLS 1.2 means TLS 1.2
	// (RFC 8446 §4.2.1).
	implied := len(o.Versions) == 0 && o.LegacyVersion >= TLS12
	if tr.version(TLS12, len(p.TLS12) > 0, implied || slices.Contains(o.Versions, TLS12)) {
		return TLS12
	}
	return 0
}

// best is the highest version of the policy.
func (p *Policy) best() Version {
	if len(p.TLS13) > 0 {
		return TLS13
	}
	return TLS12
}

func (p *Policy) selectTLS13(o *Offer, tr *tracer) (Decision, Reason) {
	// RFC 8446 §9.2.
	if len(o.Groups) == 0 || len(o.Signatures) == 0 {
		return Decision{}, MissingExtension
	}
	suite := slices.IndexFunc(p.TLS13, func(s Suite) bool { return tr.offered(&s, slices.Contains(o.Suites, s.ID)) })
	if suite < 0 {
		return Decision{}, NoCommonSuite
	}
	tr.suite(&p.TLS13[suite], "")
	group := p.groupTLS13(o, tr)
	if group == 0 {
		return Decision{}, NoCommonGroup
	}
	for _, k := range keyPreference {
		if p.hasKey(k) && tr.key(k, TLS13, o.Signatures, k.signs(TLS13, o.Signatures)) {
			return Decision{TLS13, p.TLS13[suite], group, k}, ""
		}
	}
	return Decision{}, NoCommonSignatureAlgorithm
}

// groupTLS13 takes a post-quantum group if there is one, even at the price of
// a HelloRetryRequest: a client that did not predict it can still have it
// (draft-ietf-tls-key-share-prediction §4). Next comes a group whose key share
// is here already, then any. The policy's order settles the rest. 0 if there
// is no group in common.
func (p *Policy) groupTLS13(o *Offer, tr *tracer) Group {
	var chosen Group
	highest := -1
	for _, g := range p.Groups {
		if !g.forTLS13() {
			continue
		}
		if !slices.Contains(o.Groups, g) {
			tr.group(g, notOffered)
			continue
		}
		rank := 0
		if g.kind() == hybrid {
			rank += 2
		}
		if slices.Contains(o.KeyShares, g) {
			rank++
		}
		if rank > highest {
			tr.group(chosen, outranked)
			chosen, highest = g, rank
		} else {
			tr.group(g, outranked)
		}
	}
	tr.groupByRank(chosen, highest)
	return chosen
}

func (p *Policy) selectTLS12(o *Offer, tr *tracer) (Decision, Reason) {
	// RFC 8422 §5.1.2. The engines refuse these for every key exchange.
	if len(o.PointFormats) > 0 && !slices.Contains(o.PointFormats, 0) {
		return Decision{}, IncompatiblePointFormats
	}
	var unlisted Decision
	reason := NoCommonSuite
	order := p.preference()
	for i := range order {
		s := &order[i]
		if !tr.offered(s, slices.Contains(o.Suites, s.ID)) {
			continue
		}
		group, obstacle := p.groupTLS12(s.KeyExchange, o, tr)
		if obstacle == "" {
			key, listed := p.keyTLS12(s, o, tr)
			if key != NoKey {
				d := Decision{TLS12, *s, group, key}
				if listed {
					tr.suite(s, "")
					return p.decided(d, o)
				}
				tr.setAside(s, key)
				if unlisted.Version == 0 {
					unlisted = d
				}
				continue
			}
			obstacle = NoCommonSignatureAlgorithm
		}
		tr.suite(s, obstacle)
		// What stood in the way of the best suite is what to tell, unless the
		// FFDHE groups did: they have an alert of their own.
		if reason == NoCommonSuite || obstacle == NoCommonDHEGroup {
			reason = obstacle
		}
	}
	if unlisted.Version != 0 {
		tr.takeAside(&unlisted.Suite)
		return p.decided(unlisted, o)
	}
	return Decision{}, reason
}

// decided is the decision for a client of TLS 1.2, unless crypto/tls breaks it off
// in FIPS 140-3 mode.
func (p *Policy) decided(d Decision, o *Offer) (Decision, Reason) {
	if p.fips && !o.ExtendedMasterSecret {
		return Decision{}, NoExtendedMasterSecret
	}
	return d, ""
}

// groupTLS12 is the group for a key exchange, 0 if it needs none, and what
// stands in the way of the key exchange, if anything.
func (p *Policy) groupTLS12(kx KeyExchange, o *Offer, tr *tracer) (Group, Reason) {
	switch kx {
	case ECDHE:
		// A client that lists no groups could take any (RFC 8422 §4);
		// the engines want to see one of ours.
		if g := commonGroup(p.Groups, o.Groups, ellipticCurve, tr); g != 0 {
			return g, ""
		}
		return 0, NoCommonGroup
	case DHE:
		ours := p.ffdheGroups()
		if g := commonGroup(ours, o.Groups, finiteField, tr); g != 0 {
			return g, ""
		}
		// RFC 7919 §4: a client that lists finite field groups takes none
		// but those; one that lists none never heard of the RFC.
		if slices.ContainsFunc(o.Groups, Group.inFFDHERange) {
			return 0, NoCommonDHEGroup
		}
		g := firstOfKind(ours, finiteField)
		tr.groupUnasked(g)
		return g, ""
	}
	return 0, ""
}

// keyTLS12 is the key to authenticate a suite with, NoKey if there is none
// that the client can check.
//
// An ECDSA key should lie in a group that the client lists (RFC 8422 §5.3).
// Clients rarely insist, and the engines serve such a key when there is no
// better one; listed is false for it, so that the caller can do the same.
func (p *Policy) keyTLS12(s *Suite, o *Offer, tr *tracer) (key KeyType, listed bool) {
	if s.KeyExchange == RSAKeyExchange {
		if p.hasKey(RSA) {
			tr.keyDecrypts()
			return RSA, true
		}
		return NoKey, false
	}
	for _, k := range keyPreference {
		if k.auth() != s.Auth || !p.hasKey(k) || !tr.key(k, TLS12, o.Signatures, k.signs(TLS12, o.Signatures)) {
			continue
		}
		if curve := k.curve(); curve == 0 || slices.Contains(o.Groups, curve) {
			return k, true
		}
		tr.keyUnlisted()
		if key == NoKey {
			key = k
		}
	}
	return key, false
}
