package certs

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/suitegate/suitegate/policy"
)

// leafLifetime is that of public certificates; certmagic renews when a third
// of it is left.
const leafLifetime = 90 * 24 * time.Hour

// leafKind is a type of key that every self-signed source gets a leaf for.
type leafKind struct {
	key       policy.KeyType
	generator certmagic.KeyType
	usage     x509.KeyUsage
}

// leafKinds: RSA for the TLS 1.2 suites, whose RSA key exchange needs
// keyEncipherment too (RFC 5246 section 7.4.2), and ECDSA for those who can.
var leafKinds = [...]leafKind{
	{policy.RSA, certmagic.RSA2048, x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment},
	{policy.ECDSAP256, certmagic.P256, x509.KeyUsageDigitalSignature},
}

// leafIssuer issues the leaves of one kind for one set of names.
type leafIssuer struct {
	ca    *authority
	kind  leafKind
	names identity
}

var _ certmagic.Issuer = (*leafIssuer)(nil)

// IssuerKey implements [certmagic.Issuer]. certmagic stores a certificate
// under its issuer's key and one name, so the key stands for everything else
// that makes two certificates different: with another root, other names or
// another kind of key, certmagic finds nothing stored and asks for a new one.
func (i *leafIssuer) IssuerKey() string {
	h := sha256.New()
	h.Write(i.ca.cert.Raw)
	h.Write([]byte(strings.Join(i.names.all(), "\n")))
	return fmt.Sprintf("self-signed-%x-%s", h.Sum(nil)[:8], i.kind.generator)
}

// Issue implements [certmagic.Issuer]. The request names the primary name
// only, as certmagic's always do; the certificate gets all of them.
func (i *leafIssuer) Issue(_ context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certs: self-signed certificate: %w", err)
	}
	if got := keyTypeOf(csr.PublicKey); got != i.kind.key {
		return nil, fmt.Errorf("certs: self-signed certificate: the request has another kind of key: %s", describeKey(csr.PublicKey))
	}
	id, err := keyID(csr.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("certs: self-signed certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"suitegate"}},
		NotBefore:             now.Add(-backdating),
		NotAfter:              now.Add(leafLifetime),
		SignatureAlgorithm:    x509.SHA256WithRSA,
		KeyUsage:              i.kind.usage,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		SubjectKeyId:          id,
		DNSNames:              i.names.dns,
	}
	if template.NotAfter.After(i.ca.cert.NotAfter) {
		template.NotAfter = i.ca.cert.NotAfter
	}
	// For clients that read nothing but the common name, which has at most
	// 64 characters (RFC 5280 appendix A.1, ub-common-name).
	if primary := i.names.primary(); len(primary) <= 64 {
		template.Subject.CommonName = primary
	}
	for _, ip := range i.names.ips {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.ca.cert, csr.PublicKey, i.ca.key)
	if err != nil {
		return nil, fmt.Errorf("certs: self-signed certificate: %w", err)
	}
	return &certmagic.IssuedCertificate{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}

// issued reports whether a cached certificate is one of this issuer's. It
// has to be read from the certificate: certmagic keeps the issuer to itself.
func (i *leafIssuer) issued(cert certmagic.Certificate) bool {
	leaf := cert.Leaf
	if leaf == nil || keyTypeOf(leaf.PublicKey) != i.kind.key || !bytes.Equal(leaf.AuthorityKeyId, i.ca.cert.SubjectKeyId) ||
		len(leaf.DNSNames) != len(i.names.dns) || len(leaf.IPAddresses) != len(i.names.ips) {
		return false
	}
	for _, name := range i.names.all() {
		// Not VerifyHostname, to which a wildcard is no name.
		if !hasName(leaf, name) {
			return false
		}
	}
	return true
}

func hasName(leaf *x509.Certificate, name string) bool {
	for _, n := range leaf.DNSNames {
		if n == name {
			return true
		}
	}
	for _, ip := range leaf.IPAddresses {
		if ip.String() == name {
			return true
		}
	}
	return false
}

// manage loads the issuer's certificate into config's cache, obtaining or
// renewing it first where that is needed.
//
// It does what certmagic's ManageSync does, but for one thing: that takes a
// name to be managed as soon as one certificate for it is in the cache, so
// that RSA and ECDSA could not stand side by side.
func (i *leafIssuer) manage(ctx context.Context, cache *certmagic.Cache, config *certmagic.Config, logger *slog.Logger) error {
	name := i.names.primary()
	cert, err := config.CacheManagedCertificate(ctx, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		logger.Warn("stored self-signed certificate is unusable, replacing it", "error", err)
		cert, err = i.repair(ctx, config)
	}
	if err != nil {
		if err := config.ObtainCertSync(ctx, name); err != nil {
			return err
		}
		if cert, err = config.CacheManagedCertificate(ctx, name); err != nil {
			return err
		}
	}
	if !cert.NeedsRenewal(config) {
		return nil
	}
	if err := config.RenewCertSync(ctx, name, false); err != nil {
		return err
	}
	renewed, err := config.CacheManagedCertificate(ctx, name)
	if err != nil {
		return err
	}
	if renewed.Hash() != cert.Hash() {
		cache.Remove([]string{cert.Hash()})
	}
	return nil
}

// repair is for stored files that do not fit together, or are damaged. What
// is lost with them can be had again, so they must not keep the gateway from
// starting. Its error means that they have been removed, or cannot be.
func (i *leafIssuer) repair(ctx context.Context, config *certmagic.Config) (certmagic.Certificate, error) {
	name := i.names.primary()
	// Another process may be in the middle of writing them. Renewing takes
	// the lock that it holds, and does nothing if there is no need any more.
	err := config.RenewCertSync(ctx, name, false)
	if err == nil {
		var cert certmagic.Certificate
		if cert, err = config.CacheManagedCertificate(ctx, name); err == nil {
			return cert, nil
		}
	}
	return certmagic.Certificate{}, errors.Join(err, config.Storage.Delete(ctx, certmagic.StorageKeys.CertsSitePrefix(i.IssuerKey(), name)))
}
