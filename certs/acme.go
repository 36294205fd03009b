package certs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/suitegate/suitegate/policy"
)

// LetsEncrypt is the default of ACME.Directory.
const LetsEncrypt = certmagic.LetsEncryptProductionCA

// ACME asks an authority for certificates by RFC 8555: one for each name with
// each type of key. Each is renewed when a third of its life is left, or when
// the authority says so (RFC 9773).
//
// Whoever configures it agrees to the authority's terms of service.
type ACME struct {
	Names []string // DNS names, with a wildcard too where the challenge is dns-01, and IP addresses

	// Email is the contact of the account, and what its key is stored under.
	Email string

	Directory string // URL; default LetsEncrypt
	Root      string // PEM file of the roots to trust for Directory; default those of the system
	Profile   string // of the authority's (draft-ietf-acme-profiles); default its own choice

	// PreferredChain is the common name of an issuer in the chain to choose
	// where the authority offers several. Default: its first.
	PreferredChain string

	KeyTypes []policy.KeyType // RSA (of 2048 bits) and ECDSAP256; default both

	// MustStaple asks for certificates that clients refuse without a stapled
	// OCSP response (RFC 7633).
	MustStaple bool

	// Challenges that the authority may choose among: TLSALPN01 and HTTP01,
	// or DNS01 alone. Default: TLSALPN01.
	Challenges []string

	DNS *DNS // for DNS01 alone

	ExternalAccount *ExternalAccount // default: none

	OnDemand *OnDemand // default: for Names alone

	// CheckInterval is how often the certificates are looked at for renewal.
	// Default: DefaultCheckInterval (10 minutes). A certificate is renewed in
	// any case when less than five intervals are left of its life.
	CheckInterval time.Duration
}

// DefaultCheckInterval is the default of ACME.CheckInterval.
const DefaultCheckInterval = certmagic.DefaultRenewCheckInterval

// Values of ACME.Challenges.
const (
	TLSALPN01 = acme.ChallengeTypeTLSALPN01 // RFC 8737: answered by every TLS listener
	HTTP01    = acme.ChallengeTypeHTTP01    // RFC 8555 section 8.3
	DNS01     = acme.ChallengeTypeDNS01     // RFC 8555 section 8.4
)

// ExternalAccount binds the ACME account to one that the authority knows
// (RFC 8555 section 7.3.4).
type ExternalAccount struct {
	KeyID  string
	MACKey Secret // base64url
}

// acmeKind is a type of key that certificates can be asked for with.
type acmeKind struct {
	key       policy.KeyType
	generator certmagic.KeyType
}

// acmeKinds: RSA for the TLS 1.2 suites of old clients, and ECDSA, which costs
// less, for those that can.
var acmeKinds = [...]acmeKind{{policy.RSA, certmagic.RSA2048}, {policy.ECDSAP256, certmagic.P256}}

// acmeSource is a source whose certificates an authority issues.
type acmeSource struct {
	entry    string
	identity identity
	settings acmeSettings
	kinds    []acmeKind

	issuances []*issuance // for the names, once it is open

	demands demands         // for others
	ctx     context.Context // of their orders
	cancel  context.CancelFunc
}

// acmeSettings are all that two issuances can have in common: what they are
// told from others by.
type acmeSettings struct {
	ACME                   // without Names and KeyTypes
	roots   *x509.CertPool // nil for the system's
	account *acme.EAB

	dns01      *certmagic.DNS01Solver // nil for other challenges
	noStapling bool

	// fingerprint is of what the files and variables hold, so that a reload
	// takes notice of a change.
	fingerprint [sha256.Size]byte
}

