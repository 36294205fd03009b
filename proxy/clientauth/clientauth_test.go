package clientauth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkVerdict compares an error of Verify with a reason, "" for none.
func checkVerdict(t *testing.T, err error, reason string) {
	t.Helper()
	var refusal *Refusal
	switch {
	case reason == "" && err == nil:
	case !errors.As(err, &refusal):
		t.Errorf("error %v, want reason %q", err, reason)
	case refusal.Reason() != reason:
		t.Errorf("reason %s, want %q: %v", refusal.Reason(), reason, err)
	}
}

func TestVerify(t *testing.T) {
	root := newAuthority(t, nil, "root")
	elsewhere := newAuthority(t, nil, "elsewhere")
	namesake := newAuthority(t, nil, "root")
	middle := newAuthority(t, root, "middle")
	low := newAuthority(t, middle, "low")
	lowest := newAuthority(t, low, "lowest")
	short := newAuthority(t, root, "short", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	notBefore := func(at time.Time) func(*x509.Certificate) { return func(c *x509.Certificate) { c.NotBefore = at } }
	notAfter := func(at time.Time) func(*x509.Certificate) { return func(c *x509.Certificate) { c.NotAfter = at } }
	usage := func(usages ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
	}
	oldMiddle := newAuthority(t, root, "old", notAfter(today.Add(-time.Hour)))
	serversOnly := newAuthority(t, root, "servers", usage(x509.ExtKeyUsageServerAuth))
	ca := bundleFile(t, root)

	for _, tt := range []struct {
		name   string
		client *entity
		reason string
		alert  uint8
	}{
		{"by the root", root.client(t, "a"), "", 0},
		{"by an intermediate", middle.client(t, "a"), "", 0},
		{"two intermediates", low.client(t, "a"), "", 0},
		{"three intermediates", lowest.client(t, "a"), ReasonChainTooLong, 46},
		{"an intermediate more than the authority allows", newAuthority(t, short, "below").client(t, "a"), ReasonChainTooLong, 46},
		{"of another authority", elsewhere.client(t, "a"), ReasonUnknownCA, 48},
		{"of another authority with that name", namesake.client(t, "a"), ReasonUnknownCA, 48},
		{"self-signed", newEntity(t, nil, root.Subject, func(*x509.Certificate) {}), ReasonUnknownCA, 48},
		{"expired", root.client(t, "a", notAfter(today.Add(-time.Second))), ReasonExpired, 45},
		{"expired authority", oldMiddle.client(t, "a"), ReasonExpired, 45},
		{"not yet valid", root.client(t, "a", notBefore(today.Add(time.Second))), ReasonNotYetValid, 45},
		{"for servers", root.client(t, "a", usage(x509.ExtKeyUsageServerAuth)), ReasonUsage, 43},
		{"for servers and clients", root.client(t, "a", usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)), "", 0},
		{"for anything", root.client(t, "a", usage(x509.ExtKeyUsageAny)), "", 0},
		{"no word on usage", root.client(t, "a", usage()), "", 0},
		{"authority for servers", serversOnly.client(t, "a"), ReasonUsage, 43},
		{"a key for encryption", root.client(t, "a", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), ReasonUsage, 43},
		{"issued by a client", root.client(t, "a").client(t, "b"), ReasonUnknownCA, 48},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, required := range []bool{false, true} {
				chain := tt.client.chain()
				if len(chain) == 0 {
					chain = []*x509.Certificate{tt.client.Certificate}
				}
				err := open(t, Settings{CA: ca, Required: required, MaxDepth: 2}).Verify(tls.VersionTLS13, chain)
				checkVerdict(t, err, tt.reason)
				if refusal := (*Refusal)(nil); errors.As(err, &refusal) && refusal.Alert() != tt.alert {
					t.Errorf("alert %d, want %d", refusal.Alert(), tt.alert)
				}
			}
		})
	}
}

func TestNoCertificate(t *testing.T) {
	ca := bundleFile(t, newAuthority(t, nil, "root"))
	if err := open(t, Settings{CA: ca}).Verify(tls.VersionTLS13, nil); err != nil {
		t.Errorf("requested: %v", err)
	}
	for version, alert := range map[uint16]uint8{tls.VersionTLS12: 40, tls.VersionTLS13: 116} {
		err := open(t, Settings{CA: ca, Required: true}).Verify(version, nil)
		checkVerdict(t, err, ReasonMissing)
		if refusal := (*Refusal)(nil); errors.As(err, &refusal) && refusal.Alert() != alert {
			t.Errorf("version %#x: alert %d, want %d", version, refusal.Alert(), alert)
		}
	}
}

