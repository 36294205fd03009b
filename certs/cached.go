package certs

import (
	"bytes"
	"crypto/tls"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/policy"
)

// cached is one certificate of a source in certmagic's cache, where renewals
// replace it.
type cached struct {
	source string
	key    policy.KeyType
	lookup string                           // one of its names
	holds  func(certmagic.Certificate) bool // says which of that name it is

	current *Certificate // nil until it has been found
}

// find returns the newest certificate that the cache has, or what it found
// before if that is the one, or if the cache has none, or if the newest must
// not be served yet.
func (c *cached) find(cache *certmagic.Cache) *Certificate {
	var newest *certmagic.Certificate
	for _, cert := range cache.AllMatchingCertificates(c.lookup) {
		if c.holds(cert) && (newest == nil || cert.Leaf.NotBefore.After(newest.Leaf.NotBefore)) {
			newest = &cert
		}
	}
	if newest == nil {
		return c.current
	}
	now := time.Now()
	next := newest.Certificate
	next.OCSPStaple = freshStaple(next.OCSPStaple, now)
	if c.shows(&next) {
		return c.current
	}
	found := &Certificate{Certificate: &next, Source: c.source, Key: c.key}
	if !found.Unstapled() || !c.serves(now) {
		c.current = found
	}
	return c.current
}

// serves says whether the current certificate can go on being served.
func (c *cached) serves(now time.Time) bool {
	if c.current == nil || now.After(c.current.Leaf.NotAfter) {
		return false
	}
	return !mustStaple(c.current.Leaf) || freshStaple(c.current.OCSPStaple, now) != nil
}

// shows says whether the current certificate is this one, staple and all.
func (c *cached) shows(cert *tls.Certificate) bool {
	return c.current != nil && bytes.Equal(c.current.Leaf.Raw, cert.Leaf.Raw) && bytes.Equal(c.current.OCSPStaple, cert.OCSPStaple)
}

// findAll returns those of the certificates that have been found.
func findAll(cache *certmagic.Cache, places []*cached) []*Certificate {
	var found []*Certificate
	for _, c := range places {
		if cert := c.find(cache); cert != nil {
			found = append(found, cert)
		}
	}
	return found
}
