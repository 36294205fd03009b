package configs

import (
	"crypto/fips140"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// What holds of FIPS 140-3: values of Config.FIPS.
const (
	FIPSAuto     = "auto"     // as the process was started: see GODEBUG=fips140=on
	FIPSRequired = "required" // it is in force
)

// DefaultFIPS is the default of Config.FIPS.
const DefaultFIPS = FIPSAuto

type fipsMode string

func (*fipsMode) kind() (tag, want string) { return "!!str", "auto or required" }
func (m *fipsMode) parse(s string) error   { return choose(m, "value", s, FIPSAuto, FIPSRequired) }

// FIPSMode reports whether FIPS 140-3 is in force: the file requires it, or the
// process is in that mode already, which cannot be left.
func (c *Config) FIPSMode() bool { return c.FIPS == FIPSRequired || fips140.Enabled() }

// approvedLists refuses what FIPS 140-3 does not approve in a policy of the file,
// each name where it stands.
func (r *resolver) approvedLists(items map[string][]field[text], p *policy.Policy) {
	if !r.cfg.FIPSMode() {
		return
	}
	const unapproved = "%s: FIPS 140-3 does not approve %s"
	for _, list := range []struct {
		key      string
		approved func(i int) bool
	}{
		{"tls12", func(i int) bool { return p.TLS12[i].FIPS() }},
		{"tls13", func(i int) bool { return p.TLS13[i].FIPS() }},
		{"groups", func(i int) bool { return p.Groups[i].FIPS() }},
	} {
		for i, item := range items[list.key] {
			if !list.approved(i) {
				r.errorf(item.node, unapproved, list.key, item.value)
			}
		}
	}
	aes := func(c policy.Cipher) int {
		return slices.IndexFunc(p.TLS13, func(s policy.Suite) bool { return s.Cipher == c })
	}
	aes128, aes256 := aes(policy.AES128GCM), aes(policy.AES256GCM)
	switch {
	case aes256 < 0:
	case aes128 < 0:
		r.errorf(items["tls13"][aes256].node, "tls13: in FIPS 140-3 mode crypto/tls chooses TLS_AES_128_GCM_SHA256 wherever a client offers it: %s has to have it beside it",
			items["tls13"][aes256].value)
	case aes256 < aes128:
		r.warnf(items["tls13"][aes256].node, "tls13: in FIPS 140-3 mode crypto/tls prefers TLS_AES_128_GCM_SHA256 all the same")
	}
}

// approvedPolicy refuses a built-in policy that FIPS 140-3 mode cannot serve as a
// whole: a listener that does less than its policy says would break clients
// without a word. The file's own are judged where they stand.
func (r *resolver) approvedPolicy(key string, f field[text]) {
	name := string(f.value)
	p, builtin := policy.Builtin(name)
	if !builtin || !r.cfg.FIPSMode() {
		return
	}
	var not []string
	for _, s := range p.NotFIPS() {
		not = append(not, s.OpenSSLName)
	}
	if len(not) == 0 {
		return
	}
	var whole []string
	for _, other := range policy.Builtins() {
		if len(other.NotFIPS()) == 0 {
			whole = append(whole, other.Name)
		}
	}
	r.errorf(f.node, "%s: of %s FIPS 140-3 does not approve %s; it approves the whole of %s",
		key, quote(name), strings.Join(not, ", "), strings.Join(whole, ", "))
}
