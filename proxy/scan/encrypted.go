package scan

import (
	"context"
	"errors"
	"slices"

	"github.com/suitegate/suitegate/policy"
)

// families are the kinds of keys that a server may have, each with the schemes
// that such a key alone can sign with in TLS 1.3 (RFC 8446 §4.2.3).
var families = [...][]uint16{
	{0x0804, 0x0805, 0x0806}, // RSA
	{0x0403},                 // ECDSA on P-256
	{0x0503},                 // on P-384
	{0x0603},                 // on P-521
	{0x0807},                 // Ed25519
	{0x0808},                 // Ed448
	{0x0809, 0x080a, 0x080b}, // RSA for PSS alone
	{0x081a, 0x081b, 0x081c}, // ECDSA on a Brainpool curve (RFC 8734)
	{0x0904, 0x0905, 0x0906}, // ML-DSA
}

// encrypted finds out what a TLS 1.3 server says where encryption has begun: its
// certificates, one for each kind of keys, whether it asks for the client's, and
// what ALPN protocols it chooses. accepted are its suites.
func (e *elimination) encrypted(ctx context.Context, v *Version, accepted []uint16) error {
	shares, err := e.prober.shares()
	if err != nil {
		return err
	}
	part := &elimination{prober: e.prober, hello: e.hello}
	h := &part.hello
	h.shares, h.whole = shares, true
	h.suites = slices.DeleteFunc(slices.Clone(accepted), func(id uint16) bool {
		_, known := ciphers13[id]
		return !known
	})
	h.groups = nil
	for _, g := range v.Groups {
		if slices.ContainsFunc(shares, func(s *keyShare) bool { return s.group == g.ID }) {
			h.groups = append(h.groups, g.ID)
		}
	}
	const unknown = "%s: what the server says encrypted, as ALPN and some of its certificates, is not known: %s"
	switch {
	case len(h.suites) == 0:
		e.prober.note(unknown, v.Version, "none of its suites is one that scan can decrypt")
		return nil
	case len(h.groups) == 0:
		e.prober.note(unknown, v.Version, "none of its groups is one that scan can calculate in")
		return nil
	}
	err = part.chains(ctx)
	if err == nil {
		err = part.alpn(ctx, v, h.suites)
	}
	if errors.Is(err, errMalformed) { // what was in the clear is not the worse for it
		e.prober.note(unknown, v.Version, err)
		return nil
	}
	return err
}

// chains has the server show its certificates. They are noted where the answers
// are read.
func (e *elimination) chains(ctx context.Context) error {
	for _, schemes := range families {
		if _, err := e.ask(ctx, func(h *hello) { h.schemes = schemes }); err != nil {
			return err
		}
	}
	return nil
}

// sawEncrypted reports whether all certificates of TLS 1.3 have been asked for.
func (r *Report) sawEncrypted() bool {
	return slices.ContainsFunc(r.Certificates, func(c Certificate) bool { return slices.Contains(c.Versions, policy.TLS13.String()) })
}
