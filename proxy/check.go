package proxy

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
)

// Effective is what one listener really accepts.
type Effective struct {
	Listener     string
	Address      string
	Protocol     string
	Policy       *policy.Policy    // as the listener can serve it
	Unserved     []policy.Unserved // named by the policy and not served, and why
	Certificates []string          // as a person reads them
	Partly       []Partly          // who is served less than that
	Canary       *configs.Canary   // another policy for some clients; nil for none
	Clients      string            // what they are asked for: "off", "request" or "require"
}

// Partly is who gets less of a policy than the listener has to offer, because
// the certificates for some server names have fewer types of key.
type Partly struct {
	Names    []string // server names; none for clients that get the default certificate
	Keys     []policy.KeyType
	Policy   *policy.Policy    // as they can have it
	Unserved []policy.Unserved // to them, and to others not
}

// Who describes them: `clients of "a.example", "b.example"`.
func (p Partly) Who() string {
	if len(p.Names) == 0 {
		return "clients that get the default certificate"
	}
	const most = 5
	var names []string
	for _, name := range p.Names[:min(len(p.Names), most)] {
		names = append(names, strconv.Quote(name)) // files can name anything
	}
	who := "clients of " + strings.Join(names, ", ")
	if more := len(p.Names) - most; more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	return who
}

// Check judges a configuration as [Server.Apply] would, and reports what each
// listener would accept, and with its positions what is allowed and worth a
// second thought. It listens nowhere and writes nothing. Its error is that of
// Apply.
func Check(config *configs.Config, logger *slog.Logger) ([]Effective, configs.Errors, error) {
	offers, routes, err := inspect(config, logger)
	if err != nil {
		return nil, nil, err
	}
	bySource := make(map[string]certs.Offer)
	for _, offer := range offers {
		bySource[offer.Source] = offer
	}
	warnings := certificateWarnings(config, offers, time.Now())
	effective := make([]Effective, len(routes))
	for i, r := range routes {
		names := namesOf(r.Certificates, bySource)
		effective[i] = r.effective()
		effective[i].Partly = r.partlyServed(names)
		warnings = append(warnings, r.warnings(config, effective[i], names)...)
		warnings = append(warnings, r.clientWarnings(config)...)
	}
	warnings.Sort()
	return effective, warnings, nil
}

// inspect makes the routes of a configuration, and says what its certificates
// have to offer.
func inspect(config *configs.Config, logger *slog.Logger) ([]certs.Offer, []*route, error) {
	offers, err := certs.Inspect(certsConfig(config, logger))
	if err != nil {
		return nil, nil, positioned(config, err)
	}
	keys := make(map[string][]policy.KeyType)
	for _, offer := range offers {
		keys[offer.Source] = offer.Keys
	}
	routes, err := newRoutes(config, keys, new(Server).pools(config, nil))
	if err != nil {
		return nil, nil, err
	}
	if _, err := adminToken(config); err != nil {
		return nil, nil, err
	}
	return offers, routes, nil
}

func (r *route) effective() Effective {
	e := Effective{Listener: r.Name, Address: r.Address, Protocol: r.Protocol, Policy: r.policy, Unserved: r.unserved, Canary: r.Listener.Canary,
		Clients: r.ClientCertificates.Mode}
	for _, name := range r.Certificates {
		e.Certificates = append(e.Certificates, fmt.Sprintf("%s (%s)", name, join(r.keys[name])))
	}
	return e
}

// partlyServed are those who are served less than the listener has to offer:
// clients of some of the names, each set of keys once, and those without.
func (r *route) partlyServed(names []nameKeys) (list []Partly) {
	for _, n := range names {
		at := slices.IndexFunc(list, func(p Partly) bool { return policy.Keys(p.Keys...) == n.keys })
		if at >= 0 {
			list[at].Names = append(list[at].Names, n.name)
		} else if p := r.partly(n.keys); len(p.Unserved) > 0 {
			p.Names = []string{n.name}
			list = append(list, p)
		}
	}
	if p := r.partly(r.defaultKeys()); len(p.Unserved) > 0 && r.ServerName != configs.ServerNameRequired {
		list = append(list, p)
	}
	return list
}

// partly is what becomes of the policy with fewer types of key.
func (r *route) partly(keys policy.KeySet) Partly {
	bound, unserved := r.Listener.Policy.Bind(policy.Have{Keys: keys.Types(), Serves: r.engines.Serves})
	unserved = slices.DeleteFunc(unserved, func(u policy.Unserved) bool {
		return slices.ContainsFunc(r.unserved, func(other policy.Unserved) bool { return other.Suite == u.Suite })
	})
	return Partly{Keys: keys.Types(), Policy: bound, Unserved: unserved}
}

