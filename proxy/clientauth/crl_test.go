package clientauth

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"
)

// distributionPoint is an IssuingDistributionPoint of the elements given.
func distributionPoint(t testing.TB, elements ...asn1.RawValue) func(*x509.RevocationList) {
	t.Helper()
	der, err := asn1.Marshal(elements)
	if err != nil {
		t.Fatal(err)
	}
	return extension(oidIssuingDistributionPoint, der)
}

func extension(oid asn1.ObjectIdentifier, der []byte) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: oid, Critical: true, Value: der})
	}
}

// element is one with a context-specific tag.
func element(tag int, content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: content}
}

func yes(tag int) asn1.RawValue { return element(tag, []byte{0xff}) }

// at is a distributionPoint with a full name, whose only one has a tag: 6 is a
// URI.
func at(t testing.TB, tag int, name string) asn1.RawValue {
	t.Helper()
	general, err := asn1.Marshal(element(tag, []byte(name)))
	if err != nil {
		t.Fatal(err)
	}
	full := element(0, general)
	full.IsCompound = true
	inner, err := asn1.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	outer := element(0, inner)
	outer.IsCompound = true
	return outer
}

// A CRL that covers a part of the certificates says nothing of the others.
func TestDistributionPoints(t *testing.T) {
	root := newAuthority(t, nil, "root")
	middle := newAuthority(t, root, "middle", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.example/2"} })
	client := middle.client(t, "a", func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.example/1"} })
	all := root.crl(t, nil)
	for _, tt := range []struct {
		name   string
		crls   [][]byte
		reason string
	}{
		{"clients only, of the clients' issuer", [][]byte{all, middle.crl(t, distributionPoint(t, yes(1)))}, ""},
		{"authorities only, of the clients' issuer", [][]byte{all, middle.crl(t, distributionPoint(t, yes(2)))}, ReasonNoCRL},
		{"clients only, of the authority's issuer", [][]byte{root.crl(t, distributionPoint(t, yes(1))), middle.crl(t, nil)}, ReasonNoCRL},
		{"its point", [][]byte{all, middle.crl(t, distributionPoint(t, at(t, 6, "http://crl.example/1")))}, ""},
		{"its point, and it is on it", [][]byte{all, middle.crl(t, distributionPoint(t, at(t, 6, "http://crl.example/1")), client)}, ReasonRevoked},
		{"another point", [][]byte{all, middle.crl(t, distributionPoint(t, at(t, 6, "http://crl.example/2")))}, ReasonNoCRL},
		{"its issuer's point", [][]byte{root.crl(t, distributionPoint(t, at(t, 6, "http://crl.example/2")), middle), middle.crl(t, nil)}, ReasonRevoked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := open(t, Settings{CA: bundleFile(t, root), CRLs: []string{crlFile(t, tt.crls...)}, MaxDepth: 1})
			checkVerdict(t, v.Verify(tls.VersionTLS13, client.chain()), tt.reason)
		})
	}
}

// What a CRL says that is not understood makes it useless.
func TestCRLRefused(t *testing.T) {
	root := newAuthority(t, nil, "root")
	number, err := asn1.Marshal(big.NewInt(1))
	if err != nil {
		t.Fatal(err)
	}
	entry := func(oid asn1.ObjectIdentifier) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(1), RevocationTime: today,
				ExtraExtensions: []pkix.Extension{{Id: oid, Critical: true, Value: []byte{5, 0}}}}}
		}
	}
	unsigned := root.crl(t, nil)
	unsigned[len(unsigned)-1] ^= 1
	for _, tt := range []struct {
		name string
		data []byte
		why  string
	}{
		{"delta", root.crl(t, extension(oidDeltaCRLIndicator, number)), "a delta CRL"},
		{"indirect", root.crl(t, distributionPoint(t, yes(4))), "an indirect CRL"},
		{"indirect by an entry", root.crl(t, entry(oidCertificateIssuer)), "an indirect CRL"},
		{"some reasons", root.crl(t, distributionPoint(t, element(3, []byte{1, 2}))), "some reasons"},
		{"attribute certificates", root.crl(t, distributionPoint(t, yes(5))), "attribute certificates"},
		{"point that is no URI", root.crl(t, distributionPoint(t, at(t, 2, "a.example"))), "no URI"},
		{"malformed point", root.crl(t, extension(oidIssuingDistributionPoint, []byte{0x30, 1})), "malformed"},
		{"something critical", root.crl(t, extension(asn1.ObjectIdentifier{1, 2, 3}, []byte{5, 0})), "critical extension 1.2.3"},
		{"a critical entry", root.crl(t, entry(asn1.ObjectIdentifier{1, 2, 3})), "critical extension 1.2.3"},
		{"signature", unsigned, "signature"},
		{"signed by another of that name", newAuthority(t, nil, "root").crl(t, nil), "signature"},
		{"a certificate", root.Raw, "x509"},
		{"cut", unsigned[:100], "x509"},
		{"empty", nil, "no CRL in it"},
		{"text", []byte("not found\n"), "no CRL in it"},
		{"PEM of something else", pemOf("CERTIFICATE", root.Raw), "no CRL in it"},
		{"second of two", append(pemOf("X509 CRL", root.crl(t, nil)), pemOf("X509 CRL", unsigned)...), "signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, t.TempDir()+"/broken.crl", tt.data)
			_, err := Open(Settings{CA: bundleFile(t, root), CRLs: []string{path}})
			if err == nil || !strings.Contains(err.Error(), tt.why) || !strings.Contains(err.Error(), "broken.crl") {
				t.Errorf("error %v, want one with %q and the file's name", err, tt.why)
			}
		})
	}
}

// RFC 5280 demands nextUpdate, X.509 does not: CreateRevocationList cannot leave
// it out, so it is cut out of the bytes and the CRL is parsed alone.
func TestCRLWithoutNextUpdate(t *testing.T) {
	next := today.AddDate(0, 0, 6)
	der := newAuthority(t, nil, "root").crl(t, func(l *x509.RevocationList) { l.NextUpdate = next })
	encoded, err := asn1.Marshal(next)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &list); err != nil {
		t.Fatal(err)
	}
	list.TBS.Bytes = bytes.Replace(list.TBS.Bytes, encoded, nil, 1)
	list.TBS.FullBytes = nil
	without, err := asn1.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseCRL(der); err != nil {
		t.Fatal(err)
	}
	if _, err := parseCRL(without); err == nil || !strings.Contains(err.Error(), "nextUpdate") {
		t.Errorf("error %v", err)
	}
}

func FuzzCRLs(f *testing.F) {
	root := newAuthority(f, nil, "root")
	f.Add(root.crl(f, nil, root))
	f.Add(root.crl(f, distributionPoint(f, at(f, 6, "http://crl.example/1"), yes(1))))
	f.Add(pemOf("X509 CRL", root.crl(f, nil), root.crl(f, nil, root)))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseCRLs(data)
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%d CRLs, error %v", len(list), err)
		}
		for _, c := range list {
			c.covers(root.Certificate)
			c.current(time.Now())
			(crls{string(root.RawSubject): list}).judge(root.Certificate, root.Certificate, today)
		}
	})
}
