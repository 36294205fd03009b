package certs

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// NoCertificateError is the error of [Store.Select].
type NoCertificateError struct {
	Sources    []string
	ServerName string // as the client sent it
	Key        policy.KeyType
}

func (e *NoCertificateError) Error() string {
	return fmt.Sprintf("certs: no certificate with a key of type %v for server name %q in %q", e.Key, e.ServerName, e.Sources)
}

// Reason is the stable name of the refusal, for logs and metrics.
func (e *NoCertificateError) Reason() string { return "no_certificate" }

// snapshot is what Select reads: never changed, always replaced.
type snapshot map[offer]*nameIndex

// offer is what certificates are found by: the source and the type of key.
type offer struct {
	source string
	key    policy.KeyType
}

// nameIndex finds the certificates of one offer by name.
type nameIndex struct {
	exact    map[string]*Certificate
	wildcard map[string]*Certificate // "*.example.com" is under ".example.com"
	first    *Certificate
}

func (s snapshot) add(cert *Certificate) {
	o := offer{cert.Source, cert.Key}
	ix := s[o]
	if ix == nil {
		ix = &nameIndex{exact: make(map[string]*Certificate), wildcard: make(map[string]*Certificate), first: cert}
		s[o] = ix
	}
	for _, name := range serverNames(cert.Leaf) {
		into := ix.exact
		if suffix, ok := strings.CutPrefix(name, "*"); ok {
			name, into = suffix, ix.wildcard
		}
		if into[name] == nil {
			into[name] = cert
		}
	}
}

// serverNames are the names that a certificate is good for. The common name
// is one only when there is no alternative name (RFC 6125 section 6.4.4), as
// old private authorities issue them.
func serverNames(leaf *x509.Certificate) []string {
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, strings.ToLower(name))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = append(names, strings.ToLower(leaf.Subject.CommonName))
	}
	return names
}

// Select returns the certificate for a decision: among the named sources and
// of the decision's key type, the one that fits serverName best. That is the
// first, in the order of the sources, that has this very name; else the first
// that has it by a wildcard for the left-most label; else the first of all,
// because clients without a server name, and those that reach the gateway
// by a name it does not know, are to find out by verifying the certificate.
// Unknown sources are passed over. The error is a *NoCertificateError.
//
// It may be called at any time, after Close too, and allocates nothing unless
// the server name has capital letters.
func (s *Store) Select(sources []string, serverName string, key policy.KeyType) (Certificate, error) {
	snap := *s.snapshot.Load()
	name := strings.TrimSuffix(strings.ToLower(serverName), ".")
	parent := ""
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		parent = name[dot:]
	}
	var byWildcard, first *Certificate
	for _, source := range sources {
		ix := snap[offer{source, key}]
		if ix == nil {
			continue
		}
		if cert := ix.exact[name]; cert != nil {
			return *cert, nil
		}
		if byWildcard == nil {
			byWildcard = ix.wildcard[parent]
		}
		if first == nil {
			first = ix.first
		}
	}
	switch {
	case byWildcard != nil:
		return *byWildcard, nil
	case first != nil:
		return *first, nil
	}
	return Certificate{}, &NoCertificateError{Sources: sources, ServerName: serverName, Key: key}
}

// KeyTypes returns the types of key that the named sources have to offer,
// each once, in the order of the sources.
func (s *Store) KeyTypes(sources []string) []policy.KeyType {
	var keys []policy.KeyType
	for _, name := range sources {
		for _, src := range s.sources {
			if src.name() != name {
				continue
			}
			for _, key := range src.keyTypes() {
				if !slices.Contains(keys, key) {
					keys = append(keys, key)
				}
			}
		}
	}
	return keys
}
