package clientauth

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Extensions of CRLs (RFC 5280 §5.2) and of their entries (§5.3).
var (
	oidCRLNumber                = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidDeltaCRLIndicator        = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKeyIdentifier   = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidReasonCode               = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidInvalidityDate           = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidCertificateIssuer        = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// A crl is a complete CRL of one issuer.
type crl struct {
	file    string
	list    *x509.RevocationList // without its entries
	revoked map[string]time.Time // by serial, its bytes

	// From the issuing distribution point (RFC 5280 §5.2.5): whose
	// certificates it covers.
	onlyUsers, onlyAuthorities bool
	points                     []string // URIs; nil covers those of all points

	mu     sync.Mutex
	issuer [sha256.Size]byte // the last certificate that was found to have signed it, or not
	signed bool
}

// parseCRLs reads what a file holds: one CRL in DER, or PEM.
func parseCRLs(data []byte) ([]*crl, error) {
	var list []*crl
	add := func(der []byte) error {
		c, err := parseCRL(der)
		if err != nil {
			return err
		}
		list = append(list, c)
		return nil
	}
	if len(data) > 0 && data[0] == 0x30 { // SEQUENCE
		err := add(data)
		return list, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		if err := add(block.Bytes); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no CRL in it, neither PEM nor DER")
	}
	return list, nil
}

// parseCRL refuses what it cannot go by: RFC 5280 §5.2 forbids to use a CRL
// with a critical extension that is not understood, and §5.3 one with such an
// entry.
func parseCRL(der []byte) (*crl, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	c := &crl{list: list, revoked: make(map[string]time.Time, len(list.RevokedCertificateEntries))}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRLIndicator):
			return nil, errors.New("a delta CRL, which is not supported: use the complete one")
		case e.Id.Equal(oidIssuingDistributionPoint):
			if err := c.parseDistributionPoint(e.Value); err != nil {
				return nil, err
			}
		case e.Critical && !e.Id.Equal(oidCRLNumber) && !e.Id.Equal(oidAuthorityKeyIdentifier):
			return nil, fmt.Errorf("CRL with the critical extension %s, which is not supported", e.Id)
		}
	}
	if list.NextUpdate.IsZero() {
		return nil, errors.New("CRL without nextUpdate, which RFC 5280 demands: nobody can tell when it is stale")
	}
	for _, entry := range list.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			if e.Id.Equal(oidCertificateIssuer) {
				return nil, errors.New("an indirect CRL, which is not supported")
			}
			if e.Critical && !e.Id.Equal(oidReasonCode) && !e.Id.Equal(oidInvalidityDate) {
				return nil, fmt.Errorf("CRL entry with the critical extension %s, which is not supported", e.Id)
			}
		}
		c.revoked[string(entry.SerialNumber.Bytes())] = entry.RevocationTime
	}
	list.RevokedCertificateEntries = nil // revoked has what is needed, in a tenth of the memory
	//lint:ignore SA1019 the parser fills it too
	list.RevokedCertificates = nil
	return c, nil
}

