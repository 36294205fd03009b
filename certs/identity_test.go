package certs

import (
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/suitegate/suitegate/policy"
)

// The identity of a certificate outlives renewals and new keys, and tells
// apart what a client would.
func TestIdentity(t *testing.T) {
	storage := copyStorage(t)
	first := open(t, Config{Storage: storage, Sources: selfSignedSource})
	identity := selectLeaf(t, first, policy.ECDSAP256).Identity()
	if identity == "" || identity == selectLeaf(t, first, policy.RSA).Identity() {
		t.Error("RSA and ECDSA have one identity")
	}

	if err := os.RemoveAll(filepath.Join(storage, "certificates")); err != nil {
		t.Fatal(err)
	}
	renewed := selectLeaf(t, open(t, Config{Storage: storage, Sources: selfSignedSource}), policy.ECDSAP256)
	if renewed.Leaf.Equal(selectLeaf(t, first, policy.ECDSAP256).Leaf) || renewed.Identity() != identity {
		t.Error("a renewed leaf has another identity")
	}
	names := []Source{{Name: "self", SelfSigned: &SelfSigned{Names: []string{"127.0.0.1", "::1", "LOCALHOST"}}}}
	if got := selectLeaf(t, open(t, Config{Storage: storage, Sources: names}), policy.ECDSAP256); got.Identity() != identity {
		t.Error("the order of the names makes another identity")
	}
	names[0].SelfSigned.Names = []string{"localhost"}
	if got := selectLeaf(t, open(t, Config{Storage: storage, Sources: names}), policy.ECDSAP256); got.Identity() == identity {
		t.Error("other names make no other identity")
	}
	if err := os.RemoveAll(filepath.Join(storage, "authority")); err != nil {
		t.Fatal(err)
	}
	if got := selectLeaf(t, open(t, Config{Storage: storage, Sources: selfSignedSource}), policy.ECDSAP256); got.Identity() == identity {
		t.Error("another root makes no other identity")
	}
}

// Intermediates come and go; what they lead to is the authority.
func TestIdentityOfChains(t *testing.T) {
	identity := func(issuers ...string) string {
		key := newECDSA(elliptic.P256())
		c := &Certificate{Certificate: new(tls.Certificate), Key: policy.ECDSAP256}
		for _, issuer := range issuers {
			// Signed by itself, so that its issuer is what its subject is.
			der := issue(t, key, []string{"mq.example"}, func(c *x509.Certificate) { c.Subject.CommonName = issuer })
			c.Certificate.Certificate = append(c.Certificate.Certificate, der)
		}
		var err error
		if c.Leaf, err = x509.ParseCertificate(c.Certificate.Certificate[0]); err != nil {
			t.Fatal(err)
		}
		c.identify()
		return c.Identity()
	}
	one := identity("R10", "root")
	for _, tt := range []struct {
		name    string
		issuers []string
		same    bool
	}{
		{"another intermediate", []string{"R11", "root"}, true},
		{"another root", []string{"R10", "other root"}, false},
		{"without the intermediate", []string{"R10"}, false},
	} {
		if got := identity(tt.issuers...) == one; got != tt.same {
			t.Errorf("%s: same: %v", tt.name, got)
		}
	}
}