func newACME(src Source, fips bool) (source, []error) {
	name, settings := src.Name, *src.ACME
	var errs []error
	mistake := func(field, format string, args ...any) {
		errs = append(errs, &SourceError{Source: name, Field: field, Err: fmt.Errorf(format, args...)})
	}
	s := &acmeSource{entry: name, settings: acmeSettings{ACME: settings, noStapling: src.NoStapling}}
	if len(settings.Names) == 0 {
		mistake("acme.names", "no name is set")
	} else {
		var bad []error
		s.identity, bad = parseNames(name, "acme.names", settings.Names)
		errs = append(errs, bad...)
	}
	s.settings.Names, s.settings.KeyTypes = nil, nil
	for _, kind := range acmeKinds {
		if len(settings.KeyTypes) == 0 || slices.Contains(settings.KeyTypes, kind.key) {
			s.kinds = append(s.kinds, kind)
		}
	}
	if len(s.kinds) == 0 {
		mistake("acme.key_types", "neither RSA nor ECDSA P-256")
	}
	if o := settings.OnDemand; o != nil && len(o.Allow) == 0 && o.Ask == "" {
		mistake("acme.on_demand", "neither allow nor ask says for which names")
	}
	if err := s.settings.prepare(fips); err != nil {
		errs = append(errs, s.located(err))
	}
	if slices.Contains(s.settings.Challenges, DNS01) {
		if len(s.identity.ips) > 0 {
			mistake("acme.names", "an address cannot be validated by %s (RFC 8738 section 7)", DNS01)
		}
	} else {
		for _, host := range s.identity.dns {
			if strings.HasPrefix(host, "*.") {
				mistake("acme.names", "%q is a wildcard, which needs the challenge %s (RFC 8555 section 7.1.3)", host, DNS01)
			}
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return s, nil
}

// fieldError is a mistake in one field of the settings.
type fieldError struct {
	field string
	err   error
}

func (e *fieldError) Error() string { return e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// located says where in the configuration an error of prepare is.
func (s *acmeSource) located(err error) error {
	field := "acme"
	var at *fieldError
	if errors.As(err, &at) {
		field, err = "acme."+at.field, at.err
	}
	return &SourceError{Source: s.entry, Field: field, Err: err}
}

// prepare fills in the defaults, and reads what the settings point to.
func (a *acmeSettings) prepare(fips bool) error {
	if a.Directory == "" {
		a.Directory = LetsEncrypt
	}
	if a.CheckInterval == 0 {
		a.CheckInterval = DefaultCheckInterval
	}
	if len(a.Challenges) == 0 {
		a.Challenges = []string{TLSALPN01}
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return &fieldError{"directory", fmt.Errorf("%q is not an https URL", a.Directory)}
	}
	if a.Email == "" {
		return &fieldError{"email", errors.New("no address is set")}
	}
	contents := sha256.New()
	if a.Root != "" {
		chain, err := readChain(a.Root)
		if err != nil {
			return &fieldError{"root", err}
		}
		a.roots = x509.NewCertPool()
		for _, c := range chain {
			a.roots.AddCert(c)
			contents.Write(c.Raw)
		}
	}
	if slices.Contains(a.Challenges, DNS01) {
		var err error
		switch {
		case len(a.Challenges) > 1: // certmagic tries no other beside it
			return &fieldError{"challenges", fmt.Errorf("%s stands alone", DNS01)}
		case a.DNS == nil:
			return &fieldError{"dns", fmt.Errorf("%s needs it", DNS01)}
		}
		if a.dns01, err = a.DNS.solver(contents, fips); err != nil {
			return err
		}
	}
	if a.ExternalAccount != nil {
		secret, err := a.ExternalAccount.MACKey.Read()
		if err != nil {
			return &fieldError{"external_account", err}
		}
		mac := strings.TrimRight(string(secret), "=")
		key, err := base64.RawURLEncoding.DecodeString(mac)
		if err != nil {
			return &fieldError{"external_account", errors.New("the MAC key is not base64url")} // err quotes nothing, and says nothing more
		}
		if err := approvedMAC(key); fips && err != nil {
			return &fieldError{"external_account", err}
		}
		a.account = &acme.EAB{KeyID: a.ExternalAccount.KeyID, MACKey: mac}
		fmt.Fprintf(contents, "external account %s", mac)
	}
	contents.Sum(a.fingerprint[:0])
	return nil
}

// key is different for settings that are.
func (a *acmeSettings) key() string {
	what := a.ACME
	what.OnDemand = nil // makes no certificate different
	text, err := json.Marshal(what)
	if err != nil {
		panic("certs: ACME settings: " + err.Error()) // only for types that JSON does not have
	}
	return fmt.Sprintf("%s %t %x", text, a.noStapling, a.fingerprint)
}

func (s *acmeSource) name() string    { return s.entry }
func (s *acmeSource) kind() string    { return "acme" }
func (s *acmeSource) names() []string { return s.identity.all() }
func (s *acmeSource) writes() bool    { return true }

// stored finds the certificates where certmagic keeps them.
func (s *acmeSource) stored(ctx context.Context, storage certmagic.Storage) ([]Stored, error) {
	issuer := (&certmagic.ACMEIssuer{CA: s.settings.Directory}).IssuerKey()
	var all []Stored
	for _, name := range s.identity.inOrder() {
		for _, kind := range s.kinds {
			site := siteStorage{Storage: storage, variant: s.settings.variant(kind)}
			leaf, err := loadCertificate(ctx, site, certmagic.StorageKeys.SiteCert(issuer, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			all = append(all, Stored{Names: []string{name}, Key: kind.key, Leaf: leaf})
		}
	}
	return all, nil
}

// variant names what makes certificates different that are for the same name,
// from the same authority.
func (a *acmeSettings) variant(kind acmeKind) string {
	variant := string(kind.generator)
	if a.MustStaple {
		variant += "-must-staple"
	}
	if a.Profile != "" {
		variant += "-" + certmagic.StorageKeys.Safe(a.Profile)
	}
	return variant
}

func (s *acmeSource) keyTypes() (keys []policy.KeyType) {
	for _, kind := range s.kinds {
		keys = append(keys, kind.key)
	}
	return keys
}

// open takes over the issuances that another store has under way, and makes
// the others, which load what is stored. It asks nobody for anything.
func (s *acmeSource) open(ctx context.Context, store *Store) error {
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, name := range s.identity.inOrder() {
		issuances, err := s.acquire(ctx, store, name)
		s.issuances = append(s.issuances, issuances...)
		if err != nil {
			return &SourceError{Source: s.entry, Field: "acme", Err: err}
		}
	}
	if err := s.adopt(ctx, store); err != nil {
		return &SourceError{Source: s.entry, Field: "acme", Err: err}
	}
	return nil
}

// all are the issuances for the names and those on demand.
func (s *acmeSource) all() []*issuance { return slices.Concat(s.issuances, s.demands.all()) }

// start has obtained what is missing.
func (s *acmeSource) start() {
	for _, i := range s.issuances {
		i.start()
	}
}

func (s *acmeSource) certificates() []*Certificate {
	var found []*Certificate
	for _, i := range s.all() {
		if cert := i.certificate(); cert != nil {
			found = append(found, cert)
		}
	}
	return found
}

func (s *acmeSource) close(store *Store) {
	if s.cancel == nil {
		return // not opened
	}
	s.cancel()
	s.demands.work.Wait()
	for _, i := range s.all() {
		store.issuances.release(i, store)
	}
}

// solves says whether the authority may ask for a challenge.
func (s *acmeSource) solves(challenge string) bool {
	return slices.Contains(s.settings.Challenges, challenge)
}

// expects says whether the source is to have a certificate for a name.
func (s *acmeSource) expects(name string) bool {
	name, parent := lookup(name)
	return slices.ContainsFunc(s.all(), func(i *issuance) bool {
		if suffix, wildcard := strings.CutPrefix(i.name, "*"); wildcard {
			return parent == suffix
		}
		return i.name == name
	})
}

// issuerTemplate is what certmagic needs to know of the authority. It opens a
// server for challenges unless its address is taken, so it is given one that is.
func (a *acmeSettings) issuerTemplate(taken doorstop, logger *zap.Logger) certmagic.ACMEIssuer {
	template := certmagic.ACMEIssuer{
		CA:                      a.Directory,
		Email:                   a.Email,
		Agreed:                  true,
		ExternalAccount:         a.account,
		Profile:                 a.Profile,
		TrustedRoots:            a.roots,
		DisableTLSALPNChallenge: !slices.Contains(a.Challenges, TLSALPN01),
		DisableHTTPChallenge:    !slices.Contains(a.Challenges, HTTP01),
		ListenHost:              taken.host,
		AltTLSALPNPort:          taken.port,
		AltHTTPPort:             taken.port,
		Logger:                  logger,
	}
	if a.dns01 != nil {
		template.DNS01Solver = a.dns01
	}
	if a.PreferredChain != "" {
		template.PreferredChains.AnyCommonName = []string{a.PreferredChain}
	}
	return template
}