// parseDistributionPoint reads
//
//	IssuingDistributionPoint ::= SEQUENCE {
//	     distributionPoint          [0] DistributionPointName OPTIONAL,
//	     onlyContainsUserCerts      [1] BOOLEAN DEFAULT FALSE,
//	     onlyContainsCACerts        [2] BOOLEAN DEFAULT FALSE,
//	     onlySomeReasons            [3] ReasonFlags OPTIONAL,
//	     indirectCRL                [4] BOOLEAN DEFAULT FALSE,
//	     onlyContainsAttributeCerts [5] BOOLEAN DEFAULT FALSE }
func (c *crl) parseDistributionPoint(der []byte) error {
	malformed := errors.New("CRL with a malformed issuing distribution point")
	tag := func(n uint8) cryptobyte_asn1.Tag { return cryptobyte_asn1.Tag(n).ContextSpecific() }
	input := cryptobyte.String(der)
	var s, point cryptobyte.String
	var named bool
	if !input.ReadASN1(&s, cryptobyte_asn1.SEQUENCE) || !input.Empty() ||
		!s.ReadOptionalASN1(&point, &named, tag(0).Constructed()) {
		return malformed
	}
	var flags [6]bool
	for _, n := range []uint8{1, 2, 3, 4, 5} {
		var value cryptobyte.String
		var there bool
		if !s.ReadOptionalASN1(&value, &there, tag(n)) {
			return malformed
		}
		flags[n] = there && (n == 3 || len(value) == 1 && value[0] != 0)
	}
	switch {
	case !s.Empty():
		return malformed
	case flags[3]:
		return errors.New("a CRL for some reasons of revocation only, which is not supported")
	case flags[4]:
		return errors.New("an indirect CRL, which is not supported")
	case flags[5]:
		return errors.New("a CRL of attribute certificates, which is not supported")
	}
	c.onlyUsers, c.onlyAuthorities = flags[1], flags[2]
	if !named {
		return nil
	}
	// DistributionPointName: fullName [0] GeneralNames.
	var names cryptobyte.String
	if !point.ReadASN1(&names, tag(0).Constructed()) || !point.Empty() {
		return errors.New("CRL whose distribution point has no full name, which is not supported")
	}
	for !names.Empty() {
		var name cryptobyte.String
		var kind cryptobyte_asn1.Tag
		if !names.ReadAnyASN1(&name, &kind) {
			return malformed
		}
		if kind == tag(6) { // uniformResourceIdentifier
			c.points = append(c.points, string(name))
		}
	}
	if len(c.points) == 0 {
		return errors.New("CRL whose distribution point has no URI, which is not supported")
	}
	return nil
}

// covers says whether the CRL is about certificates like this one (RFC 5280
// §6.3.3 (b)).
func (c *crl) covers(certificate *x509.Certificate) bool {
	if c.onlyUsers && certificate.IsCA || c.onlyAuthorities && !certificate.IsCA {
		return false
	}
	return c.points == nil || slices.ContainsFunc(c.points, func(uri string) bool {
		return slices.Contains(certificate.CRLDistributionPoints, uri)
	})
}

// isOf says whether an authority of the right name has signed the CRL. Of
// several with one name, the key identifiers tell.
func (c *crl) isOf(issuer *x509.Certificate) bool {
	if len(c.list.AuthorityKeyId) > 0 && len(issuer.SubjectKeyId) > 0 && !bytes.Equal(c.list.AuthorityKeyId, issuer.SubjectKeyId) {
		return false
	}
	digest := sha256.Sum256(issuer.Raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.issuer != digest {
		c.issuer, c.signed = digest, c.list.CheckSignatureFrom(issuer) == nil
	}
	return c.signed
}

func (c *crl) current(now time.Time) bool {
	return !now.Before(c.list.ThisUpdate) && now.Before(c.list.NextUpdate)
}

// newer orders CRLs of one scope: the newest has the last word.
func (c *crl) newer(than *crl) bool {
	if order := c.list.ThisUpdate.Compare(than.list.ThisUpdate); order != 0 || c.list.Number == nil || than.list.Number == nil {
		return order > 0
	}
	return c.list.Number.Cmp(than.list.Number) > 0
}

// crls are CRLs by the encoded name of their issuer.
type crls map[string][]*crl

// judge says why a certificate is not to be trusted any more, or that nobody
// knows. nil is that its issuer vouches for it.
func (all crls) judge(certificate, issuer *x509.Certificate, now time.Time) *Refusal {
	var newest *crl // of the current ones, or of the others if there is none
	for _, c := range all[string(issuer.RawSubject)] {
		if !c.covers(certificate) || !c.isOf(issuer) {
			continue
		}
		if newest == nil || c.current(now) && !newest.current(now) || c.current(now) == newest.current(now) && c.newer(newest) {
			newest = c
		}
	}
	if newest == nil {
		return refuse(ReasonNoCRL, certificate, fmt.Errorf("no CRL of its issuer %s", quote(formatDN(issuer.RawSubject))))
	}
	if at, revoked := newest.revoked[string(certificate.SerialNumber.Bytes())]; revoked {
		return refuse(ReasonRevoked, certificate, fmt.Errorf("revoked at %s, says %s", at.UTC().Format(time.RFC3339), newest.file))
	}
	if !newest.current(now) {
		return refuse(ReasonStaleCRL, certificate, fmt.Errorf("the newest CRL of its issuer, %s, is for %s to %s", newest.file,
			newest.list.ThisUpdate.UTC().Format(time.RFC3339), newest.list.NextUpdate.UTC().Format(time.RFC3339)))
	}
	return nil
}