// A client may leave out what the bundle has, and send more than it needs.
func TestBundle(t *testing.T) {
	root := newAuthority(t, nil, "root")
	middle := newAuthority(t, root, "middle")
	client := middle.client(t, "a")
	alone := []*x509.Certificate{client.Certificate}
	for _, tt := range []struct {
		name   string
		bundle []*entity
		chain  []*x509.Certificate
		reason string
	}{
		{"root and intermediate, leaf alone", []*entity{root, middle}, alone, ""},
		{"intermediate is trusted by itself", []*entity{middle}, alone, ""},
		{"intermediate is nowhere", []*entity{root}, alone, ReasonUnknownCA},
		{"the root too", []*entity{root}, append(client.chain(), root.Certificate), ""},
		{"in disorder", []*entity{root}, []*x509.Certificate{client.Certificate, root.Certificate, middle.Certificate}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := open(t, Settings{CA: bundleFile(t, tt.bundle...), MaxDepth: 1})
			checkVerdict(t, v.Verify(tls.VersionTLS13, tt.chain), tt.reason)
			//lint:ignore SA1019 no system roots in it
			if n := len(v.Authorities().Subjects()); n != len(tt.bundle) {
				t.Errorf("%d authorities named, want %d", n, len(tt.bundle))
			}
		})
	}
}

// Names of more authorities than a message can carry are left out.
func TestTooManyAuthorities(t *testing.T) {
	long := newAuthority(t, nil, strings.Repeat("x", 60))
	var many []*entity
	for range 500 {
		many = append(many, long)
	}
	v := open(t, Settings{CA: bundleFile(t, many...)})
	if v.Authorities() != nil {
		t.Error("they are all named")
	}
	checkVerdict(t, v.Verify(tls.VersionTLS13, long.client(t, "a").chain()), "")
}

func TestRevocation(t *testing.T) {
	root := newAuthority(t, nil, "root")
	middle := newAuthority(t, root, "middle")
	other := newAuthority(t, nil, "other")
	client, sibling := middle.client(t, "a"), middle.client(t, "b")
	stale := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = today.AddDate(0, 0, -9), today.Add(-time.Minute)
	}
	early := func(l *x509.RevocationList) { l.ThisUpdate = today.Add(time.Minute) }
	older := func(l *x509.RevocationList) { l.ThisUpdate = today.AddDate(0, 0, -2) }
	of := func(crls ...[]byte) [][]byte { return crls }

	for _, tt := range []struct {
		name       string
		crls       [][]byte
		hard, soft string
	}{
		{"nobody", of(root.crl(t, nil), middle.crl(t, nil)), "", ""},
		{"somebody else", of(root.crl(t, nil), middle.crl(t, nil, sibling)), "", ""},
		{"the client", of(root.crl(t, nil), middle.crl(t, nil, sibling, client)), ReasonRevoked, ReasonRevoked},
		{"its issuer", of(root.crl(t, nil, middle), middle.crl(t, nil)), ReasonRevoked, ReasonRevoked},
		{"that serial, of another issuer", of(root.crl(t, nil, client), middle.crl(t, nil)), "", ""},
		{"none of the issuer", of(root.crl(t, nil)), ReasonNoCRL, ""},
		{"none of the root", of(middle.crl(t, nil)), ReasonNoCRL, ""},
		{"none of anybody here", of(other.crl(t, nil)), ReasonNoCRL, ""},
		{"stale", of(root.crl(t, nil), middle.crl(t, stale)), ReasonStaleCRL, ""},
		{"stale of the root", of(root.crl(t, stale), middle.crl(t, nil)), ReasonStaleCRL, ""},
		{"not valid yet", of(root.crl(t, nil), middle.crl(t, early)), ReasonStaleCRL, ""},
		{"stale, and the client is on it", of(root.crl(t, nil), middle.crl(t, stale, client)), ReasonRevoked, ReasonRevoked},
		{"issuer unknown, and the root has revoked it", of(root.crl(t, nil, middle)), ReasonRevoked, ReasonRevoked},
		{"released by a newer one", of(root.crl(t, nil), middle.crl(t, nil), middle.crl(t, older, client)), "", ""},
		{"revoked by a newer one", of(root.crl(t, nil), middle.crl(t, older), middle.crl(t, nil, client)), ReasonRevoked, ReasonRevoked},
		{"by a newer one that is not valid yet", of(root.crl(t, nil), middle.crl(t, nil), middle.crl(t, early, client)), "", ""},
		{"of the same time, by number", of(root.crl(t, nil), middle.crl(t, nil, client), middle.crl(t, nil)), "", ""},
		{"signed by another of that name", of(root.crl(t, nil), newAuthority(t, other, "middle").crl(t, nil, client)), ReasonNoCRL, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for soft, want := range map[bool]string{false: tt.hard, true: tt.soft} {
				v := open(t, Settings{CA: bundleFile(t, root), CRLs: []string{crlFile(t, tt.crls...)}, AllowStaleCRL: soft, MaxDepth: 1})
				checkVerdict(t, v.Verify(tls.VersionTLS13, client.chain()), want)
			}
		})
	}
}

