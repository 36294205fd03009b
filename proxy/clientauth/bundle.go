package clientauth

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxNamed is how long the names of the authorities in a request can be
// together, in bytes: well below what the length fields of TLS can say.
const maxNamed = 1 << 15

// A bundle is what trusted certificates are for.
type bundle struct {
	roots         *x509.CertPool // ends of chains
	intermediates []*x509.Certificate
	all           []*x509.Certificate
	named         *x509.CertPool // all, or nil if there are too many
	digest        [sha256.Size]byte
}

// parseBundle reads certificates of authorities in PEM.
func parseBundle(data []byte) (*bundle, error) {
	b := &bundle{roots: x509.NewCertPool()}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(b.all)+1, err)
		}
		// As crypto/x509 demands of what issues certificates; the first
		// versions of X.509 do not say.
		if c.Version == 3 && !c.BasicConstraintsValid || c.BasicConstraintsValid && !c.IsCA {
			return nil, fmt.Errorf("certificate %d, %s, is not that of an authority", len(b.all)+1, quote(formatDN(c.RawSubject)))
		}
		b.all = append(b.all, c)
	}
	if len(b.all) == 0 {
		return nil, errors.New("no certificate in it; want those of authorities, in PEM")
	}
	b.sort()
	return b, nil
}

// sort tells ends of chains from what is between. One that another in the
// bundle has issued must not be an end, or its revocation by that other one
// would not be seen.
func (b *bundle) sort() {
	h, length := sha256.New(), 0
	b.named = x509.NewCertPool()
	for _, c := range b.all {
		h.Write(c.Raw)
		length += 2 + len(c.RawSubject)
		b.named.AddCert(c)
		issued := slices.ContainsFunc(b.all, func(by *x509.Certificate) bool {
			return !bytes.Equal(by.RawSubject, c.RawSubject) && bytes.Equal(by.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(by) == nil
		})
		if issued {
			b.intermediates = append(b.intermediates, c)
		} else {
			b.roots.AddCert(c)
		}
	}
	if length > maxNamed {
		b.named = nil
	}
	b.digest = [sha256.Size]byte(h.Sum(nil))
}

// waysUp are the chains from a client's certificate to the bundle, each of them
// valid but for depth and revocation.
func (b *bundle) waysUp(chain []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	leaf := chain[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, refuse(ReasonUsage, leaf, errors.New("its key usage is not to sign (digitalSignature), which a TLS client does"))
	}
	options := x509.VerifyOptions{
		Roots: b.roots, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range slices.Concat(b.intermediates, chain[1:]) {
		options.Intermediates.AddCert(c)
	}
	ways, err := leaf.Verify(options)
	if err != nil {
		return nil, whyInvalid(leaf, err, now)
	}
	return ways, nil
}

// whyInvalid names an error of [x509.Certificate.Verify].
func whyInvalid(leaf *x509.Certificate, err error, now time.Time) *Refusal {
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return refuse(ReasonUnknownCA, leaf, fmt.Errorf("issued by %s: %w", quote(formatDN(leaf.RawIssuer)), unknown))
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok {
		return refuse(ReasonInvalid, leaf, err)
	}
	about := leaf
	if invalid.Cert != nil {
		about = invalid.Cert
	}
	switch invalid.Reason {
	case x509.Expired:
		if now.Before(about.NotBefore) {
			return refuse(ReasonNotYetValid, about, fmt.Errorf("not valid before %s", about.NotBefore.UTC().Format(time.RFC3339)))
		}
		return refuse(ReasonExpired, about, fmt.Errorf("expired at %s", about.NotAfter.UTC().Format(time.RFC3339)))
	case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage:
		return refuse(ReasonUsage, about, errors.New("its extended key usage, or an authority's, lacks clientAuth"))
	case x509.TooManyIntermediates:
		return refuse(ReasonChainTooLong, about, err)
	default:
		return refuse(ReasonInvalid, about, err)
	}
}
