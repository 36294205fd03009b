package configs

import (
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/suitegate/suitegate/policy"
)

// What holds for a key that an ACME entry leaves out.
const (
	DefaultHTTPAddress   = ":80"
	DefaultCheckInterval = 10 * time.Minute

	DefaultPropagationTimeout = 2 * time.Minute
	DefaultKeyAlgorithm       = "hmac-sha256"
)

// Values of ACME.Challenges.
const (
	TLSALPN01 = "tls-alpn-01"
	HTTP01    = "http-01"
	DNS01     = "dns-01"
)

// ACME asks an authority for certificates (RFC 8555): one for each name with
// each type of key.
type ACME struct {
	Names []string // DNS names and IP addresses, at least one
	Email string   // contact of the account

	Directory      string // URL of the authority. Default: "", Let's Encrypt
	Root           string // PEM file of the roots to trust for Directory. Default: "", those of the system
	Profile        string // of the authority's profiles. Default: "", its own choice
	PreferredChain string // common name of an issuer in the chain to choose. Default: "", the authority's first

	KeyTypes   []policy.KeyType // Default: RSA and ECDSA P-256
	MustStaple bool             // ask for certificates that need a stapled OCSP response (RFC 7633). Default: false

	// Challenges are what the authority may choose among. Default: TLSALPN01.
	Challenges []string

	// HTTPAddress is where http-01 challenges are answered, if Challenges has
	// them; otherwise "". Default: DefaultHTTPAddress (:80).
	HTTPAddress string

	DNS *DNS // with DNS01 alone, otherwise nil

	ExternalAccount *ExternalAccount // Default: nil, none
	OnDemand        *OnDemand        // Default: nil, for Names alone

	// CheckInterval is how often the certificates are looked at for renewal.
	// Default: DefaultCheckInterval (10 m).
	CheckInterval time.Duration
}

// ExternalAccount binds the ACME account to one that the authority knows
// (RFC 8555 §7.3.4). Either MACKeyFile or MACKeyEnv is set.
type ExternalAccount struct {
	KeyID      string
	MACKeyFile string // holds the key, in base64url
	MACKeyEnv  string // names the environment variable that holds it
}

// OnDemand has certificates obtained for names that clients ask for. At least
// one of Allow and Ask is set; if both are, both have to say yes.
type OnDemand struct {
	Allow []string // names, perhaps with a wildcard, which stands for one label
	Ask   string   // URL that answers 200 for a good name, which it gets as the parameter "domain"
}

// DNS says how TXT records are made for dns-01 challenges.
type DNS struct {
	RFC2136            *RFC2136
	Resolvers          []string      // host:port. Default: nil, those of the system
	PropagationTimeout time.Duration // until a record can be seen. Default: DefaultPropagationTimeout (2 m)
}

// RFC2136 is a server that takes dynamic updates, signed with TSIG (RFC 8945).
// Either KeyFile or KeyEnv is set.
type RFC2136 struct {
	Server       string // host:port
	KeyName      string
	KeyAlgorithm string // Default: DefaultKeyAlgorithm (hmac-sha256)
	KeyFile      string // holds the key, in base64
	KeyEnv       string // names the environment variable that holds it
}

// acme fills in an ACME entry, and checks what its values say together.
func (r *resolver) acme(f field[acmeKeys]) *ACME {
	k := f.value
	a := &ACME{
		Names:          texts(k.Names.value),
		Email:          string(k.Email.value),
		Directory:      string(k.Directory.value),
		Profile:        string(k.Profile.value),
		PreferredChain: string(k.PreferredChain.value),
		MustStaple:     bool(k.MustStaple.value),
		Challenges:     texts(k.Challenges.value),
		CheckInterval:  durationOr(k.CheckInterval, DefaultCheckInterval),
	}
	a.Root = r.path(k.Root)
	a.KeyTypes = []policy.KeyType{policy.RSA, policy.ECDSAP256}
	if k.KeyTypes.given() {
		a.KeyTypes = nil
		for _, t := range k.KeyTypes.value {
			a.KeyTypes = append(a.KeyTypes, keyTypes[string(t.value)])
		}
	}
	if !k.Challenges.given() {
		a.Challenges = []string{TLSALPN01}
	}
	r.dns(f, a)
	if !slices.Contains(a.Challenges, DNS01) {
		r.wildcards(k.Names)
	}
	r.httpAddress(k, a)
	if o := k.OnDemand; o.given() {
		a.OnDemand = &OnDemand{Allow: texts(o.value.Allow.value), Ask: string(o.value.Ask.value)}
		if o.ok && !o.value.Allow.given() && !o.value.Ask.given() {
			r.errorf(o.node, `on_demand: missing key "allow" or "ask": who may cause orders must be bounded`)
		}
	}
	if k.ExternalAccount.given() {
		a.ExternalAccount = r.externalAccount(k.ExternalAccount)
	}
	return a
}

// wildcards refuses names that no challenge can be had for.
func (r *resolver) wildcards(names field[[]field[host]]) {
	for _, n := range valid(names.value) {
		if strings.HasPrefix(string(n.value), "*.") {
			r.errorf(n.node, "names: %s is a wildcard, for which tls-alpn-01 and http-01 do not do", n.node.Value)
		}
	}
}

