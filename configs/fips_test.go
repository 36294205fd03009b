package configs

import (
	"strings"
	"testing"

	"github.com/suitegate/suitegate/policy"
)

const fipsFile = `fips: required
certificates: [{name: a, self_signed: {}}]
policies:
  own: {tls13: [TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]}
upstreams: {u: {nodes: ["127.0.0.1:9"]}}
listeners:
  - {name: a, address: ":1", protocol: tcp, policy: rabbitmq, upstream: u}
  - {name: b, address: ":2", protocol: tcp, policy: own, upstream: u}
`

// Every policy of the configuration is what FIPS 140-3 mode serves of it, so that
// nobody who asks for one is told otherwise.
func TestFIPSPolicies(t *testing.T) {
	cfg := mustParse(t, fipsFile)
	if cfg.FIPS != FIPSRequired || !cfg.FIPSMode() {
		t.Errorf("FIPS %q, in force %t", cfg.FIPS, cfg.FIPSMode())
	}
	for _, p := range []*policy.Policy{cfg.Listeners[0].Policy, cfg.Listeners[1].Policy, cfg.Policy("rabbitmq"), cfg.Policies["own"]} {
		if p.TLS13[0].Cipher != policy.AES128GCM || len(p.TLS13) != 2 || len(p.Groups) != 3 {
			t.Errorf("policy %s: TLS 1.3 %v, groups %v", p.Name, p.TLS13, p.Groups)
		}
	}
	want := "tls13: in FIPS 140-3 mode crypto/tls prefers TLS_AES_128_GCM_SHA256 all the same"
	if w := cfg.Warnings; len(w) != 1 || w[0].Reason != want || w[0].Pos.Line != 4 || w[0].Pos.Column != 17 {
		t.Errorf("warnings %v", w)
	}

	without := mustParse(t, strings.TrimPrefix(fipsFile, "fips: required\n"))
	if p := without.Policy("rabbitmq"); without.FIPS != FIPSAuto || p.TLS13[0].Cipher != policy.AES256GCM || len(p.Groups) != 4 {
		t.Errorf("FIPS %q: TLS 1.3 %v, groups %v", without.FIPS, p.TLS13, p.Groups)
	}
}
