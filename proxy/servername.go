package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
)

const (
	alertMissingExtension = 109 // RFC 8446 §6.2
	alertUnrecognizedName = 112 // RFC 6066 §3
)

// candidates are the certificates that a client can get: those of the listener
// that have its server name, or else those for clients without one.
type candidates struct {
	sources []string
	keys    policy.KeySet // of those sources, for that name
}

// holdings are the certificates that there are: of a [certs.Store], or of a
// [certs.Preview] of one.
type holdings interface {
	Match(sources []string, serverName string) (keys policy.KeySet, named bool)
	Pending(sources []string, serverName string) bool
	HeldBack(sources []string, serverName string) bool
}

// candidatesFor finds the candidates for a client, and the policy bound to their
// keys, or refuses the client for its server name, as far as the listener is
// particular about it.
func (r *route) candidatesFor(held holdings, o *policy.Offer) (candidates, *policy.Policy, error) {
	from, err := r.certificatesFor(held, o)
	if err != nil {
		return from, nil, err
	}
	bound := r.byKeys[from.keys]
	if bound == nil {
		return from, nil, &certs.NoCertificateError{Sources: from.sources, ServerName: o.ServerName}
	}
	return from, bound, nil
}

func (r *route) certificatesFor(held holdings, o *policy.Offer) (candidates, error) {
	if o.ServerName != "" {
		if keys, named := held.Match(r.Certificates, o.ServerName); named {
			return candidates{r.Certificates, keys}, nil
		}
	}
	if o.ServerName != "" && held.Pending(r.Certificates, o.ServerName) {
		return candidates{}, pending(o.ServerName)
	}
	if o.ServerName != "" && held.HeldBack(r.Certificates, o.ServerName) {
		return candidates{}, heldBack(o.ServerName)
	}
	if err := r.refuseName(o); err != nil {
		return candidates{}, err
	}
	keys, _ := held.Match(r.defaults, "")
	if keys == 0 && held.Pending(r.defaults, "") {
		return candidates{}, pending(o.ServerName)
	}
	if keys == 0 && held.HeldBack(r.defaults, "") {
		return candidates{}, heldBack(o.ServerName)
	}
	return candidates{r.defaults, keys}, nil
}

// narrowed says of an error about what a client offers that clients with another
// server name may fare better.
func (r *route) narrowed(from candidates, err error) error {
	if from.keys == r.keySet {
		return err
	}
	return fmt.Errorf("proxy: the certificates for the server name have keys %s alone: %w", join(from.keys.Types()), err)
}

// refuseName refuses a client whose name no certificate has, if the listener
// wants it so.
//
// To send an IP address is to send no name: server_name does not take any
// (RFC 6066 §3). Most clients know that, and those that do not are no worse.
func (r *route) refuseName(o *policy.Offer) error {
	if r.ServerName == configs.ServerNameAny {
		return nil
	}
	_, err := netip.ParseAddr(o.ServerName)
	nameless := o.ServerName == "" || err == nil
	switch {
	case nameless && r.ServerName == configs.ServerNameKnown:
		return nil
	case o.ServerName != "":
		return &refusal{reason: "unrecognized_name", alert: alertUnrecognizedName,
			err: fmt.Errorf("proxy: no certificate of the listener has the server name %q", o.ServerName)}
	}
	// RFC 8446 §9.2 has an alert for this, which older clients do not know.
	alert := uint8(alertUnrecognizedName)
	if slices.Contains(o.Versions, policy.TLS13) {
		alert = alertMissingExtension
	}
	return &refusal{reason: "no_server_name", alert: alert,
		err: errors.New("proxy: the client sends no server name, and the listener requires one")}
}

// defaultServesNobody says why not one suite can be served to clients that get
// the default certificate, if so.
func (r *route) defaultServesNobody() string {
	if r.DefaultCertificate == "" || r.ServerName == configs.ServerNameRequired {
		return "" // all of them together can serve something; or nobody gets it
	}
	p := r.partly(r.defaultKeys())
	if len(p.Policy.TLS13)+len(p.Policy.TLS12) > 0 {
		return ""
	}
	var why []string
	for _, version := range []policy.Version{policy.TLS13, policy.TLS12} {
		if w := whyUnserved(p.Unserved, version); w != "" {
			why = append(why, w)
		}
	}
	return fmt.Sprintf("default_certificate: no suite of policy %s can be served with %s: %s",
		r.Listener.Policy.Name, r.DefaultCertificate, strings.Join(why, ", "))
}

// bindByKeys makes the policy as it can be served with every set of keys that
// the certificates for a name can have: the choice by name then costs a
// handshake nothing. Every set, because of a source's certificates some may
// still be being issued.
func bindByKeys(p *policy.Policy, serves func(suite uint16) bool) map[policy.KeySet]*policy.Policy {
	bound := make(map[policy.KeySet]*policy.Policy)
	for _, keys := range policy.KeySets() {
		bound[keys], _ = p.Bind(policy.Have{Keys: keys.Types(), Serves: serves})
	}
	return bound
}
