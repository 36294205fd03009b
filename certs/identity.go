package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
)

// Identity stands for who the certificate says that the server is: its names,
// its type of key, and the authority that its chain leads to. It is equal for
// two certificates exactly where these are, and so it outlives renewals, and
// is the same for gateways of a fleet that hold different leaves for the same
// names. That is what a session may be resumed across; the bytes of the leaf
// would end every session with every renewal, and the names alone would let a
// session that one authority vouched for go on under another.
func (c Certificate) Identity() string { return c.identity }

// identify computes the identity of a certificate that is not in use yet.
func (c *Certificate) identify() {
	if c.identity != "" {
		return // of an earlier snapshot
	}
	names := serverNames(c.Leaf)
	slices.Sort(names)
	h := sha256.New()
	// Quoted, no name can be taken for two.
	fmt.Fprintf(h, "%q %v %x", slices.Compact(names), c.Key, c.chainEnd().RawIssuer)
	c.identity = string(h.Sum(nil))
}

// chainEnd is the last certificate of the chain. Its issuer is the authority:
// intermediates change from one renewal to the next.
func (c *Certificate) chainEnd() *x509.Certificate {
	chain := c.Certificate.Certificate
	if len(chain) > 1 {
		if last, err := x509.ParseCertificate(chain[len(chain)-1]); err == nil {
			return last
		}
	}
	return c.Leaf
}
