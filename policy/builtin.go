package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// builtins are the lists that Amazon MQ publishes for its brokers, in the
// order in which it publishes them.
var builtins = [...]struct {
	name  string
	tls12 []string
}{
	{"activemq", []string{
		"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
		"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
		"TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
		"TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
		"TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
		"TLS_RSA_WITH_AES_256_GCM_SHA384",
		"TLS_RSA_WITH_AES_256_CBC_SHA256",
		"TLS_RSA_WITH_AES_256_CBC_SHA",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
		"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
		"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
		"TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
		"TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
		"TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
		"TLS_RSA_WITH_AES_128_GCM_SHA256",
		"TLS_RSA_WITH_AES_128_CBC_SHA256",
		"TLS_RSA_WITH_AES_128_CBC_SHA",
	}},
	{"rabbitmq", []string{
		"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	}},
}

// builtinTLS13 is the TLS 1.3 side of every built-in policy: Amazon's lists
// hold AES-GCM and no ChaCha20, so neither does this.
var builtinTLS13 = []string{"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"}

// Builtin returns the policy that comes with the gateway under a name:
// "activemq" or "rabbitmq", as Amazon MQ publishes them, with the two AES-GCM
// suites of TLS 1.3 and [DefaultGroups]. The published order is TLS12's; the
// preference is [Policy.Preference]'s: forward-secret AEAD suites, then
// forward-secret ones, then AEAD ones, then the rest, and within each the
// published order, because a published list promises no preference and
// RFC 9325 §4.2 asks for one.
func Builtin(name string) (*Policy, bool) {
	for _, b := range builtins {
		if b.name != name {
			continue
		}
		p, err := New(b.name, b.tls12, builtinTLS13, nil)
		if err != nil {
			panic(fmt.Sprintf("policy: built-in %s: %v", b.name, err)) // the table above is wrong
		}
		p.order = slices.Clone(p.TLS12)
		slices.SortStableFunc(p.order, func(a, b Suite) int { return cmp.Compare(weakness(a), weakness(b)) })
		return p, true
	}
	return nil, false
}

// Builtins returns all of them, sorted by name.
func Builtins() []*Policy {
	all := make([]*Policy, 0, len(builtins))
	for _, b := range builtins {
		p, _ := Builtin(b.name)
		all = append(all, p)
	}
	return all
}

// weakness ranks suites: a lack of forward secrecy weighs more than a lack of
// an AEAD.
func weakness(s Suite) int {
	rank := 0
	if !s.ForwardSecret() {
		rank += 2
	}
	if s.MAC != AEAD {
		rank++
	}
	return rank
}
