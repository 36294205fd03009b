package clientauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
)

func TestApproved(t *testing.T) {
	modulus := func(bits uint) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
	}
	for _, tt := range []struct {
		key  crypto.PublicKey
		want string
	}{
		{modulus(2048), ""},
		{modulus(2047), "RSA key of 2047 bits"},
		{&ecdsa.PublicKey{Curve: elliptic.P256()}, ""},
		{&ecdsa.PublicKey{Curve: elliptic.P384()}, ""},
		{&ecdsa.PublicKey{Curve: elliptic.P521()}, ""},
		{&ecdsa.PublicKey{Curve: elliptic.P224()}, "ECDSA key on P-224"},
		{ed25519.PublicKey{}, ""},
		{struct{}{}, "key of type DSA"},
	} {
		err := approved(&x509.Certificate{PublicKey: tt.key, PublicKeyAlgorithm: x509.DSA})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), "does not approve an "+tt.want) && !strings.HasSuffix(err.Error(), "does not approve a "+tt.want)) {
			t.Errorf("%T: %v", tt.key, err)
		}
	}
	if approvedSignature(x509.SHA256WithRSA) != nil || approvedSignature(x509.SHA1WithRSA) == nil || approvedSignature(x509.ECDSAWithSHA1) == nil {
		t.Error("signatures of CRLs")
	}
}

// The key of every certificate in the chain counts, and in FIPS 140-3 mode alone.
func TestVerifyFIPS(t *testing.T) {
	root := newAuthority(t, nil, "root")
	weak := root.client(t, "weak")
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, weak.Certificate, root.Certificate, key.Public(), root.key)
	if err != nil {
		t.Fatal(err)
	}
	if weak.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	for _, fips := range []bool{false, true} {
		v := open(t, Settings{CA: bundleFile(t, root), MaxDepth: 2, FIPS: fips})
		checkVerdict(t, v.Verify(tls.VersionTLS12, root.client(t, "strong").chain()), "")
		reason := map[bool]string{true: ReasonNotApproved}[fips]
		checkVerdict(t, v.Verify(tls.VersionTLS12, weak.chain()), reason)
	}
}
