package policy

import "slices"

// What FIPS 140-3 mode serves is what Go's cryptographic module approves and
// crypto/tls holds to in that mode. TestFIPSAgainstCryptoTLS has crypto/tls say
// so itself, so that a new version of Go cannot change its mind unnoticed.

// FIPS reports whether FIPS 140-3 mode serves the suite. It has neither RSA nor
// finite field key exchange, nor ChaCha20, nor SHA-1, and of CBC one alone.
func (s Suite) FIPS() bool {
	if s.KeyExchange != ECDHE && s.KeyExchange != AnyKeyExchange {
		return false
	}
	switch s.Cipher {
	case AES128GCM, AES256GCM:
		return true
	case AES128CBC:
		return s.MAC == SHA256
	}
	return false
}

// FIPS reports whether FIPS 140-3 mode exchanges keys in the group. X25519 is
// approved beside ML-KEM alone.
func (g Group) FIPS() bool {
	switch g {
	case X25519MLKEM768, P256, P384, P521:
		return true
	}
	return false
}

// NotFIPS are the policy's suites that FIPS 140-3 mode does not serve, TLS 1.3's
// first, in the order of the lists.
func (p *Policy) NotFIPS() []Suite {
	return slices.DeleteFunc(slices.Concat(p.TLS13, p.TLS12), Suite.FIPS)
}

// FIPS returns the policy as FIPS 140-3 mode serves it, which is what
// [Policy.Select] and the others then go by: without the suites and groups that
// are not approved, with TLS 1.3's suites in the order of crypto/tls, which has
// no other in that mode, and for clients of TLS 1.2 with extended master secret
// alone.
func (p *Policy) FIPS() *Policy {
	only := *p
	only.fips = true
	notApproved := func(s Suite) bool { return !s.FIPS() }
	only.TLS12 = slices.DeleteFunc(slices.Clone(p.TLS12), notApproved)
	only.order = slices.DeleteFunc(slices.Clone(p.order), notApproved)
	only.TLS13 = slices.DeleteFunc(slices.Clone(p.TLS13), notApproved)
	slices.SortFunc(only.TLS13, func(a, b Suite) int { return int(a.Cipher) - int(b.Cipher) })
	only.Groups = slices.DeleteFunc(slices.Clone(p.Groups), func(g Group) bool { return !g.FIPS() })
	return &only
}
