package configs

import (
	"fmt"
	"net/netip"
)

// ProxyProtocol says from whom a listener takes it who a client is.
type ProxyProtocol struct {
	// From are the networks of the proxies whose connections have to begin with
	// a header of the PROXY protocol, version 1 or 2. Default: none.
	From []netip.Prefix
}

func (r *resolver) proxyProtocol(k proxyProtocolKeys) ProxyProtocol {
	var p ProxyProtocol
	for _, f := range valid(k.From.value) {
		n := netip.Prefix(f.value)
		if n.Bits() == 0 {
			r.warnf(f.node, "from: %s trusts everyone to say who they are", n)
		}
		p.From = append(p.From, n)
	}
	return p
}

// proxyVersion is a version of the PROXY protocol, 0 for none.
type proxyVersion int

func (*proxyVersion) kind() (tag, want string) { return "!!str", "off, v1 or v2" }

func (v *proxyVersion) parse(s string) error {
	var chosen string
	if err := choose(&chosen, "version", s, "off", "v1", "v2"); err != nil {
		return err
	}
	*v = map[string]proxyVersion{"v1": 1, "v2": 2}[chosen]
	return nil
}

// network is a network in the notation of RFC 4632 and RFC 4291 section 2.3,
// or a single address.
type network netip.Prefix

func (*network) kind() (tag, want string) { return "!!str", `a network, such as "10.0.0.0/8"` }

func (n *network) parse(s string) error {
	p, err := netip.ParsePrefix(s)
	if a, single := netip.ParseAddr(s); single == nil && a.Zone() == "" {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err != nil:
		return fmt.Errorf("bad network %s; want an address, or one with the length of its prefix, such as 10.0.0.0/8", quote(s))
	case p.Addr().Is4In6():
		return fmt.Errorf("bad network %s; write IPv4 addresses as %s", quote(s), p.Addr().Unmap())
	case p != p.Masked():
		return fmt.Errorf("bad network %s: the address goes on behind the prefix; want %s", quote(s), p.Masked())
	}
	*n = network(p)
	return nil
}
