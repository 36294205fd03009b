// Package clientauth judges the certificates of TLS clients: who issued them,
// for what and for how long, whether they were revoked, and whether their
// holders are among those that are let in.
//
//	verifier, err := clientauth.Open(clientauth.Settings{Required: true, CA: "clients.pem"})
//	…
//	err = verifier.Verify(state.Version, state.PeerCertificates) // nil or a *Refusal
//
// A chain is good if it leads to the CA bundle by the rules of RFC 5280 §6.1, is
// meant for clients (clientAuth, or no extended key usage at all, §4.2.1.12), is
// no longer than Settings.MaxDepth, and no certificate in it but the trusted one
// stands on a CRL of its issuer (§6.3). With several ways up, as with
// cross-signed authorities, one that is good is enough.
//
// Bundle and CRLs are read by [Open], and again by [Verifier.Refresh] when they
// have changed. A file that is broken then changes nothing.
package clientauth

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultMaxDepth is the default that is offered for [Settings.MaxDepth].
const DefaultMaxDepth = 4

// Settings say which clients are let in.
type Settings struct {
	// Required refuses clients without a certificate. Default: they are let
	// in, and those that have one must have a good one.
	Required bool

	// CA is the file with the certificates of the authorities that are
	// trusted, in PEM. One that is issued by another in the file is no end of
	// a chain: the other is.
	CA string

	// Allow names those that are let in. Default: everybody whose certificate
	// is good.
	Allow Allow

	// CRLs are files, of one or more CRLs each in PEM or one in DER, and
	// directories of such files, where names that begin with a dot are passed
	// over. Default: nobody is taken to be revoked.
	CRLs []string

	// AllowStaleCRL lets certificates in whose issuer has no CRL, or none that
	// is valid now, as long as no CRL names them ("soft" failure). Default:
	// they are refused. Without CRLs it means nothing.
	AllowStaleCRL bool

	// MaxDepth is how many intermediate authorities may stand between the
	// client's certificate and the trusted one.
	MaxDepth int

	// FIPS refuses certificates in the chain, and CRLs, that take more than FIPS
	// 140-3 approves. Default: they are taken.
	FIPS bool

	// Time is the clock. Default: time.Now.
	Time func() time.Time
}

// A SettingError is a setting that cannot be used.
type SettingError struct {
	Field string // as the configuration calls it: "ca", "crl.1", "allow.dn.0"
	Err   error
}

func (e *SettingError) Error() string { return fmt.Sprintf("clientauth: %s: %v", e.Field, e.Err) }
func (e *SettingError) Unwrap() error { return e.Err }

// A Verifier judges client certificates. It may be used by any number of
// connections at once, also while it is refreshed.
type Verifier struct {
	settings Settings
	rules    rules
	now      func() time.Time

	refreshing sync.Mutex
	files      *files
	trust      atomic.Pointer[trust]
}

// trust is what the files say. It does not change; another takes its place.
type trust struct {
	*bundle
	crls crls
}

// Open reads what settings name. Its error joins a [*SettingError] for each
// mistake.
func Open(settings Settings) (*Verifier, error) {
	v := &Verifier{settings: settings, now: settings.Time}
	if v.now == nil {
		v.now = time.Now
	}
	var errs []error
	if v.rules, errs = newRules(settings.Allow); settings.MaxDepth < 0 {
		errs = append(errs, &SettingError{"max_depth", errors.New("less than 0")})
	}
	v.files = newFiles(settings.CA, settings.CRLs)
	v.files.fips = settings.FIPS
	next, wrong := v.files.read(true)
	for _, w := range wrong {
		errs = append(errs, w)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	v.trust.Store(next)
	return v, nil
}

// Refresh reads what has changed of the files and looks as it did at the last
// Refresh, so that nobody is caught writing: it is to be called every now and
// then. What cannot be used leaves in place what was there before; the error
// joins a [*SettingError] for each such file, once for each change of it.
// changed says that something has taken the place of something else.
func (v *Verifier) Refresh() (changed bool, err error) {
	v.refreshing.Lock()
	defer v.refreshing.Unlock()
	before := v.files.generation
	next, wrong := v.files.read(false)
	if changed = v.files.generation != before; changed {
		v.trust.Store(next)
	}
	errs := make([]error, len(wrong))
	for i, w := range wrong {
		errs[i] = w
	}
	return changed, errors.Join(errs...)
}

// Authorities are the trusted authorities, for the names in the request to the
// client (RFC 5246 §7.4.4, RFC 8446 §4.2.4). It is nil where these are too many
// for a message: a client may then send whatever certificate it has.
func (v *Verifier) Authorities() *x509.CertPool { return v.trust.Load().named }

// Scope is a digest of what decides who is let in: the settings, whatever their
// files are called, and the bundle as it is now. The content of CRLs is not part
// of it. Who was let in by one scope may be a stranger to another.
func (v *Verifier) Scope() [sha256.Size]byte {
	h := sha256.New()
	s := v.settings
	fmt.Fprintf(h, "%t %t %t %d %s\n", s.Required, len(s.CRLs) > 0, s.AllowStaleCRL, s.MaxDepth, v.rules.text)
	digest := v.trust.Load().digest
	h.Write(digest[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// Verify judges the chain that a client has sent, its own certificate first;
// the chain is empty if the client has none. The error is a [*Refusal]. The TLS
// version, such as tls.VersionTLS12, decides about the alert in it alone.
//
// That the client has the key, which its signature proves, is for the caller to
// see to.
func (v *Verifier) Verify(version uint16, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		if v.settings.Required {
			return missing(version)
		}
		return nil
	}
	t, now := v.trust.Load(), v.now()
	ways, err := t.waysUp(chain, now)
	if err != nil {
		return err
	}
	var why *Refusal
	for _, way := range ways {
		refusal := v.judge(t, way, now)
		if refusal == nil {
			why = nil
			break
		}
		// Of several reasons, revocation is the one to hear of.
		if why == nil || refusal.reason == ReasonRevoked {
			why = refusal
		}
	}
	if why != nil {
		return why
	}
	if identity := IdentityOf(chain[0]); !v.rules.allow(chain[0], identity) {
		return refuse(ReasonNotAllowed, chain[0], errors.New("no allow rule has it"))
	}
	return nil
}

// judge judges a verified chain, which ends with a trusted certificate.
func (v *Verifier) judge(t *trust, chain []*x509.Certificate, now time.Time) *Refusal {
	if between := len(chain) - 2; between > v.settings.MaxDepth {
		return refuse(ReasonChainTooLong, chain[0], fmt.Errorf("%d intermediate authorities, and max_depth is %d", between, v.settings.MaxDepth))
	}
	if v.settings.FIPS {
		for _, certificate := range chain {
			if err := approved(certificate); err != nil {
				return refuse(ReasonNotApproved, certificate, err)
			}
		}
	}
	if len(v.settings.CRLs) == 0 {
		return nil
	}
	var stale *Refusal
	for i, certificate := range chain[:len(chain)-1] {
		refusal := t.crls.judge(certificate, chain[i+1], now)
		switch {
		case refusal == nil:
		case refusal.reason == ReasonRevoked:
			return refusal
		default:
			stale = cmp.Or(stale, refusal)
		}
	}
	if v.settings.AllowStaleCRL {
		return nil
	}
	return stale
}
