package clientauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Allow are the rules by which clients are let in: any one of them is enough. A
// zero Allow lets everybody in.
type Allow struct {
	// DN are whole subjects in the form of RFC 4514: "CN=sensor-1,O=Example".
	// The order of the parts counts, and upper and lower case of the values.
	DN []string

	// CN are common names: of several in a subject, the most specific one.
	// Upper and lower case count.
	CN []string

	// DNS are alternative names of that kind. "*.sensors.example" is every
	// name with one label more than "sensors.example". Upper and lower case
	// are the same.
	DNS []string

	// URI are alternative names of that kind. In the path a segment "*" is any
	// one segment, and a last segment "**" is any number of them but none:
	// "spiffe://example/sensor/*". Everything else is compared as it stands.
	URI []string

	// Email are alternative names of that kind. "*@example.com" is every
	// address there. Upper and lower case are the same behind the @.
	Email []string

	// SPKI are SHA-256 digests of public keys (SubjectPublicKeyInfo):
	// hexadecimal, or "sha256/" and base64.
	SPKI []string
}

// rules are an Allow that was parsed.
type rules struct {
	dn, cn []string
	dns    []string // lower case
	uri    []uriPattern
	email  []string // lower case behind the @
	spki   [][sha256.Size]byte
	text   string // all of them, for Scope
}

// newRules returns a *SettingError for each rule that is none.
func newRules(allow Allow) (r rules, errs []error) {
	r.text = fmt.Sprintf("%q", allow)
	for _, list := range []struct {
		field string
		rules []string
		add   func(string) error
	}{
		{"dn", allow.DN, func(s string) error {
			dn, err := parseDN(s)
			r.dn = append(r.dn, dn)
			return err
		}},
		{"cn", allow.CN, func(s string) error {
			r.cn = append(r.cn, s)
			return nil
		}},
		{"dns", allow.DNS, func(s string) error {
			r.dns = append(r.dns, strings.ToLower(s))
			return checkDNS(s)
		}},
		{"uri", allow.URI, func(s string) error {
			pattern, err := parseURIPattern(s)
			r.uri = append(r.uri, pattern)
			return err
		}},
		{"email", allow.Email, func(s string) error {
			r.email = append(r.email, foldEmail(s))
			return checkEmail(s)
		}},
		{"spki", allow.SPKI, func(s string) error {
			pin, err := parsePin(s)
			r.spki = append(r.spki, pin)
			return err
		}},
	} {
		for i, rule := range list.rules {
			err := list.add(rule)
			if rule == "" {
				err = errors.New("empty")
			}
			if err != nil {
				errs = append(errs, &SettingError{fmt.Sprintf("allow.%s.%d", list.field, i), err})
			}
		}
	}
	return r, errs
}

// allow says whether a rule has a client, or there are none.
func (r *rules) allow(certificate *x509.Certificate, id *Identity) bool {
	if len(r.dn)+len(r.cn)+len(r.dns)+len(r.uri)+len(r.email)+len(r.spki) == 0 {
		return true
	}
	return slices.Contains(r.dn, id.Subject) ||
		id.CommonName != "" && slices.Contains(r.cn, id.CommonName) ||
		slices.ContainsFunc(id.DNS, func(name string) bool { return slices.ContainsFunc(r.dns, matchesDNS(name)) }) ||
		slices.ContainsFunc(certificate.URIs, func(u *url.URL) bool {
			return slices.ContainsFunc(r.uri, func(p uriPattern) bool { return p.matches(u.String()) })
		}) ||
		slices.ContainsFunc(id.Emails, func(address string) bool { return slices.ContainsFunc(r.email, matchesEmail(address)) }) ||
		slices.Contains(r.spki, id.SPKI)
}

func checkDNS(rule string) error {
	labels := strings.Split(rule, ".")
	for i, label := range labels {
		if label == "" || strings.Contains(label, "*") && (i > 0 || label != "*" || len(labels) == 1) || strings.ContainsAny(label, "/:@ ") {
			return fmt.Errorf("%q is no DNS name, such as a.example or *.a.example", rule)
		}
	}
	return nil
}

// matchesDNS returns what says whether a rule has name. A wildcard of the
// certificate's own is no name, and no rule has it.
func matchesDNS(name string) func(rule string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	label, parent, _ := strings.Cut(name, ".")
	return func(rule string) bool {
		if strings.Contains(name, "*") {
			return false
		}
		if zone, wild := strings.CutPrefix(rule, "*."); wild {
			return label != "" && parent == zone
		}
		return name == strings.TrimSuffix(rule, ".")
	}
}

func checkEmail(rule string) error {
	local, domain, ok := strings.Cut(rule, "@")
	if !ok || local == "" || domain == "" || strings.ContainsAny(domain, "@* ") || strings.Contains(local, "*") && local != "*" {
		return fmt.Errorf("%q is no mail address, such as a@example.com or *@example.com", rule)
	}
	return nil
}

func foldEmail(address string) string {
	at := strings.LastIndexByte(address, '@')
	return address[:at+1] + strings.ToLower(address[at+1:])
}

func matchesEmail(address string) func(rule string) bool {
	address = foldEmail(address)
	return func(rule string) bool {
		if domain, wild := strings.CutPrefix(rule, "*@"); wild {
			local, found := strings.CutSuffix(address, "@"+domain)
			return found && local != ""
		}
		return address == rule
	}
}

// A uriPattern is the part of a rule before the path, and the path's segments.
type uriPattern struct {
	origin   string // scheme and authority, or all of a URI without "//"
	segments []string
}

func parseURIPattern(rule string) (uriPattern, error) {
	if u, err := url.Parse(rule); err != nil || u.Scheme == "" {
		return uriPattern{}, fmt.Errorf("%q is no absolute URI, such as spiffe://example/sensor/*", rule)
	}
	p := splitURI(rule)
	for i, segment := range p.segments {
		if strings.Contains(segment, "*") && segment != "*" && (segment != "**" || i < len(p.segments)-1) {
			return uriPattern{}, fmt.Errorf("%q: * stands for a whole segment of the path, and ** for its end", rule)
		}
	}
	if strings.Contains(p.origin, "*") {
		return uriPattern{}, fmt.Errorf("%q: * can stand in the path alone", rule)
	}
	return p, nil
}

// splitURI takes a URI apart as it stands, nothing in it decoded.
func splitURI(uri string) uriPattern {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uriPattern{origin: uri}
	}
	segments := strings.Split(rest, "/")
	return uriPattern{origin: scheme + "://" + segments[0], segments: segments[1:]}
}

func (p uriPattern) matches(uri string) bool {
	u := splitURI(uri)
	if u.origin != p.origin {
		return false
	}
	for i, want := range p.segments {
		if i >= len(u.segments) {
			return false
		}
		if want == "**" {
			return !slices.Contains(u.segments[i:], "")
		}
		if want == "*" {
			if u.segments[i] == "" {
				return false
			}
		} else if want != u.segments[i] {
			return false
		}
	}
	return len(p.segments) == len(u.segments)
}

func parsePin(rule string) (pin [sha256.Size]byte, err error) {
	var digest []byte
	if encoded, ok := strings.CutPrefix(rule, "sha256/"); ok {
		digest, err = base64.StdEncoding.DecodeString(encoded)
	} else {
		digest, err = hex.DecodeString(rule)
	}
	if err != nil || len(digest) != len(pin) {
		return pin, fmt.Errorf("%q is no SHA-256 digest: want 64 hexadecimal digits, or sha256/ and base64", rule)
	}
	return [sha256.Size]byte(digest), nil
}
