package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/suitegate/suitegate/certs"
	"github.com/suitegate/suitegate/configs"
	"github.com/suitegate/suitegate/policy"
	"github.com/suitegate/suitegate/proxy/prove"
	"github.com/suitegate/suitegate/proxy/proxyheader"
)

// Prove asks the listeners of a configuration at their addresses, where a
// gateway runs that has it. It is a client like any other there: it is logged,
// counted and limited, and gets the canary policy of a listener if it is one of
// those whom that is for.
func Prove(ctx context.Context, config *configs.Config, version string) (*prove.Evidence, error) {
	stored, err := Certificates(ctx, config)
	if err != nil {
		return nil, err
	}
	offers, keys := make(map[string]certs.Offer), make(map[string][]policy.KeyType)
	for _, c := range stored {
		keys[c.Source] = append(keys[c.Source], c.Key)
		if c.Leaf != nil {
			addOffer(offers, c.Source, c.Key, c.Names)
		}
	}
	routes, err := newRoutes(config, keys, new(Server).pools(config, nil))
	if err != nil {
		return nil, err
	}
	e := newEvidence(config, version, prove.OverTCP)
	for _, r := range routes {
		l, err := r.proveOutside(ctx, offers)
		if err != nil {
			return nil, err
		}
		e.Listeners = append(e.Listeners, l)
	}
	return e, e.Seal()
}

// proveOutside asks the listener as a client of its own address.
func (r *route) proveOutside(ctx context.Context, offers map[string]certs.Offer) (prove.Listener, error) {
	conn, err := r.dialSelf(ctx)
	if err != nil {
		return prove.Listener{}, fmt.Errorf("proxy: listener %s: %w", r.Name, err) // nobody is there
	}
	self := proxyheader.AddrPort(conn.LocalAddr()).Addr()
	_ = conn.Close()
	meant := r.meant(self, time.Now())
	l, err := meant.proveAs(ctx, offers)
	if err != nil || r.canary == nil {
		return l, err
	}
	other := r
	if meant == r {
		other = r.canary.under
	} else if len(l.Differences()) > 0 {
		// It may be over: whether it has refused too many is known to the gateway alone.
		again, err := r.proveAs(ctx, offers)
		if err != nil {
			return l, err
		}
		if len(again.Differences()) == 0 {
			l, other = again, meant
		}
	}
	l.NotProved = append(l.NotProved, fmt.Sprintf("policy %s, which other clients than %s get (canary); the gateway proves both by itself", other.Listener.Policy.Name, self))
	return l, nil
}

// meant is the route of a client, as far as the configuration says.
func (r *route) meant(client netip.Addr, now time.Time) *route {
	if r.canary.takes(client, now) {
		return r.canary.under
	}
	return r
}

// proveAs asks the listener, and expects what the route says.
func (r *route) proveAs(ctx context.Context, offers map[string]certs.Offer) (prove.Listener, error) {
	held := func() (all policy.KeySet) {
		for _, source := range r.defaults {
			all |= policy.Keys(offers[source].Keys...)
		}
		return all
	}
	kinds, missing := r.clientKinds(namesOf(r.Certificates, offers), held)
	l, err := r.prove(ctx, kinds, r.dialSelf, prove.Options{Again: time.Second})
	if err == nil && missing != "" {
		l.NotProved = append(l.NotProved, missing)
	}
	return l, err
}

// dialSelf dials the listener's address, and says who it is where a proxy would.
func (r *route) dialSelf(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.Address)
	if err != nil || !trusts(r.ProxyProtocol.From, proxyheader.AddrPort(conn.LocalAddr()).Addr()) {
		return conn, err
	}
	header, err := proxyheader.V2.Own(conn)
	if err == nil {
		_, err = conn.Write(header)
	}
	if err != nil {
		_ = conn.Close() // err is why
		return nil, err
	}
	return conn, nil
}
