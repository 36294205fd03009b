package scan

import (
	"fmt"
	"slices"

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
		c.suites(v, named)
		if len(named) > 0 {
			c.groups(v, p.Groups)
		}
	}
	c.NotCompared = append(c.NotCompared, "certificates, extensions and ALPN: a policy says nothing of them")
	return c
}

func (c *Comparison) suites(v *Version, named []policy.Suite) {
	var accepted, wanted []string
	for _, s := range v.Suites {
		accepted = append(accepted, s.Name)
	}
	for _, s := range named {
		wanted = append(wanted, s.Name)
	}
	c.lists(v, "suite", accepted, wanted)
	common := func(list, other []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return !slices.Contains(other, name) })
	}
	inServers, inPolicys := common(accepted, wanted), common(wanted, accepted)
	if len(inServers) > 1 && (v.Preference != ByServer || !slices.Equal(inServers, inPolicys)) {
		c.Order = append(c.Order, v.Name)
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
	c.lists(v, "group", accepted, wanted)
}

func (c *Comparison) lists(v *Version, kind string, accepted, wanted []string) {
	for _, name := range accepted {
		if !slices.Contains(wanted, name) {
			c.Extra = append(c.Extra, Item{v.Name, kind, name})
		}
	}
	for _, name := range wanted {
		if !slices.Contains(accepted, name) {
			c.Missing = append(c.Missing, Item{v.Name, kind, name})
		}
	}
}
