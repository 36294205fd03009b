package certs

import (
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/suitegate/suitegate/policy"
)

func TestSelect(t *testing.T) {
	p256 := newECDSA(elliptic.P256())
	source := func(name string, key crypto.Signer, names ...string) Source {
		return sourceOfFiles(t, name, key, names...)
	}
	onlyCommonName := sourceOfFiles(t, "common", p256)
	onlyCommonName.Files.Certificate = write(t, "tls.crt", certPEM(issue(t, p256, nil, func(c *x509.Certificate) { c.Subject.CommonName = "Old.Example" })))
	s := open(t, Config{Sources: []Source{
		source("rsa", rsa2048(), "mq.example", "*.mq.example"),
		source("ec", p256, "mq.example"),
		source("ec2", newECDSA(elliptic.P256()), "*.example", "a.mq.example", "192.0.2.1", "2001:db8::1"),
		source("p384", newECDSA(elliptic.P384()), "mq.example"),
		onlyCommonName,
	}})
	all := []string{"rsa", "ec", "ec2", "p384", "common"}
	for _, tt := range []struct {
		name       string
		sources    []string
		serverName string
		key        policy.KeyType
		want       string // source; "" for none
	}{
		{"exact", all, "mq.example", policy.RSA, "rsa"},
		{"exact before an earlier source's first", all, "a.mq.example", policy.ECDSAP256, "ec2"},
		{"exact before an earlier source's wildcard", []string{"ec2", "ec"}, "mq.example", policy.ECDSAP256, "ec"},
		{"exact in the order of the sources", []string{"ec", "ec2"}, "mq.example", policy.ECDSAP256, "ec"},
		{"capitals", all, "MQ.Example", policy.ECDSAP256, "ec"},
		{"trailing dot", all, "a.mq.example.", policy.ECDSAP256, "ec2"},
		{"wildcard", all, "b.example", policy.ECDSAP256, "ec2"},
		{"wildcard of one label only", all, "a.b.example", policy.ECDSAP256, "ec"},
		{"wildcard not for its parent", []string{"ec", "ec2"}, "example", policy.ECDSAP256, "ec"},
		{"wildcard not for an empty label", []string{"ec", "ec2"}, ".example", policy.ECDSAP256, "ec"},
		{"wildcard as a name", []string{"ec", "ec2"}, "*.example", policy.ECDSAP256, "ec2"}, // no client sends it; harmless
		{"IPv4", all, "192.0.2.1", policy.ECDSAP256, "ec2"},
		{"IPv6", all, "2001:db8::1", policy.ECDSAP256, "ec2"},
		{"IPv6 in another form", all, "2001:DB8:0:0::0.0.0.1", policy.ECDSAP256, "ec2"},
		{"common name without alternative names", all, "old.example", policy.ECDSAP256, "common"},
		{"no server name", all, "", policy.ECDSAP256, "ec"},
		{"no server name, other order", []string{"ec2", "ec"}, "", policy.ECDSAP256, "ec2"},
		{"unknown server name", all, "elsewhere.test", policy.RSA, "rsa"},
		{"the type decides before the name", all, "a.mq.example", policy.ECDSAP384, "p384"},
		{"unknown source passed over", []string{"gone", "rsa"}, "", policy.RSA, "rsa"},
		{"only named sources", []string{"rsa"}, "mq.example", policy.ECDSAP256, ""},
		{"type that nobody has", all, "mq.example", policy.Ed25519, ""},
		{"no sources", nil, "mq.example", policy.RSA, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Select(tt.sources, tt.serverName, tt.key)
			if tt.want == "" {
				var none *NoCertificateError
				if !errors.As(err, &none) || none.Reason() != "no_certificate" {
					t.Fatalf("got %q, %v", got.Source, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Source != tt.want || got.Key != tt.key || keyTypeOf(got.Leaf.PublicKey) != tt.key {
				t.Errorf("got %q, %v", got.Source, got.Key)
			}
		})
	}
}

// The types of key for a name, from which policy chooses, are those with which
// Select finds a certificate that has it.
func TestMatch(t *testing.T) {
	p384 := newECDSA(elliptic.P384())
	s := open(t, Config{Sources: []Source{
		sourceOfFiles(t, "rsa", rsa2048(), "a.example", "both.example"),
		sourceOfFiles(t, "ec", newECDSA(elliptic.P256()), "b.example", "both.example", "*.wild.example", "192.0.2.1", "2001:db8::1"),
		sourceOfFiles(t, "ec384", p384, "x.wild.example"),
		sourceOfFiles(t, "star", p384, "*", "*x.example"),
		{Name: "noname", Files: &Files{
			Certificate: write(t, "tls.crt", certPEM(issue(t, p384, nil, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b.example"} }))),
			Key:         write(t, "tls.key", keyPEM(t, p384)),
		}},
	}})
	rsaKey, p256Key, p384Key := policy.Keys(policy.RSA), policy.Keys(policy.ECDSAP256), policy.Keys(policy.ECDSAP384)
	all := []string{"rsa", "ec", "ec384", "gone", "star", "noname"}
	for _, tt := range []struct {
		serverName string
		sources    []string
		keys       policy.KeySet
		named      bool
	}{
		{"a.example", all, rsaKey, true},
		{"A.Example", all, rsaKey, true},
		{"a.example.", all, rsaKey, true},
		{"b.example", all, p256Key, true},
		{"both.example", all, rsaKey | p256Key, true},
		{"y.wild.example", all, p256Key, true},
		{"x.wild.example", all, p256Key | p384Key, true}, // one has the very name, the other by a wildcard
		{"a.y.wild.example", all, rsaKey | p256Key | p384Key, false},
		{"wild.example", all, rsaKey | p256Key | p384Key, false},
		{"192.0.2.1", all, p256Key, true},
		{"192.0.2.2", all, rsaKey | p256Key | p384Key, false},
		{"2001:db8::2", all, rsaKey | p256Key | p384Key, false},
		{"localhost", all, rsaKey | p256Key | p384Key, false},
		{"yx.example", all, rsaKey | p256Key | p384Key, false}, // no part of a label
		{"2001:DB8:0:0:0:0:0:1", all, p256Key, true},
		{"", all, rsaKey | p256Key | p384Key, false}, // not the one without a name
		{"b.example", []string{"rsa"}, rsaKey, false},
		{"b.example", []string{"gone"}, 0, false},
		{"b.example", nil, 0, false},
	} {
		keys, named := s.Match(tt.sources, tt.serverName)
		if keys != tt.keys || named != tt.named {
			t.Errorf("%q in %q: %v, %t, want %v, %t", tt.serverName, tt.sources, keys.Types(), named, tt.keys.Types(), tt.named)
		}
		for _, key := range keys.Types() {
			cert, err := s.Select(tt.sources, tt.serverName, key)
			if err != nil || cert.Source == "noname" || cert.Source == "star" || named && cert.Leaf.VerifyHostname(strings.TrimSuffix(tt.serverName, ".")) != nil {
				t.Errorf("%q in %q: %v leads to %q, %v", tt.serverName, tt.sources, key, cert.Source, err)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.Match(all, "y.wild.example") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNoCertificateErrorEscapes(t *testing.T) {
	s := open(t, Config{})
	_, err := s.Select([]string{"a", "b"}, "x\n\x1b[2J", policy.RSA)
	const want = `certs: no certificate with a key of type RSA for server name "x\n\x1b[2J" in ["a" "b"]`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// Two entries may point to the same files.
func TestSameFilesTwice(t *testing.T) {
	a := sourceOfFiles(t, "a", newECDSA(elliptic.P256()), "x.example")
	b := Source{Name: "b", Files: a.Files}
	s := open(t, Config{Sources: []Source{a, b}})
	for _, source := range []string{"a", "b"} {
		if got, err := s.Select([]string{source}, "x.example", policy.ECDSAP256); err != nil || got.Source != source {
			t.Errorf("%q, %v", got.Source, err)
		}
	}
}

func TestCheckKeyTypes(t *testing.T) {
	got, err := Check(Config{Sources: []Source{
		sourceOfFiles(t, "files", newECDSA(elliptic.P384()), "x.example"),
		{Name: "self", SelfSigned: &SelfSigned{}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]policy.KeyType{"files": {policy.ECDSAP384}, "self": {policy.RSA, policy.ECDSAP256}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSelectDoesNotAllocate(t *testing.T) {
	s := open(t, Config{Sources: []Source{
		sourceOfFiles(t, "rsa", rsa2048(), "mq.example"),
		sourceOfFiles(t, "ec", newECDSA(elliptic.P256()), "*.mq.example"),
	}})
	sources := []string{"rsa", "ec"}
	for _, name := range []string{"mq.example", "a.mq.example", "elsewhere.test", ""} {
		if n := testing.AllocsPerRun(100, func() { s.Select(sources, name, policy.ECDSAP256) }); n != 0 {
			t.Errorf("%q: %v allocations", name, n)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	s := open(b, Config{Sources: []Source{
		sourceOfFiles(b, "rsa", rsa2048(), "mq.example"),
		sourceOfFiles(b, "ec", newECDSA(elliptic.P256()), "*.mq.example"),
	}})
	sources := []string{"rsa", "ec"}
	for _, bb := range []struct{ name, serverName string }{
		{"wildcard", "a.mq.example"}, {"none", ""},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Select(sources, bb.serverName, policy.ECDSAP256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