// dns settles how dns-01 challenges are answered, which stand alone.
func (r *resolver) dns(f field[acmeKeys], a *ACME) {
	k := f.value.DNS
	dns01 := slices.Contains(a.Challenges, DNS01)
	switch {
	case dns01 && len(a.Challenges) > 1:
		r.errorf(f.value.Challenges.key, "challenges: dns-01 stands alone; what needs others is another entry")
	case dns01 && !k.given():
		r.errorf(f.value.Challenges.key, `challenges: dns-01 needs the key "dns"`)
	case !dns01 && k.given():
		r.errorf(k.key, "dns: challenges does not have dns-01")
	}
	if !k.ok {
		return
	}
	a.DNS = &DNS{PropagationTimeout: durationOr(k.value.PropagationTimeout, DefaultPropagationTimeout)}
	for _, resolver := range valid(k.value.Resolvers.value) {
		a.DNS.Resolvers = append(a.DNS.Resolvers, resolver.value.String())
	}
	p := k.value.RFC2136
	a.DNS.RFC2136 = &RFC2136{
		Server: p.value.Server.value.String(), KeyName: string(p.value.KeyName.value),
		KeyAlgorithm: string(p.value.KeyAlgorithm.or(DefaultKeyAlgorithm)), KeyFile: r.path(p.value.KeyFile), KeyEnv: string(p.value.KeyEnv.value),
	}
	switch file, env := p.value.KeyFile.given(), p.value.KeyEnv.given(); {
	case !p.ok:
	case file && env:
		r.errorf(p.value.KeyEnv.key, "key_file and key_env exclude each other")
	case !file && !env:
		r.errorf(p.node, `rfc2136: missing key "key_file" or "key_env"`)
	}
}

// httpAddress settles where http-01 challenges are answered. Several entries
// may have one address.
func (r *resolver) httpAddress(k acmeKeys, a *ACME) {
	http := slices.Contains(a.Challenges, HTTP01)
	switch {
	case !http && k.HTTPAddress.given():
		r.errorf(k.HTTPAddress.key, "http_address: challenges does not have http-01")
	case !http:
	case k.HTTPAddress.given():
		a.HTTPAddress = k.HTTPAddress.value.String()
		const owner = "the answers to http-01 challenges"
		known := slices.ContainsFunc(r.bound, func(b binding) bool {
			return b.owner == owner && b.address.value.String() == a.HTTPAddress
		})
		if k.HTTPAddress.ok && !known {
			r.bind(binding{owner, k.HTTPAddress})
		}
	default:
		a.HTTPAddress = DefaultHTTPAddress
	}
}

func (r *resolver) externalAccount(f field[externalAccountKeys]) *ExternalAccount {
	k := f.value
	e := &ExternalAccount{KeyID: string(k.KeyID.value), MACKeyFile: r.path(k.MACKeyFile), MACKeyEnv: string(k.MACKeyEnv.value)}
	switch file, env := k.MACKeyFile.given(), k.MACKeyEnv.given(); {
	case !f.ok:
	case file && env:
		r.errorf(k.MACKeyEnv.key, "mac_key_file and mac_key_env exclude each other")
	case !file && !env:
		r.errorf(f.node, `external_account: missing key "mac_key_file" or "mac_key_env"`)
	}
	return e
}

// tsigAlgorithm is one that the provider knows (RFC 8945 section 6).
type tsigAlgorithm string

func (*tsigAlgorithm) kind() (tag, want string) { return "!!str", "the name of an algorithm" }
func (a *tsigAlgorithm) parse(s string) error {
	return choose(a, "algorithm", s, "hmac-sha256", "hmac-sha384", "hmac-sha512")
}

// challenge is how control over a name is shown (RFC 8555 §8).
type challenge string

func (*challenge) kind() (tag, want string) { return "!!str", "the name of a challenge" }
func (c *challenge) parse(s string) error   { return choose(c, "challenge", s, TLSALPN01, HTTP01, DNS01) }

// keyTypes are the types of key that certificates can be asked for with.
var keyTypes = map[string]policy.KeyType{"rsa2048": policy.RSA, "p256": policy.ECDSAP256}

type keyType string

func (*keyType) kind() (tag, want string) { return "!!str", "rsa2048 or p256" }
func (t *keyType) parse(s string) error   { return choose(t, "key type", s, "rsa2048", "p256") }

// email is a bare address, as ACME takes it.
type email string

func (*email) kind() (tag, want string) { return "!!str", "an email address" }

func (e *email) parse(s string) error {
	if address, err := mail.ParseAddress(s); err != nil || address.Address != s {
		return fmt.Errorf("%s is not an email address", quote(s))
	}
	*e = email(s)
	return nil
}

// webURL is where a question is asked.
type webURL string

func (*webURL) kind() (tag, want string) { return "!!str", "a URL" }

func (u *webURL) parse(s string) error {
	if parsed, err := url.Parse(s); err != nil || parsed.Scheme != "https" && parsed.Scheme != "http" || parsed.Host == "" || parsed.User != nil {
		return fmt.Errorf("%s is not an http or https URL", quote(s))
	}
	*u = webURL(s)
	return nil
}

// httpsURL is where a service is spoken to, over TLS alone.
type httpsURL string

func (*httpsURL) kind() (tag, want string) { return "!!str", "an https URL" }

func (u *httpsURL) parse(s string) error {
	if parsed, err := url.Parse(s); err != nil || parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil {
		return fmt.Errorf("%s is not an https URL", quote(s))
	}
	*u = httpsURL(s)
	return nil
}
