package certs

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// NoCertificateError is the error of [Store.Select].
type NoCertificateError struct {
	Sources    []string
	ServerName string         // as the client sent it
	Key        policy.KeyType // policy.NoKey if there is none of any type
}

func (e *NoCertificateError) Error() string {
	if e.Key == policy.NoKey {
		return fmt.Sprintf("certs: no certificate for server name %q in %q", e.ServerName, e.Sources)
	}
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
	cert.identify()
	s.addAs(cert, serverNames(cert.Leaf))
}

// addAs has a certificate found by names.
func (s snapshot) addAs(cert *Certificate, names []string) {
	o := offer{cert.Source, cert.Key}
	ix := s[o]
	if ix == nil {
		ix = &nameIndex{exact: make(map[string]*Certificate), wildcard: make(map[string]*Certificate), first: cert}
		s[o] = ix
	}
	for _, name := range names {
		into := ix.exact
		if strings.HasPrefix(name, "*.") { // and not "*", which is for nobody
			name, into = name[1:], ix.wildcard
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
	if name := leaf.Subject.CommonName; len(names) == 0 && name != "" {
		names = append(names, strings.ToLower(name))
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
// the server name has capital letters or is an IPv6 address.
func (s *Store) Select(sources []string, serverName string, key policy.KeyType) (Certificate, error) {
	return s.snapshot.Load().choose(sources, serverName, key)
}

func (s snapshot) choose(sources []string, serverName string, key policy.KeyType) (Certificate, error) {
	name, parent := lookup(serverName)
	var byWildcard, first *Certificate
	for _, source := range sources {
		ix := s[offer{source, key}]
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

// Match returns the types of key of the certificates that the named sources
// have for serverName at this moment, and true; or, if none of them has that
// name, of all their certificates, and false. A decision for one of the types
// leads [Store.Select] to a certificate with the name if there is one at all.
//
// It allocates no more than Select does.
func (s *Store) Match(sources []string, serverName string) (keys policy.KeySet, named bool) {
	return s.snapshot.Load().match(sources, serverName)
}

func (s snapshot) match(sources []string, serverName string) (keys policy.KeySet, named bool) {
	name, parent := lookup(serverName)
	var all policy.KeySet
	for _, source := range sources {
		for _, key := range selectable {
			ix := s[offer{source, key}]
			if ix == nil {
				continue
			}
			all |= policy.Keys(key)
			if ix.exact[name] != nil || ix.wildcard[parent] != nil {
				keys |= policy.Keys(key)
			}
		}
	}
	if keys != 0 {
		return keys, true
	}
	return all, false
}

// selectable are the types of key that a certificate can have.
var selectable = [...]policy.KeyType{policy.RSA, policy.ECDSAP256, policy.ECDSAP384, policy.Ed25519}

// lookup turns what a client sent into what certificates are found by: a name,
// and the name less its left-most label, by which wildcards are found. Some
// clients send IP addresses, which server_name is not meant for (RFC 6066
// section 3); certificates can have them, so they are looked for.
func lookup(serverName string) (name, parent string) {
	name = strings.TrimSuffix(strings.ToLower(serverName), ".")
	if strings.IndexByte(name, ':') >= 0 {
		if ip, err := netip.ParseAddr(name); err == nil {
			return ip.String(), ""
		}
	}
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		parent = name[dot:]
	}
	return name, parent
}
