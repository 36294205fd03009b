package certs

import (
	"crypto/elliptic"
	"fmt"
	"testing"

	"github.com/suitegate/suitegate/policy"
)

// A preview finds what a store would, without a storage, and takes for there
// what is still to be obtained.
func TestPreview(t *testing.T) {
	offers, err := Inspect(Config{Storage: t.TempDir(), Sources: []Source{
		sourceOfFiles(t, "rsa", rsa2048(), "x.example", "*.y.example"),
		sourceOfFiles(t, "ec", newECDSA(elliptic.P256()), "z.y.example", "192.0.2.1"),
		{Name: "acme", ACME: &ACME{Names: []string{"acme.example"}, Email: "mq@acme.example", KeyTypes: []policy.KeyType{policy.ECDSAP256},
			OnDemand: &OnDemand{Allow: []string{"*.demand.example"}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPreview(offers)
	all := []string{"rsa", "ec", "acme"}
	for _, test := range []struct {
		sources []string
		name    string
		want    string // keys, whether by name, and the source for RSA and ECDSA
	}{
		{all, "X.example", "[RSA] true rsa ec"},
		{all, "a.y.example", "[RSA] true rsa ec"},
		{all, "z.y.example", "[ECDSA-P256 RSA] true rsa ec"},
		{all, "192.0.2.1", "[ECDSA-P256] true rsa ec"},
		{all, "acme.example", "[ECDSA-P256] true rsa acme"},
		{all, "a.demand.example", "[ECDSA-P256] true acme acme"},
		{all[:2], "a.demand.example", "[ECDSA-P256 RSA] false rsa ec"},
		{all, "a.b.demand.example", "[ECDSA-P256 RSA] false rsa ec"},
		{all, "", "[ECDSA-P256 RSA] false rsa ec"},
		{all[1:2], "x.example", "[ECDSA-P256] false - ec"},
	} {
		keys, named := p.Match(test.sources, test.name)
		got := fmt.Sprint(keys.Types(), " ", named)
		for _, key := range []policy.KeyType{policy.RSA, policy.ECDSAP256} {
			source, err := p.Select(test.sources, test.name, key)
			if err != nil {
				source = "-"
			}
			got += " " + source
		}
		if got != test.want {
			t.Errorf("%q of %v: %s, want %s", test.name, test.sources, got, test.want)
		}
	}
}