// defaultKeys are those of the certificates for clients without a server name.
func (r *route) defaultKeys() policy.KeySet {
	var keys policy.KeySet
	for _, name := range r.defaults {
		keys |= policy.Keys(r.keys[name]...)
	}
	return keys
}

// nameKeys are the types of key of the certificates that have a name.
type nameKeys struct {
	name string
	keys policy.KeySet
}

// namesOf are the names that certificates have together, in their order, each
// with the keys that clients of the name can get: those of wildcards, too.
func namesOf(certificates []string, offers map[string]certs.Offer) []nameKeys {
	var names []nameKeys
	at := make(map[string]int)
	for _, source := range certificates {
		for _, name := range offers[source].Names {
			i, known := at[name]
			if !known {
				i = len(names)
				at[name], names = i, append(names, nameKeys{name: name})
			}
			names[i].keys |= policy.Keys(offers[source].Keys...)
		}
	}
	for i, n := range names {
		if wildcard, ok := at[wildcardFor(n.name)]; ok {
			names[i].keys |= names[wildcard].keys
		}
	}
	return names
}

// wildcardFor is the wildcard that a name falls under.
func wildcardFor(name string) string {
	_, parent, _ := strings.Cut(name, ".")
	return "*." + parent
}

// warnings are what is worth a second thought about a listener's server names.
func (r *route) warnings(config *configs.Config, e Effective, names []nameKeys) configs.Errors {
	var list configs.Errors
	for _, p := range e.Partly {
		field := "certificates"
		if p.Names == nil && r.DefaultCertificate != "" {
			field = "default_certificate"
		}
		list = append(list, configs.Error{Pos: config.Position("listeners", r.Name, field), Reason: fmt.Sprintf(
			"policy %s: %s not served to %s, for whom there are %s keys alone", r.Listener.Policy.Name, p.loss(e.Policy), p.Who(), join(p.Keys))})
	}
	host, _, err := net.SplitHostPort(r.Address)
	if _, notIP := netip.ParseAddr(host); err != nil || host == "" || host == "localhost" || notIP == nil {
		return list
	}
	host = strings.ToLower(host)
	if !slices.ContainsFunc(names, func(n nameKeys) bool { return n.name == host || n.name == wildcardFor(host) }) {
		list = append(list, configs.Error{Pos: config.Position("listeners", r.Name, "address"),
			Reason: fmt.Sprintf("no certificate of the listener has the name %q", host)})
	}
	return list
}

// loss sums up what they are not served, of all that the listener serves.
func (p Partly) loss(all *policy.Policy) string {
	total := len(all.TLS13) + len(all.TLS12)
	if len(p.Unserved) == total {
		return "no suite at all"
	}
	text := fmt.Sprintf("%d of %d suites are", len(p.Unserved), total)
	if len(all.TLS12) > 0 && len(p.Policy.TLS12) == 0 {
		text = fmt.Sprintf("%d of %d suites, which is all of %s, are", len(p.Unserved), total, policy.TLS12)
	}
	return text
}

// certificateWarnings are what is worth a second thought about certificates in
// files. Others are renewed before anything is served.
func certificateWarnings(config *configs.Config, offers []certs.Offer, now time.Time) configs.Errors {
	var list configs.Errors
	for _, offer := range offers {
		if offer.Leaf == nil {
			continue
		}
		for _, reason := range leafWarnings(offer.Leaf, now) {
			list = append(list, configs.Error{Pos: config.Position("certificates", offer.Source, "files.certificate"), Reason: reason})
		}
	}
	return list
}

func leafWarnings(leaf *x509.Certificate, now time.Time) (reasons []string) {
	end := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch step := expiryStep(leaf, false, now); {
	case step == expired:
		reasons = append(reasons, "the certificate has expired on "+end)
	case now.Before(leaf.NotBefore):
		reasons = append(reasons, "the certificate is not valid before "+leaf.NotBefore.UTC().Format(time.RFC3339))
	case step > 0:
		reasons = append(reasons, fmt.Sprintf("the certificate expires on %s, days left: %d", end, daysLeft(leaf, now)))
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		reasons = append(reasons, fmt.Sprintf("the certificate has no alternative name, only the common name %q, which clients do not look at any more (RFC 9525)", leaf.Subject.CommonName))
	}
	return reasons
}
