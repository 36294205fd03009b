package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/clienthello"
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

// candidatesFor finds the candidates for a hello, or refuses the client for its
// server name, as far as the listener is particular about it.
func (r *route) candidatesFor(hello *clienthello.Hello) (candidates, error) {
	if hello.ServerName != "" {
		if keys, named := r.store.Match(r.Certificates, hello.ServerName); named {
			return candidates{r.Certificates, keys}, nil
		}
	}
	if hello.ServerName != "" && r.store.Pending(r.Certificates, hello.ServerName) {
		return candidates{}, pending(hello.ServerName)
	}
	if hello.ServerName != "" && r.store.HeldBack(r.Certificates, hello.ServerName) {
		return candidates{}, heldBack(hello.ServerName)
	}
	if err := r.refuseName(hello); err != nil {
		return candidates{}, err
	}
	keys, _ := r.store.Match(r.defaults, "")
	if keys == 0 && r.store.Pending(r.defaults, "") {
		return candidates{}, pending(hello.ServerName)
	}
	if keys == 0 && r.store.HeldBack(r.defaults, "") {
		return candidates{}, heldBack(hello.ServerName)
	}
	return candidates{r.defaults, keys}, nil
}

// refuseName refuses a client whose name no certificate has, if the listener
// wants it so.
//
// To send an IP address is to send no name: server_name does not take any
// (RFC 6066 §3). Most clients know that, and those that do not are no worse.
func (r *route) refuseName(hello *clienthello.Hello) error {
	if r.ServerName == configs.ServerNameAny {
		return nil
	}
	_, err := netip.ParseAddr(hello.ServerName)
	nameless := hello.ServerName == "" || err == nil
	switch {
	case nameless && r.ServerName == configs.ServerNameKnown:
		return nil
	case hello.ServerName != "":
		return &refusal{reason: "unrecognized_name", alert: alertUnrecognizedName,
			err: fmt.Errorf("proxy: no certificate of the listener has the server name %q", hello.ServerName)}
	}
	// RFC 8446 §9.2 has an alert for this, which older clients do not know.
	alert := uint8(alertUnrecognizedName)
	if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
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
