package clientauth

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Concerns are what keeps clients out, or soon will, and hardly is meant to:
// authorities that have expired or have no CRL, and CRLs that are stale. They
// are about the files as they are now.
func (v *Verifier) Concerns() []*SettingError {
	t, now := v.trust.Load(), v.now()
	var list []*SettingError
	concern := func(field, format string, args ...any) {
		list = append(list, &SettingError{field, fmt.Errorf(format, args...)})
	}
	for _, authority := range t.all {
		name := quote(formatDN(authority.RawSubject))
		if now.After(authority.NotAfter) {
			concern("ca", "the authority %s has expired at %s", name, authority.NotAfter.UTC().Format(time.RFC3339))
		}
		if len(v.settings.CRLs) > 0 && !v.settings.AllowStaleCRL && !t.crls.has(authority) {
			concern("crl", "there is no CRL of the authority %s: its clients are refused", name)
		}
	}
	for _, issuer := range slices.Sorted(maps.Keys(t.crls)) {
		for _, c := range t.crls[issuer] {
			if !c.current(now) && t.crls.newest(c) {
				concern("crl", "%s, of %s, is for %s to %s alone", c.file, quote(formatDN(c.list.RawIssuer)),
					c.list.ThisUpdate.UTC().Format(time.RFC3339), c.list.NextUpdate.UTC().Format(time.RFC3339))
			}
		}
	}
	return list
}

// NextUpdate is when the first of the CRLs that count becomes stale, and zero
// without CRLs.
func (v *Verifier) NextUpdate() (first time.Time) {
	t := v.trust.Load()
	for _, list := range t.crls {
		for _, c := range list {
			if t.crls.newest(c) && (first.IsZero() || c.list.NextUpdate.Before(first)) {
				first = c.list.NextUpdate
			}
		}
	}
	return first
}

// has says whether there is a CRL of an authority, stale or not.
func (all crls) has(authority *x509.Certificate) bool {
	return slices.ContainsFunc(all[string(authority.RawSubject)], func(c *crl) bool { return c.isOf(authority) })
}

// newest says that no other CRL of the same key and scope is newer.
func (all crls) newest(c *crl) bool {
	return !slices.ContainsFunc(all[string(c.list.RawIssuer)], func(other *crl) bool {
		return other.newer(c) && string(other.list.AuthorityKeyId) == string(c.list.AuthorityKeyId) && slices.Equal(other.points, c.points) &&
			other.onlyUsers == c.onlyUsers && other.onlyAuthorities == c.onlyAuthorities
	})
}
