package configs

// What a listener asks of its clients in the way of certificates: values of
// ClientCertificates.Mode.
const (
	ClientCertificatesOff     = "off"     // nothing
	ClientCertificatesRequest = "request" // a good one, or none
	ClientCertificatesRequire = "require" // a good one
)

// What becomes of clients whose issuer has no CRL that is valid now: values of
// ClientCertificates.StaleCRL.
const (
	StaleCRLHard = "hard" // they are refused
	StaleCRLSoft = "soft" // they are let in
)

// What holds for keys of client_certificates that the file leaves out.
const (
	DefaultStaleCRL = StaleCRLHard
	DefaultMaxDepth = 4
)

// ClientCertificates says which clients of a listener are let in by their
// certificates (RFC 5246 §7.4.4, RFC 8446 §4.3.2).
type ClientCertificates struct {
	// Mode is ClientCertificatesOff, ClientCertificatesRequest or
	// ClientCertificatesRequire. Default: off, where the file says nothing of
	// client certificates at all.
	Mode string

	// CA is a PEM file with the certificates of the authorities that are
	// trusted. Default: "", with mode off.
	CA string

	// Allow names the clients that are let in. Default: all.
	Allow AllowedClients

	// CRL are files and directories of certificate revocation lists. Default:
	// none, revocation is not checked.
	CRL []string

	// StaleCRL is StaleCRLHard or StaleCRLSoft. Default: DefaultStaleCRL (hard).
	StaleCRL string

	// MaxDepth is how many intermediate authorities a chain may have. Default:
	// DefaultMaxDepth (4).
	MaxDepth int
}

// AllowedClients are names and keys of clients, any one of which is enough. What
// form each has is said, and checked, where they are used.
type AllowedClients struct{ DN, CN, DNS, URI, Email, SPKI []string }

type clientCertificateMode string

func (*clientCertificateMode) kind() (tag, want string) { return "!!str", "off, request or require" }
func (m *clientCertificateMode) parse(s string) error {
	return choose(m, "mode", s, ClientCertificatesOff, ClientCertificatesRequest, ClientCertificatesRequire)
}

type staleCRL string

func (*staleCRL) kind() (tag, want string) { return "!!str", "hard or soft" }
func (c *staleCRL) parse(s string) error {
	return choose(c, "value", s, StaleCRLHard, StaleCRLSoft)
}

func (r *resolver) clientCertificates(f field[clientCertificateKeys]) ClientCertificates {
	k := f.value
	c := ClientCertificates{
		Mode:     string(k.Mode.or(ClientCertificatesOff)),
		StaleCRL: string(k.StaleCRL.or(DefaultStaleCRL)),
		MaxDepth: int(k.MaxDepth.or(DefaultMaxDepth)),
	}
	c.CA = r.path(k.CA)
	for _, f := range valid(k.CRL.value) {
		c.CRL = append(c.CRL, r.path(f))
	}
	a := k.Allow.value
	c.Allow = AllowedClients{DN: texts(a.DN.value), CN: texts(a.CN.value), DNS: texts(a.DNS.value),
		URI: texts(a.URI.value), Email: texts(a.Email.value), SPKI: texts(a.SPKI.value)}
	switch {
	case !k.Mode.ok:
	case c.Mode != ClientCertificatesOff && !k.CA.given():
		r.errorf(f.node, `client_certificates: missing key "ca", which mode %s needs`, c.Mode)
	case k.StaleCRL.given() && !k.CRL.given():
		r.warnf(k.StaleCRL.key, "stale_crl: without crl it means nothing")
	}
	return c
}
