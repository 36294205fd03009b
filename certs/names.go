package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// identity is the set of names of one self-signed certificate.
type identity struct {
	dns []string // in lower case, A-labels, in the order of the configuration
	ips []netip.Addr
}

// primary is the name under which certmagic stores and renews the
// certificate. It must be what certmagic takes for the first name of the leaf.
func (id identity) primary() string {
	if len(id.dns) > 0 {
		return id.dns[0]
	}
	return id.ips[0].String()
}

// all are the names, sorted, so that their order in the configuration does
// not matter.
func (id identity) all() []string {
	names := id.inOrder()
	slices.Sort(names)
	return names
}

// inOrder are the names, as the configuration has them, the addresses last.
func (id identity) inOrder() []string {
	names := slices.Clone(id.dns)
	for _, ip := range id.ips {
		names = append(names, ip.String())
	}
	return names
}

// parseNames reads the names of a source, which stand in the given field.
// There is a *SourceError for each that is neither a DNS name nor an IP address.
func parseNames(source, field string, names []string) (identity, []error) {
	var id identity
	var errs []error
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil && ip.Zone() == "" {
			if ip = ip.Unmap(); !slices.Contains(id.ips, ip) {
				id.ips = append(id.ips, ip)
			}
			continue
		}
		host, err := parseHost(name)
		if err != nil {
			errs = append(errs, &SourceError{Source: source, Field: field, Err: fmt.Errorf("%q is neither a DNS name nor an IP address: %w", name, err)})
			continue
		}
		if !slices.Contains(id.dns, host) {
			id.dns = append(id.dns, host)
		}
	}
	return id, errs
}

// maxHost is the length of the longest host name, in bytes, with room for a
// wildcard before it (RFC 1035 section 2.3.4).
const maxHost = 253 - len("*.")

// parseHost returns a host name in the form that certificates carry: lower
// case A-labels, with "*" as the whole left-most label at most (RFC 9525
// section 6.3). Underscores are let through, since container networks name
// hosts with them.
func parseHost(name string) (string, error) {
	base, wildcard := strings.CutPrefix(name, "*.")
	switch {
	case len(base) > maxHost*utf8.UTFMax:
		return "", errors.New("too long") // before Punycode, which takes quadratic time
	case !utf8.ValidString(base):
		return "", errors.New("not UTF-8")
	}
	profile := idna.New(idna.MapForLookup(), idna.StrictDomainName(false))
	ascii, err := profile.ToASCII(base)
	if err == nil {
		// What came out is a name as well, and the same: not so where
		// mapping and Punycode meet in a label such as "xn--ü".
		_, err = profile.ToASCII(ascii)
	}
	if err != nil {
		return "", err
	}
	if len(ascii) > maxHost {
		return "", errors.New("too long")
	}
	labels := strings.Split(ascii, ".")
	if wildcard && len(labels) < 2 {
		return "", errors.New("a wildcard needs two labels behind it")
	}
	for _, label := range labels {
		switch {
		case label == "":
			return "", errors.New("an empty label")
		case len(label) > 63:
			return "", errors.New("a label of more than 63 bytes")
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return "", errors.New("a character that host names do not have")
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", errors.New("the last label is a number") // looks like an IPv4 address, and is none
	}
	if wildcard {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// cacheName is the first of the names under which certmagic's cache indexes
// a certificate, "" if it has none.
func cacheName(leaf *x509.Certificate) string {
	switch {
	case leaf.Subject.CommonName != "":
		return strings.ToLower(leaf.Subject.CommonName)
	case len(leaf.DNSNames) > 0:
		return strings.ToLower(leaf.DNSNames[0])
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	case len(leaf.EmailAddresses) > 0:
		return strings.ToLower(leaf.EmailAddresses[0])
	case len(leaf.URIs) > 0:
		return leaf.URIs[0].String()
	}
	return ""
}