// An intermediate authority in the bundle does not escape its issuer's CRL.
func TestRevokedAuthorityInBundle(t *testing.T) {
	root := newAuthority(t, nil, "root")
	middle := newAuthority(t, root, "middle")
	v := open(t, Settings{CA: bundleFile(t, middle, root), CRLs: []string{crlFile(t, root.crl(t, nil, middle), middle.crl(t, nil))}, MaxDepth: 1})
	checkVerdict(t, v.Verify(tls.VersionTLS13, middle.client(t, "a").chain()), ReasonRevoked)
}

// With two ways up, the one that is good counts.
func TestCrossSigned(t *testing.T) {
	one, two := newAuthority(t, nil, "one"), newAuthority(t, nil, "two")
	middle := newAuthority(t, one, "middle")
	again := *middle
	again.Certificate = crossSign(t, middle, two)
	client := middle.client(t, "a")
	chain := append(client.chain(), again.Certificate)
	ca := bundleFile(t, one, two)
	fine := [][]byte{middle.crl(t, nil), two.crl(t, nil)}
	v := open(t, Settings{CA: ca, CRLs: []string{crlFile(t, append(fine, one.crl(t, nil, middle))...)}, MaxDepth: 1})
	checkVerdict(t, v.Verify(tls.VersionTLS13, chain), "")
	v = open(t, Settings{CA: ca, CRLs: []string{crlFile(t, one.crl(t, nil, middle), middle.crl(t, nil), two.crl(t, nil, &again))}, MaxDepth: 1})
	checkVerdict(t, v.Verify(tls.VersionTLS13, chain), ReasonRevoked)
}

// What names a certificate in an error is escaped, and no longer than a line.
func TestRefusalEscapes(t *testing.T) {
	root := newAuthority(t, nil, "root")
	for _, name := range []string{"a\nlevel=INFO", strings.Repeat("x", 5000)} {
		err := open(t, Settings{CA: bundleFile(t, newAuthority(t, nil, "other"))}).Verify(tls.VersionTLS12, root.client(t, name, func(c *x509.Certificate) {
			c.DNSNames, c.EmailAddresses, c.URIs = nil, nil, nil
		}).chain())
		checkVerdict(t, err, ReasonUnknownCA)
		if text := err.Error(); strings.Contains(text, "\n") || len(text) > 1000 {
			t.Errorf("error of %d bytes: %s", len(text), text)
		}
	}
}

func TestScope(t *testing.T) {
	root, other := newAuthority(t, nil, "root"), newAuthority(t, nil, "other")
	ca := bundleFile(t, root)
	base := Settings{CA: ca, MaxDepth: 1}
	same := base
	same.CA = writeFile(t, t.TempDir()+"/copy.pem", pemOf("CERTIFICATE", root.Raw))
	if open(t, base).Scope() != open(t, same).Scope() {
		t.Error("the same bundle in another file is another scope")
	}
	for name, change := range map[string]func(*Settings){
		"bundle":   func(s *Settings) { s.CA = bundleFile(t, root, other) },
		"required": func(s *Settings) { s.Required = true },
		"depth":    func(s *Settings) { s.MaxDepth = 2 },
		"rules":    func(s *Settings) { s.Allow.CN = []string{"a"} },
		"rules of another kind": func(s *Settings) {
			s.Allow.DNS = []string{"a"}
		},
		"CRLs": func(s *Settings) { s.CRLs = []string{crlFile(t, root.crl(t, nil))} },
	} {
		changed := base
		change(&changed)
		if open(t, base).Scope() == open(t, changed).Scope() {
			t.Errorf("another %s, and the same scope", name)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	root := newAuthority(t, nil, "root")
	_, err := Open(Settings{
		CA: crlFile(t, root.crl(t, nil)), CRLs: []string{bundleFile(t, root), t.TempDir() + "/none.crl"}, MaxDepth: -1,
		Allow: Allow{DN: []string{"CN=a", "no name"}, CN: []string{""}, DNS: []string{"a.*.example"}, URI: []string{"/path"}, Email: []string{"@x"}, SPKI: []string{"00"}},
	})
	var fields []string
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		setting, ok := err.(*SettingError)
		if !ok {
			t.Fatalf("%T: %v", err, err)
		}
		fields = append(fields, setting.Field)
	}
	slices.Sort(fields)
	want := []string{"allow.cn.0", "allow.dn.1", "allow.dns.0", "allow.email.0", "allow.spki.0", "allow.uri.0", "ca", "crl.0", "crl.1", "max_depth"}
	if !slices.Equal(fields, want) {
		t.Errorf("fields %v, want %v\n%v", fields, want, err)
	}
}
