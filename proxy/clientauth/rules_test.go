package clientauth

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net/url"
	"strings"
	"testing"
)

func TestAllow(t *testing.T) {
	root := newAuthority(t, nil, "root")
	client := root.client(t, "a", func(c *x509.Certificate) {
		c.DNSNames = append(c.DNSNames, "*.wild.example")
		c.EmailAddresses = append(c.EmailAddresses, "Ops@Example.ORG")
		path, err := url.Parse("urn:device:7")
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, path)
	})
	pin := IdentityOf(client.Certificate).SPKI
	other := pin
	other[31] ^= 1
	list := func(s ...string) []string { return s }
	ca := bundleFile(t, root)
	for name, tt := range map[string]struct {
		allow Allow
		in    bool
	}{
		"everybody":               {Allow{}, true},
		"DN":                      {Allow{DN: list("CN=a,OU=sensors,O=Example")}, true},
		"DN with spaces":          {Allow{DN: list("cn = a, ou = sensors, o = Example")}, true},
		"DN in another order":     {Allow{DN: list("O=Example,OU=sensors,CN=a")}, false},
		"DN in another case":      {Allow{DN: list("CN=A,OU=sensors,O=Example")}, false},
		"part of the DN":          {Allow{DN: list("CN=a")}, false},
		"CN":                      {Allow{CN: list("b", "a")}, true},
		"another CN":              {Allow{CN: list("b")}, false},
		"CN has no wildcards":     {Allow{CN: list("*")}, false},
		"DNS":                     {Allow{DNS: list("A.Example")}, true},
		"DNS wildcard":            {Allow{DNS: list("*.example")}, true},
		"DNS wildcard elsewhere":  {Allow{DNS: list("*.other.example")}, false},
		"DNS two labels":          {Allow{DNS: list("*.a.example")}, false},
		"the certificate's own *": {Allow{DNS: list("*.wild.example")}, false},
		"within its own *":        {Allow{DNS: list("x.wild.example")}, false},
		"URI":                     {Allow{URI: list("spiffe://example/sensor/a")}, true},
		"URI segment":             {Allow{URI: list("spiffe://example/*/a")}, true},
		"URI one segment":         {Allow{URI: list("spiffe://example/*")}, false},
		"URI rest":                {Allow{URI: list("spiffe://example/**")}, true},
		"URI rest of nothing":     {Allow{URI: list("spiffe://example/sensor/a/**")}, false},
		"URI elsewhere":           {Allow{URI: list("spiffe://other/**")}, false},
		"URI beginning":           {Allow{URI: list("spiffe://example/sensor")}, false},
		"URI without authority":   {Allow{URI: list("urn:device:7")}, true},
		"email":                   {Allow{Email: list("a@EXAMPLE.com")}, true},
		"email in another case":   {Allow{Email: list("A@example.com")}, false},
		"email wildcard":          {Allow{Email: list("*@example.org")}, true},
		"email subdomain":         {Allow{Email: list("*@com")}, false},
		"pin":                     {Allow{SPKI: list(hex.EncodeToString(pin[:]))}, true},
		"pin in upper case":       {Allow{SPKI: list(strings.ToUpper(hex.EncodeToString(pin[:])))}, true},
		"pin in base64":           {Allow{SPKI: list("sha256/" + base64.StdEncoding.EncodeToString(pin[:]))}, true},
		"another pin":             {Allow{SPKI: list(hex.EncodeToString(other[:]))}, false},
		"one of several kinds":    {Allow{CN: list("b"), DNS: list("b.example"), Email: list("a@example.com")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			want := ReasonNotAllowed
			if tt.in {
				want = ""
			}
			checkVerdict(t, open(t, Settings{CA: ca, Allow: tt.allow}).Verify(tls.VersionTLS12, client.chain()), want)
		})
	}
}

// A certificate without a name is let in by no name.
func TestAllowNameless(t *testing.T) {
	root := newAuthority(t, nil, "root")
	client := root.client(t, "", func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses, c.URIs = []string{"x"}, nil, nil })
	v := open(t, Settings{CA: bundleFile(t, root), Allow: Allow{CN: []string{"a"}, DNS: []string{"*.x"}}})
	checkVerdict(t, v.Verify(tls.VersionTLS12, client.chain()), ReasonNotAllowed)
}

func TestBadRules(t *testing.T) {
	for kind, rules := range map[string]Allow{
		"dns":   {DNS: []string{"", "a..b", "*a.example", "a.*", "a/b", "http://a", "*"}},
		"uri":   {URI: []string{"", "a", "/a", "spiffe://*/a", "spiffe://a/**/b", "spiffe://a/b*", "urn:*", "http://[::1"}},
		"email": {Email: []string{"", "a", "@b", "a@", "a*@b", "a@*", "a@b@c"}},
		"spki":  {SPKI: []string{"", "00", "sha256/AAAA", "sha1/AAAA", "sha256/!", "zz"}},
	} {
		_, errs := newRules(rules)
		if want := len(rules.DNS) + len(rules.URI) + len(rules.Email) + len(rules.SPKI); len(errs) != want {
			t.Errorf("%s: %d errors of %d: %v", kind, len(errs), want, errs)
		}
	}
}

func TestIdentity(t *testing.T) {
	root := newAuthority(t, nil, "root")
	client := root.client(t, "a", func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0xabcde) })
	id := IdentityOf(client.Certificate)
	if id.Subject != "CN=a,OU=sensors,O=Example" || id.Issuer != "CN=root,O=Example" || id.CommonName != "a" ||
		id.Serial != "0abcde" {
		t.Errorf("%+v", id)
	}
	if got := strings.Join(id.SANs(), " "); got != "DNS:a.example URI:spiffe://example/sensor/a email:a@example.com" {
		t.Errorf("alternative names %s", got)
	}
}

// A rule that can be read has what it says itself, unless it has wildcards.
func FuzzRules(f *testing.F) {
	f.Add("spiffe://example/*/**")
	f.Add("*.example.com")
	f.Add("*@example.com")
	f.Fuzz(func(t *testing.T, rule string) {
		plain := !strings.Contains(rule, "*")
		if p, err := parseURIPattern(rule); err == nil && plain && !p.matches(rule) {
			t.Errorf("URI %q does not match itself", rule)
		}
		if checkDNS(rule) == nil && plain && !matchesDNS(rule)(strings.ToLower(rule)) {
			t.Errorf("DNS name %q does not match itself", rule)
		}
		if checkEmail(rule) == nil && plain && !matchesEmail(rule)(foldEmail(rule)) {
			t.Errorf("address %q does not match itself", rule)
		}
		_, _ = parsePin(rule)
	})
}
