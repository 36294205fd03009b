package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	names := slices.Clone(id.dns)
	for _, ip := range id.ips {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return names
}

// parseNames reads the names of a self-signed source. The error joins a
// *SourceError for each that is neither a DNS name nor an IP address.
func parseNames(source string, names []string) (identity, error) {
	if len(names) == 0 {
		names = []string{"localhost", "127.0.0.1", "::1"}
	}
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
			errs = append(errs, &SourceError{Source: source, Field: "self_signed.names", Err: fmt.Errorf("%q is neither a DNS name nor an IP address: %w", name, err)})
			continue
		}
		if !slices.Contains(id.dns, host) {
			id.dns = append(id.dns, host)
		}
	}
	return id, errors.Join(errs...)
}

// parseHost returns a host name in the form that certificates carry: lower
// case A-labels, with "*" as the whole left-most label at most (RFC 9525
// section 6.3). Underscores are let through, since container networks name
// hosts with them.
func parseHost(name string) (string, error) {
	base, wildcard := strings.CutPrefix(name, "*.")
	ascii, err := idna.New(idna.MapForLookup(), idna.StrictDomainName(false)).ToASCII(base)
	if err != nil {
		return "", errors.New("not an internationalized name")
	}
	if len(ascii) > 253-len("*.") {
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
		case label[0] == '-' || label[len(label)-1] == '-':
			return "", errors.New("a label begins or ends with a hyphen")
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
