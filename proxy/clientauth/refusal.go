package clientauth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Reasons that [Refusal] gives.
const (
	ReasonMissing      = "client_certificate_missing"        // none was sent
	ReasonUnknownCA    = "client_certificate_unknown_ca"     // no chain leads to the bundle
	ReasonExpired      = "client_certificate_expired"        // it, or an authority's
	ReasonNotYetValid  = "client_certificate_not_yet_valid"  // likewise
	ReasonUsage        = "client_certificate_usage"          // meant for something else than clients
	ReasonChainTooLong = "client_certificate_chain_too_long" // more authorities than allowed
	ReasonInvalid      = "client_certificate_invalid"        // breaks another rule of RFC 5280
	ReasonRevoked      = "client_certificate_revoked"        // it, or an authority's
	ReasonNoCRL        = "client_certificate_crl_missing"    // an issuer in the chain has no CRL
	ReasonStaleCRL     = "client_certificate_crl_stale"      // or none that is valid now
	ReasonNotAllowed   = "client_certificate_not_allowed"    // no allow rule has it
	ReasonNotApproved  = "client_certificate_not_approved"   // its key, or an authority's, takes more than FIPS 140-3 approves
)

// alerts are the AlertDescriptions for the reasons (RFC 5246 §7.2.2, RFC 8446
// §6.2). certificate_expired is for those "not currently valid", too;
// certificate_unknown for what has no alert of its own; access_denied for a
// valid certificate that access control did not let go on.
var alerts = map[string]uint8{
	ReasonMissing:      116, // certificate_required
	ReasonUnknownCA:    48,  // unknown_ca
	ReasonExpired:      45,  // certificate_expired
	ReasonNotYetValid:  45,  // certificate_expired
	ReasonUsage:        43,  // unsupported_certificate
	ReasonChainTooLong: 46,  // certificate_unknown
	ReasonInvalid:      42,  // bad_certificate
	ReasonRevoked:      44,  // certificate_revoked
	ReasonNoCRL:        46,  // certificate_unknown
	ReasonStaleCRL:     46,  // certificate_unknown
	ReasonNotAllowed:   49,  // access_denied
	ReasonNotApproved:  43,  // unsupported_certificate
}

// A Refusal says why a client is not let in.
type Refusal struct {
	reason string
	alert  uint8
	err    error
}

func (r *Refusal) Error() string { return "clientauth: " + r.err.Error() }
func (r *Refusal) Unwrap() error { return r.err }

// Anonymous is what Error says, without whose certificate it was.
func (r *Refusal) Anonymous() string {
	if why := errors.Unwrap(r.err); why != nil {
		return "clientauth: " + why.Error()
	}
	return r.Error()
}

// Reason is one of the Reason constants.
func (r *Refusal) Reason() string { return r.reason }

// Alert is the AlertDescription that the client should get.
func (r *Refusal) Alert() uint8 { return r.alert }

// refuse names the certificate that err is about.
func refuse(reason string, certificate *x509.Certificate, err error) *Refusal {
	return &Refusal{reason, alerts[reason], fmt.Errorf("certificate %s, serial %s: %w",
		quote(formatDN(certificate.RawSubject)), formatSerial(certificate.SerialNumber), err)}
}

// missing is the refusal of a client without a certificate. TLS 1.2 has no
// alert of its own for it (RFC 5246 §7.4.6).
func missing(version uint16) *Refusal {
	const handshakeFailure = 40
	r := &Refusal{ReasonMissing, alerts[ReasonMissing], errors.New("the client has sent no certificate")}
	if version < tls.VersionTLS13 {
		r.alert = handshakeFailure
	}
	return r
}

// quote escapes what a client sent, and cuts what would fill a log.
func quote(s string) string {
	const longest = 256
	if len(s) > longest {
		return fmt.Sprintf("%.*q…", longest, s)
	}
	return fmt.Sprintf("%q", s)
}
