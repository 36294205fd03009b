package scan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suitegate/suitegate/policy"
)

// Comparison is in what a server differs from a policy.
type Comparison struct {
	Policy      string   `json:"policy"`
	Extra       []Item   `json:"extra"`        // what the server accepts and the policy does not name
	Missing     []Item   `json:"missing"`      // the other way round
	Order       []string `json:"order"`        // of what versions the server's order is not the policy's
	NotCompared []string `json:"not_compared"` // what cannot be known from outside
}

// Item is a suite or a group of one version.
type Item struct {
	Version string `json:"version"`
	Kind    string `json:"kind"` // "suite" or "group"
	Name    string `json:"name"`

	// Why is what the scan knows of the reason: a suite that is missing for want of
	// a key. "" if it knows none.
	Why string `json:"why,omitempty"`
}

// Differs reports whether the server is not as the policy says.
func (c *Comparison) Differs() bool { return len(c.Extra)+len(c.Missing)+len(c.Order) > 0 }

// Compare holds what a server accepts against a policy.
func (r *Report) Compare(p *policy.Policy) *Comparison {
	c := &Comparison{Policy: p.Name, Extra: []Item{}, Missing: []Item{}, Order: []string{}, NotCompared: []string{}}
	for _, version := range versions {
		v := &Version{Version: version, Name: version.String()}
		if at := slices.IndexFunc(r.Versions, func(v Version) bool { return v.Version == version }); at >= 0 {
			v = &r.Versions[at]
		}
		var named []policy.Suite
		switch version {
		case policy.TLS13:
			named = p.TLS13
		case policy.TLS12:
			named = p.Preference()
		}
		c.suites(v, named, r)
		if len(named) > 0 {
			c.groups(v, p.Groups)
		}
	}
	c.NotCompared = append(c.NotCompared, "certificates, extensions and ALPN: a policy says nothing of them")
	return c
}

func (c *Comparison) suites(v *Version, named []policy.Suite, r *Report) {
	var accepted, wanted []string
	for _, s := range v.Suites {
		accepted = append(accepted, s.Name)
	}
	for _, s := range named {
		wanted = append(wanted, s.Name)
	}
	c.lists(v, "suite", accepted, wanted)
	c.explain(v, named, r)
	common := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return !slices.Contains(other, name) })
	}
	inServers, inPolicys := common(accepted, wanted), common(wanted, accepted)
	if len(inServers) > 1 && (v.Preference != ByServer || !slices.Equal(inServers, inPolicys)) {
		c.Order = append(c.Order, v.Name)
	}
}

// explain says which suites are missing because the server has no certificate for
// them. That is known from TLS 1.3, where one is asked for by the kind of its key.
func (c *Comparison) explain(v *Version, named []policy.Suite, r *Report) {
	has := func(key string) bool {
		return slices.ContainsFunc(r.Certificates, func(c Certificate) bool { return strings.HasPrefix(c.Key, key) })
	}
	if !r.sawEncrypted() {
		return
	}
	for i, item := range c.Missing {
		at := slices.IndexFunc(named, func(s policy.Suite) bool { return s.Name == item.Name })
		if item.Version != v.Name || item.Kind != "suite" || at < 0 {
			continue
		}
		switch auth := named[at].Auth; {
		case auth == policy.AuthRSA && !has("RSA"):
			c.Missing[i].Why = "the server shows no RSA certificate"
		case auth == policy.AuthECDSA && !has("ECDSA") && !has("Ed25519"):
			c.Missing[i].Why = "the server shows no ECDSA certificate"
		}
	}
}

// groups compares those that are exchanged with elliptic curves. Of finite
// fields only the size comes over the wire.
func (c *Comparison) groups(v *Version, named []policy.Group) {
	if v.DHEBits > 0 {
		c.NotCompared = append(c.NotCompared, fmt.Sprintf("%s: the group of DHE, of which only the size is known: %d bits", v.Name, v.DHEBits))
	}
	if len(v.Groups) == 0 {
		if len(v.Suites) > 0 {
			c.NotCompared = append(c.NotCompared, v.Name+": the groups, because no suite that is accepted uses them")
		}
		return
	}
	var accepted, wanted []string
	for _, g := range v.Groups {
		accepted = append(accepted, g.Name)
	}
	for _, g := range named {
		finite := 256 <= g && g <= 511 // RFC 7919 §4
		if !finite && (v.Version == policy.TLS13 || g != policy.X25519MLKEM768) {
			wanted = append(wanted, groupName(g))
		}
	}
	if at := slices.Index(wanted, v.GroupsHiddenBehind); at >= 0 {
		less := wanted[at+1:] // in the policy's order
		hidden := slices.DeleteFunc(slices.Clone(less), func(name string) bool { return slices.Contains(accepted, name) })
		wanted = slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return slices.Contains(hidden, name) })
		if len(hidden) > 0 {
			c.NotCompared = append(c.NotCompared, fmt.Sprintf("%s: group %s, hidden behind %s, which the server's only certificate needs", v.Name, strings.Join(hidden, ", "), v.GroupsHiddenBehind))
		}
	}
	c.lists(v, "group", accepted, wanted)
}

func (c *Comparison) lists(v *Version, kind string, accepted, wanted []string) {
	for _, name := range accepted {
		if !slices.Contains(wanted, name) {
			c.Extra = append(c.Extra, Item{Version: v.Name, Kind: kind, Name: name})
		}
	}
	for _, name := range wanted {
		if !slices.Contains(accepted, name) {
			c.Missing = append(c.Missing, Item{Version: v.Name, Kind: kind, Name: name})
		}
	}
}
